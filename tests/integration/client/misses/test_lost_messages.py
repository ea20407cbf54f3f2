"""Redis may forget everything at any moment: time is lost, nothing else."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pandas as pd
import pytest
import redis

from tests import sample_features
from tests.conftest import House
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(20)]})


@pytest.fixture
def link(house: House):
    client = redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"])
    yield client
    client.close()


def ask(house: House, config: dict[str, object], into: list[object]) -> threading.Thread:
    """Ask in a thread; the frame or the error lands in ``into``."""

    def run() -> None:
        try:
            into.append(house.store.get_or_compute("LOST", RAW, config, sample_features.slow, timeout=40))
        except Exception as error:
            into.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_messages_that_are_lost_are_sent_again_by_those_who_wait(house, link, tmp_path):
    """The queue is emptied before any worker sees it, twice the whole of Redis is: every caller gets its frame."""
    answers: list[object] = []
    configs = [{"seconds": 0.1, "case": n, "marks": str(tmp_path / str(n))} for n in range(3)]
    threads = [ask(house, config, answers) for config in configs for _ in range(2)]
    eventually(lambda: link.llen("fstore:fstore.compute") == 3, seconds=10, what="the messages to be sent")

    link.delete("fstore:fstore.compute")
    house.start(concurrency=2)
    link.flushall()

    for thread in threads:
        thread.join(45)
    assert [type(answer) for answer in answers] == [pd.DataFrame] * 6, answers
    assert [len(list(Path(config["marks"]).iterdir())) for config in configs] == [1, 1, 1]
    assert house.store.resources.jobs.count_by_state() == {}

    # The worker goes on as well: what is asked after the loss is answered at once, and again after one more in the middle.
    late: list[object] = []
    config = {"seconds": 1.5, "marks": str(tmp_path / "late")}
    thread = ask(house, config, late)
    eventually(lambda: list(tmp_path.glob("late/*")), seconds=20, what="the computation to start")
    link.flushall()
    thread.join(45)
    assert [type(answer) for answer in late] == [pd.DataFrame], late
    assert len(list((tmp_path / "late").iterdir())) == 1


def test_a_message_that_died_with_a_frozen_worker_is_sent_again(house, link, tmp_path):
    """Taken from the queue by a worker that never starts it, it is in neither list; the job row knows better."""
    answers: list[object] = []
    doomed = house.start(concurrency=1)
    os.killpg(doomed.pid, signal.SIGSTOP)
    thread = ask(house, {"seconds": 0.1, "marks": str(tmp_path / "marks")}, answers)
    eventually(house.store.resources.jobs.count_by_state, seconds=10, what="the job to be registered")

    os.killpg(doomed.pid, signal.SIGKILL)
    doomed.wait(10)
    link.delete("fstore:fstore.compute", "fstore:unacked", "fstore:unacked_index")
    house.start(concurrency=1)

    thread.join(45)
    assert [type(answer) for answer in answers] == [pd.DataFrame], answers


def test_a_lock_that_nobody_holds_any_more_lapses(house, link):
    """Every lock has an end of its own, whatever happens to its holder."""
    lead = house.store.resources.locks.take("b3m1:x", "k")
    assert 0 < link.pttl(lead.name) <= 30_000
    assert lead.name == "fstore:dedup:b3m1:x:k"
