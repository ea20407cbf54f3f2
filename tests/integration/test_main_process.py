"""What a worker's main process is spared: collections of what is loaded, an event at a time, a child that is missed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import redis
from kombu.asynchronous import Hub

from tests.conftest import REPOSITORY
from tests.integration.shelf import frame
from tests.sample_features import frozen_objects, scaled
from tests.waiting import eventually
from workers.main_process import GROUP_S, PromptReplacement

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
    house.start(concurrency=1)
    told: list[list[dict[str, object]]] = []
    with redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"]) as client, client.pubsub() as listening:
        listening.psubscribe("*celeryev*task.multi")

        def succeeded():
            while message := listening.get_message(ignore_subscribe_messages=True):
                told.append(json.loads(base64.b64decode(json.loads(message["data"])["body"])))
            return sum(event["type"] == "task-succeeded" for group in told for event in group)

        succeeded()
        began = time.monotonic()
        for factor in range(TASKS):
            house.store.get_or_compute("EVENTS", RAW, {"factor": factor}, scaled)
        eventually(lambda: succeeded() == TASKS, seconds=20, what="all events")
        took = time.monotonic() - began

    events = sum(map(len, told))
    assert events >= 3 * TASKS  # received, started, succeeded
    assert len(told) <= took / GROUP_S + events / AT_ONCE + 2


def test_an_ended_child_is_looked_for_often(hub):
    """Not only when its pipe closes, which is a moment too early to find it ended."""
    looks: list[float] = []
    worker = SimpleNamespace(hub=hub, pool=SimpleNamespace(maintain_pool=lambda: looks.append(time.monotonic())))

    PromptReplacement(worker).start(worker)

    def looked_twice():
        hub.run_once()
        return len(looks) >= 2

    eventually(looked_twice, seconds=20, what="two looks")


def test_pools_without_processes_have_none_to_look_for(hub):
    """Threads do not end, and a worker without a loop has nowhere to look from."""
    PromptReplacement(None).start(SimpleNamespace(hub=hub, pool=SimpleNamespace()))
    PromptReplacement(None).start(SimpleNamespace(hub=None, pool=SimpleNamespace(maintain_pool=None)))

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

    assert done.stdout.split() == ["GroupedEvents", "LastResort", "PromptReplacement"]
