"""A computation that has ended is not told to have failed: the soft limit strikes while its result waits to be published."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import psycopg2
import pytest

import fstore
from fstore.broker.messages import parse_compute
from fstore.client import local_publish
from fstore.compute import execute, execute_batch, publish_staged
from fstore.compute.batches import executor as batch_executor
from fstore.compute.batches.groups import Group
from fstore.errors import FeatureStoreError, ManifestBusy
from fstore.postgres import Jobs, Manifest
from fstore.runtime import deadline
from tests.conftest import House, Servers, build_house
from tests.sample_features import failing, scaled
from tests.support.queues import known_queues, queue_features  # noqa: F401 a fixture
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})


class Struck(Exception):
    """What a worker's process raises at its soft limit."""


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """A process that a soft limit may strike."""

    def strike(number: int, frame: FrameType | None) -> None:
        raise Struck

    before = signal.signal(signal.SIGUSR1, strike)
    yield
    signal.signal(signal.SIGUSR1, before)


def struck_at(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[str]:
    """Have the soft limit strike whenever a method is called; returns those calls."""
    right: Callable[..., Any] = getattr(owner, name)
    calls: list[str] = []

    def late(*given: Any, **how: Any) -> Any:
        calls.append(name)
        os.kill(os.getpid(), signal.SIGUSR1)
        return right(*given, **how)

    monkeypatch.setattr(owner, name, late)
    return calls


def message(house: House, feature: Any = scaled, **config: Any) -> Any:
    """Send a request into the void, and return the message."""
    sent: list[Any] = []
    house.store.resources.broker.send_compute = lambda request: sent.append(request.wire())  # type: ignore[method-assign]
    house.store.submit("X", RAW, config, feature)
    return parse_compute(sent[0])


def test_a_late_result_is_published(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a task of its own."""
    request = message(house, factor=2)
    calls = struck_at(monkeypatch, Manifest, "publish")

    found = execute(house.store.resources, request, phase=lambda _: None)

    assert (found.status, calls) == ("computed", ["publish"])
    assert house.store.get_or_compute("X", RAW, {"factor": 2}, scaled).equals(RAW * 2)


@pytest.mark.parametrize(
    ("owner", "name"), [(Manifest, "publish"), (Group, "add"), (batch_executor.Publisher, "prepare")]
)
def test_a_late_result_of_a_batch_is_published(
    house: House, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """With its neighbours."""
    requests = [message(house, factor=n) for n in (2, 3)]
    calls = struck_at(monkeypatch, owner, name)

    found = execute_batch(house.store.resources, requests, phase=lambda _: None)

    assert [answer["status"] for answer in found] == ["computed", "computed"]
    assert calls


def test_a_late_failure_is_told_as_what_it_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note of what the function raised is written, though the limit strikes meanwhile."""
    request = message(house, failing)
    calls = struck_at(monkeypatch, Jobs, "fail")

    with pytest.raises(fstore.ComputeFailed, match="ValueError"):
        execute(house.store.resources, request, phase=lambda _: None)

    job = house.store.resources.jobs.find(request.key or "")
    assert job is not None and job.failure is not None and job.failure.error_type == "ValueError"
    assert calls == ["fail"]


def test_a_trainers_result_that_is_late_is_published(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task that publishes what a trainer computed does nothing else."""
    resources = house.store.resources
    calls = struck_at(monkeypatch, Manifest, "publish")
    done: list[Any] = []

    def work(request: Any) -> None:
        done.append(request)

    monkeypatch.setattr(resources.broker, "send_publish", work)
    monkeypatch.setattr(local_publish, "PUBLISHED_WITHIN_S", 20)
    own = fstore.local(lambda raw, config: raw * 3, version="1", name="own")
    asking = threading.Thread(target=lambda: house.store.get_or_compute("X", RAW, {}, own, timeout=30), daemon=True)
    asking.start()
    eventually(lambda: done, seconds=20, what="the message that asks to publish")

    assert publish_staged(resources, done[0]).status == "computed"

    asking.join(20)
    assert calls == ["publish"]


def test_waiting_to_publish_ends_before_the_process_is_killed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error of its own kind, which has the task sent again; the key is not told to have failed."""
    left: list[float] = []

    def never(*given: Any, **how: Any) -> Any:
        left.append(deadline.remaining(10_000))
        raise ManifestBusy("publishing", "somebody holds the table")

    request = message(house, factor=2)
    monkeypatch.setattr(Manifest, "publish", never)
    with pytest.raises(ManifestBusy):
        execute(house.store.resources, request, phase=lambda _: None)
    with pytest.raises(ManifestBusy):
        execute_batch(house.store.resources, [message(house, factor=3)], phase=lambda _: None)

    job = house.store.resources.jobs.find(request.key or "")
    assert job is not None and job.failure is None
    assert len(left) >= 2 and max(left) < house.store.resources.settings.compute_time_limit_s


def test_a_worker_waits_for_the_table_beyond_the_soft_limit(servers: Servers, tmp_path: Path) -> None:
    """The function took nothing of its second; somebody holds the manifest until that second is long over."""
    with ExitStack() as stack:
        house = build_house(servers, tmp_path, stack, feature_modules="tests.queue_features")
        house.start(concurrency=1)
        rival = psycopg2.connect(house.environment["FEATURE_STORE_POSTGRES_URL"])
        stack.callback(rival.close)
        rival.cursor().execute("LOCK TABLE manifest IN SHARE MODE")
        found: list[object] = []

        def ask() -> None:
            try:
                found.append(house.store.get_or_compute("S", RAW, {}, queue_features.hurried, timeout=60))
            except FeatureStoreError as error:
                found.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        late = "SELECT 1 FROM jobs WHERE state = 'running' AND started_ts < now() - interval '1.6 seconds'"
        eventually(lambda: house.store.resources.database.query(late) or found, seconds=30, what="the limit to pass")
        rival.rollback()
        asking.join(60)

        (answer,) = found
        assert isinstance(answer, pd.DataFrame), answer
        pd.testing.assert_frame_equal(answer, RAW)
