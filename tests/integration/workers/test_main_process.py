"""What a worker's main process is spared: collections of what is loaded, an event at a time, a child that is missed."""

from __future__ import annotations

import base64
import errno
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import redis
from billiard.exceptions import RestartFreqExceeded
from celery.concurrency.prefork import TaskPool
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.exceptions import WorkerTerminate
from celery.worker import state
from kombu.asynchronous import Hub

from tests.conftest import REPOSITORY
from tests.sample_features import frozen_objects, scaled
from tests.support.shelf import frame
from tests.waiting import eventually
from workers.bootsteps import GROUP_S, LOOK_EVERY_S, GroupedEvents, PromptReplacement

RAW = frame(20)
TASKS = 40
AT_ONCE = 24  # events that Celery lets wait for others


@pytest.fixture
def hub():
    opened = Hub()
    yield opened
    opened.close()


def test_children_do_not_collect_what_they_share(staffed):
    """The libraries alone are a hundred thousand objects, which a collection would visit and so copy."""
    counted = staffed.store.get_or_compute("FROZEN", RAW, {}, frozen_objects)

    assert counted["frozen"].item() > 50_000


def test_dashboards_are_told_in_groups(house):
    """Every event arrives, and no faster than a group at a time."""
    told: list[list[dict[str, object]]] = []
    with redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"]) as client, client.pubsub() as listening:
        listening.psubscribe("*celeryev*task.multi")

        def succeeded():
            while message := listening.get_message(ignore_subscribe_messages=True):
                told.append(json.loads(base64.b64decode(json.loads(message["data"])["body"])))
            return sum(event["type"] == "task-succeeded" for group in told for event in group)

        succeeded()
        for factor in range(TASKS):
            house.store.submit("EVENTS", RAW, {"factor": factor}, scaled)
        began = time.monotonic()
        house.start(concurrency=1)
        eventually(lambda: succeeded() == TASKS, seconds=20, what="all events")
        took = time.monotonic() - began

    events = sum(map(len, told))
    assert events >= 3 * TASKS  # received, started, succeeded
    assert len(told) <= took / GROUP_S + events / AT_ONCE + 2


def test_a_worker_that_stops_tells_what_waited(hub):
    """The last tasks before a stop are shown as ended, not as running for ever."""
    sent, flushed = [], []
    dispatcher = SimpleNamespace(on_send_buffered=None, flush=lambda: flushed.append(True))
    consumer = SimpleNamespace(event_dispatcher=dispatcher, hub=hub, on_send_event_buffered=lambda: sent.append(True))
    step = GroupedEvents(consumer)
    step.start(consumer)
    dispatcher.on_send_buffered()
    assert not sent

    step.close(consumer)

    assert flushed


def test_an_ended_child_is_looked_for_often(hub):
    """Not only when its pipe closes, which is a moment too early to find it ended."""
    looks: list[float] = []

    PromptReplacement.look_from_now_on(hub, lambda: looks.append(time.monotonic()))

    eventually(lambda: hub.run_once() or len(looks) >= 2, seconds=20, what="two looks")


def test_a_child_that_cannot_be_started_is_no_lost_broker(hub, caplog):
    """Celery would close the pool and connect again ten times a second."""
    looks: list[float] = []

    def look():
        looks.append(time.monotonic())
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    PromptReplacement.look_from_now_on(hub, look)
    ends_at = time.monotonic() + 10 * LOOK_EVERY_S

    eventually(lambda: hub.run_once() or time.monotonic() > ends_at, seconds=20, what="ten looks to be due")
    assert len(looks) == 1
    assert "cannot start a child" in caplog.text


def test_a_worker_whose_children_end_at_once_ends(hub, monkeypatch):
    """Its pool is closed by then: it would take messages and run none."""
    monkeypatch.setattr(state, "should_terminate", None)

    def look():
        raise RestartFreqExceeded("100 in 1s")

    PromptReplacement.look_from_now_on(hub, look)
    eventually(lambda: hub.run_once() or state.should_terminate is not None, seconds=20, what="the end")
    with pytest.raises(WorkerTerminate):
        state.maybe_shutdown()


def test_pools_without_processes_have_none_to_look_for(hub):
    """Threads do not end, and a worker without a loop has nowhere to look from."""
    threads, children = object.__new__(ThreadPool), object.__new__(TaskPool)
    PromptReplacement(None).start(SimpleNamespace(hub=hub, pool=threads))
    PromptReplacement(None).start(SimpleNamespace(hub=None, pool=children))

    assert not hub.timer.queue


def test_every_worker_has_these_steps(house):
    """They are part of the application that workers start with."""
    shown = (
        "from workers.app import app; print(*sorted(s.__name__ for s in app.steps['worker'] | app.steps['consumer']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", shown], env={"PATH": "", **house.environment}, cwd=REPOSITORY, check=True,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.split() == ["GroupedEvents", "LastResort", "PromptReplacement", "SteadyControl"]
