"""Nobody waits on the dead: trainers, worker processes and whole workers are killed and frozen while others wait."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fstore import ComputeDead, FeatureStore, FeatureStoreError
from fstore.model import JobState
from fstore.stack import temporary_servers
from tests import sample_features
from tests.conftest import House, Servers, build_house, stop_group
from tests.trainers import lone
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(100)]})
SHORT = {"lease_seconds": "3", "lock_seconds": "3", "renew_seconds": "1"}
SOON_S = 30  # far above the 3 s leases: other tests share the machine


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A store whose leases and locks lapse after three seconds."""
    with temporary_servers() as running, ExitStack() as stack:
        servers = Servers(running.postgres_url, running.redis_url)
        yield build_house(servers, tmp_path_factory.mktemp("hasty"), stack, **SHORT)


@pytest.fixture(scope="module")
def workers(hasty: House) -> list[subprocess.Popen[bytes]]:
    """Two workers, one of which the last test kills."""
    return [hasty.start(concurrency=2), hasty.start(concurrency=1)]


class Asking(threading.Thread):
    """A waiter in a thread of its own."""

    def __init__(self, store: FeatureStore, config: dict[str, Any], function: Any = sample_features.slow) -> None:
        super().__init__(daemon=True)
        self.store, self.config, self.function = store, config, function
        self.frame: pd.DataFrame | None = None
        self.error: FeatureStoreError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.frame = self.store.get_or_compute("DEAD", RAW, self.config, self.function, timeout=SOON_S)
        except FeatureStoreError as error:
            self.error = error

    def answered(self) -> pd.DataFrame:
        self.join(SOON_S + 5)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        assert self.frame is not None
        return self.frame


def starts(folder: Path) -> list[int]:
    """Return the processes that started the computation, in order."""
    marks = sorted(folder.iterdir(), key=lambda mark: int(mark.name.split("-")[1])) if folder.exists() else []
    return [int(mark.name.split("-")[0]) for mark in marks]


def worker_at_work(workers: list[subprocess.Popen[bytes]], folder: Path) -> subprocess.Popen[bytes]:
    """Return the worker one of whose processes started the computation."""
    (child,) = eventually(lambda: starts(folder), seconds=SOON_S, what="the computation to start")
    return next(worker for worker in workers if worker.pid == os.getpgid(child))


def assert_settled(house: House, config: dict[str, Any]) -> None:
    """One live row, its file and no other for the key, no job, no lock."""
    resources = house.store.resources
    key = house.store._prepare("DEAD", RAW, config, sample_features.slow).key
    live = resources.manifest.find_live(key)
    assert live is not None
    eventually(lambda: len(list(house.root.glob(f"entries/*/{key}.*"))) == 1, seconds=SOON_S, what="one file to remain")
    assert (house.root / live.path).exists()
    assert resources.jobs.find(key) is None
    assert resources.redis_server._link.call("looking", lambda client: client.keys("fstore:dedup:*")) == []


def stops_after_the_lock(store: FeatureStore, config: dict[str, Any], mark: str) -> None:
    """Ask, and stand still with the lock in hand."""
    take = store.resources.locks.take_many

    def take_and_stop(*arguments: Any) -> Any:
        lead = take(*arguments)
        Path(mark).touch()
        time.sleep(600)
        return lead

    store.resources.locks.take_many = take_and_stop  # type: ignore[method-assign]
    store.get_or_compute("DEAD", RAW, config, sample_features.slow, timeout=600)


def stops_before_sending(store: FeatureStore, config: dict[str, Any], mark: str) -> None:
    """Ask, register the job, and stand still before its message is sent."""

    def stop(*_: Any) -> None:
        Path(mark).touch()
        time.sleep(600)

    store.resources.broker.send_compute = stop  # type: ignore[method-assign]
    store.get_or_compute("DEAD", RAW, config, sample_features.slow, timeout=600)


@pytest.mark.parametrize("leader", [stops_after_the_lock, stops_before_sending])
def test_a_killed_leader_is_replaced(hasty, workers, tmp_path, leader):
    """A trainer killed with the lock in hand, or with a job that nobody was told of, delays the others and no more."""
    config = {"seconds": 0.1, "marks": str(tmp_path / "marks"), "case": leader.__name__}
    mark = tmp_path / "led"
    trainer = lone(hasty.environment, leader, config, str(mark))
    eventually(mark.exists, seconds=SOON_S, what="the leader to lead")
    waiters = [Asking(hasty.store, config) for _ in range(5)]

    trainer.kill()

    for waiter in waiters:
        assert waiter.answered().equals(RAW.head(3))
    assert len(starts(tmp_path / "marks")) == 1
    assert_settled(hasty, config)


def test_a_long_computation_is_left_alone_while_its_worker_lives(hasty, workers, tmp_path):
    """The lease is renewed for as long as it takes: one start, however many wait and nudge."""
    config = {"seconds": 5.0, "marks": str(tmp_path)}
    waiters = [Asking(hasty.store, config) for _ in range(3)]

    for waiter in waiters:
        assert waiter.answered().equals(RAW.head(3))

    assert len(starts(tmp_path)) == 1
    assert_settled(hasty, config)


def test_a_killed_worker_process_is_replaced(hasty, workers, tmp_path):
    """kill -9 in the middle of a computation, as when memory runs out: it is started again, and answers everybody."""
    config = {"seconds": 2.0, "marks": str(tmp_path)}
    waiters = [Asking(hasty.store, config) for _ in range(3)]
    eventually(lambda: starts(tmp_path), seconds=SOON_S, what="the computation to start")

    os.kill(starts(tmp_path)[0], signal.SIGKILL)

    for waiter in waiters:
        assert waiter.answered().equals(RAW.head(3))
    assert len(starts(tmp_path)) == 2
    assert_settled(hasty, config)


def test_a_computation_that_kills_its_worker_stops_after_three_starts(hasty, workers, tmp_path):
    """The job is dead for everybody, other keys flow meanwhile, and ``invalidate`` lets it start again."""
    config = {"marks": str(tmp_path / "marks")}
    victims = [Asking(hasty.store, config, sample_features.poison) for _ in range(3)]
    eventually(lambda: starts(tmp_path / "marks"), seconds=SOON_S, what="the first start")
    neighbour = Asking(hasty.store, {"seconds": 0.1, "case": "neighbour"})

    assert neighbour.answered().equals(RAW.head(3))
    for victim in victims:
        with pytest.raises(ComputeDead) as caught:
            victim.answered()
        assert caught.value.starts == 3
    assert len(starts(tmp_path / "marks")) == 3

    with pytest.raises(ComputeDead):
        Asking(hasty.store, config, sample_features.poison).answered()
    assert len(starts(tmp_path / "marks")) == 3

    key = caught.value.key
    assert hasty.store.resources.jobs.find(key).state is JobState.DEAD
    hasty.store.invalidate(key=key)
    hasty.store.submit("DEAD", RAW, config, sample_features.poison)
    eventually(lambda: len(starts(tmp_path / "marks")) == 4, seconds=SOON_S, what="a new start")


def test_a_frozen_worker_is_fenced_off(hasty, workers, tmp_path):
    """Frozen for longer than its lease, it finishes late: its replacement's row stands, its own file is removed."""
    config = {"seconds": 1.0, "marks": str(tmp_path)}
    asking = Asking(hasty.store, config)
    frozen = worker_at_work(workers, tmp_path)
    os.killpg(frozen.pid, signal.SIGSTOP)
    try:
        assert asking.answered().equals(RAW.head(3))
        published = hasty.store.peek("DEAD", RAW, config, sample_features.slow)
    finally:
        os.killpg(frozen.pid, signal.SIGCONT)

    logs = hasty.root.parent
    eventually(
        lambda: any("superseded" in log.read_text() for log in logs.glob("worker-*.log")),
        seconds=SOON_S,
        what="the late worker to end",
    )
    assert hasty.store.peek("DEAD", RAW, config, sample_features.slow) == published
    assert len(starts(tmp_path)) == 2
    assert_settled(hasty, config)


def test_a_worker_told_to_stop_gives_its_job_back(hasty, workers, tmp_path):
    """A cold shutdown in the middle of a computation delays its waiters by less than the lease."""
    config = {"seconds": 5.0, "marks": str(tmp_path)}
    stopped = hasty.start(concurrency=1, queues="fstore.compute", FEATURE_STORE_LEASE_SECONDS="60")
    resources = hasty.store.resources
    for worker in workers:
        os.killpg(worker.pid, signal.SIGSTOP)
    try:
        asking = Asking(hasty.store, config)
        worker_at_work([stopped], tmp_path)
        stopped.send_signal(signal.SIGQUIT)  # finish what runs, for half a minute
        time.sleep(1.0)
        stopped.send_signal(signal.SIGQUIT)  # now
        key = asking.store._prepare("DEAD", RAW, config, sample_features.slow).key
        eventually(
            lambda: (job := resources.jobs.find(key)) and job.state is JobState.QUEUED, seconds=15, what="the job back"
        )
    finally:
        for worker in workers:
            os.killpg(worker.pid, signal.SIGCONT)
    assert asking.answered().equals(RAW.head(3))
    assert_settled(hasty, config)


def test_a_killed_worker_is_replaced_by_another(hasty, workers, tmp_path):
    """The whole worker is killed: the message died with it, and another worker takes the job over."""
    config = {"seconds": 2.0, "marks": str(tmp_path)}
    asking = Asking(hasty.store, config)

    stop_group(worker_at_work(workers, tmp_path))

    assert asking.answered().equals(RAW.head(3))
    assert len(starts(tmp_path)) == 2
    assert_settled(hasty, config)
