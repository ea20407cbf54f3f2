"""Features with a queue and a time limit of their own, on real workers: routed, limited, sent again where they belong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from celery import Celery

from fstore.broker.configuration import celery_config
from fstore.broker.control import Control
from fstore.broker.tasks import GET_OR_COMPUTE, compute_queue
from fstore.errors import ComputeDead, ComputeFailed, ComputeTimeout
from fstore.model import Request
from fstore.upkeep.reconcile import run_reconciliation
from tests.conftest import House, Servers, build_house, run_sql
from tests.support.commands import fstore
from tests.support.queues import known_queues, queue_features  # noqa: F401 a fixture

SHARED = "fstore.compute,fstore.write,fstore.upkeep"
RAW = pd.DataFrame({"x": [1.0, 2.0]})
GPU = compute_queue("gpu")


@pytest.fixture
def house(servers: Servers, tmp_path: Path) -> Iterator[House]:
    """A store whose features have queues and limits of their own."""
    with ExitStack() as stack:
        yield build_house(servers, tmp_path, stack, feature_modules="tests.queue_features")


def queue_of(house: House, feature: Any, n: int = 0) -> str:
    """Return the queue from which a worker took the request for a feature."""
    return str(house.store.get_or_compute("S", RAW, {"n": n}, feature, timeout=60)["queue"][0])


def waiting(house: House, queue: str) -> int:
    """Return how many messages wait."""
    return house.store.resources.redis_server.queue_length(queue)


def test_each_feature_is_computed_from_its_queue(house: House) -> None:
    """One worker serves what all share, another the feature's own; single requests and batches find their ways."""
    house.start(concurrency=1, queues=SHARED)
    with pytest.raises(ComputeTimeout):
        house.store.get_or_compute("S", RAW, {}, queue_features.on_gpu, timeout=1)
    assert waiting(house, GPU) == 1

    house.start(concurrency=1, queues=GPU)

    assert queue_of(house, queue_features.on_gpu) == GPU
    assert queue_of(house, queue_features.anywhere) == "fstore.compute"
    both = [
        Request("S", RAW, {"n": n}, f) for n in range(1, 9) for f in (queue_features.on_gpu, queue_features.anywhere)
    ]
    found = {(r.feature, f["queue"][0]) for r, f in house.store.get_or_compute_many(both, timeout=60)}
    assert found == {(queue_features.on_gpu, GPU), (queue_features.anywhere, "fstore.compute")}


def test_a_worker_without_named_queues_serves_all(house: House) -> None:
    """As on a machine of one's own, where nobody thinks of queues."""
    house.start(concurrency=1)
    assert queue_of(house, queue_features.on_gpu) == GPU


def test_a_plain_client_is_sent_on(house: House) -> None:
    """Who only knows Celery sends to the queue that all share; the worker there passes it on, and the answer comes back."""
    house.start(concurrency=1, queues=SHARED)
    house.start(concurrency=1, queues=GPU)
    source = house.store.ingest(RAW, house.root / "raw.parquet")
    app = Celery("plain", set_as_current=False)
    app.conf.update(celery_config(house.settings))
    wanted = {"symbol": "S", "feature": "tests.queue_features:on_gpu", "raw_data": str(source.path)}

    first = app.send_task(GET_OR_COMPUTE, kwargs={"request": wanted}).get(timeout=60)
    hurried = {**wanted, "feature": "tests.queue_features:hurried", "config": {"seconds": 30}}
    with pytest.raises(Exception, match="SoftTimeLimitExceeded"):
        app.send_task(GET_OR_COMPUTE, kwargs={"request": hurried}).get(timeout=60)

    assert house.store.load(first)["queue"][0] == GPU


def test_a_lost_message_goes_to_its_own_queue_again(house: House) -> None:
    """What recovery, upkeep and an operator send again goes where the feature belongs; queues are judged one by one."""
    house.store.submit("S", RAW, {}, queue_features.on_gpu)
    house.store.submit("S", RAW, {}, queue_features.anywhere)
    assert (waiting(house, GPU), waiting(house, "fstore.compute")) == (1, 1)
    url = house.environment["FEATURE_STORE_POSTGRES_URL"]
    run_sql(url, "UPDATE jobs SET requested_ts = now() - interval '6 seconds'")
    house.store.resources.redis_server._link.call("losing it", lambda client: client.delete(f"fstore:{GPU}"))

    report = run_reconciliation(house.store.resources)

    assert report.as_dict()["sent"] == 1
    assert (waiting(house, GPU), waiting(house, "fstore.compute")) == (1, 1)
    run_sql(
        url,
        'UPDATE jobs SET state = \'failed\', finished_ts = now(), error = \'{"error_type": "X", "detail": "y"}\'',
    )
    assert fstore(house, "jobs", "retry", "--feature", "tests.queue_features:on_gpu").code == 0
    assert (waiting(house, GPU), waiting(house, "fstore.compute")) == (2, 1)


def test_a_backlog_elsewhere_says_nothing_of_a_queue(house: House) -> None:
    """A later message that a worker of another queue took does not make a job lost that waits in its own."""
    house.store.submit("S", RAW, {}, queue_features.on_gpu)
    house.store.submit("S", RAW, {}, queue_features.anywhere)
    url = house.environment["FEATURE_STORE_POSTGRES_URL"]
    run_sql(url, "UPDATE jobs SET requested_ts = now() - interval '100 seconds' WHERE request->>'queue' = 'gpu'")
    shared = "requested_ts = now() - interval '30 seconds', state = 'running', started_ts = now()"
    run_sql(url, f"UPDATE jobs SET {shared}, lease_until = now() + interval '1 hour' WHERE request->>'queue' IS NULL")

    assert run_reconciliation(house.store.resources).as_dict()["sent"] == 0


def test_a_computation_ends_at_its_own_limit(house: House, tmp_path: Path) -> None:
    """It is asked to stop at its feature's limit, far below that of all; its neighbours in a batch have theirs."""
    house.start(concurrency=1)
    slow = {"seconds": 30, "mark": str(tmp_path / "mark")}
    asked = [Request("S", RAW, slow if n == 2 else {"n": n}, queue_features.hurried) for n in range(5)]

    began = time.monotonic()
    found = dict(enumerate(house.store.get_or_compute_many(asked, timeout=60, errors="return")))

    failed = [answer for _, answer in found.values() if isinstance(answer, Exception)]
    assert [type(error) for error in failed] == [ComputeFailed]
    assert "SoftTimeLimitExceeded" in str(failed[0])
    assert time.monotonic() - began < 25


@pytest.mark.slow
def test_what_ignores_its_limit_is_killed(servers: Servers, tmp_path: Path) -> None:
    """A few seconds past the limit its process is ended, and after as many starts as are allowed the computation is dead."""
    with ExitStack() as stack:
        quick = {"lease_seconds": "6", "renew_seconds": "2", "max_starts": "1"}
        house = build_house(servers, tmp_path, stack, feature_modules="tests.queue_features", **quick)
        house.start(concurrency=1)
        with pytest.raises(ComputeDead):
            house.store.get_or_compute("S", RAW, {}, queue_features.stubborn, timeout=60)


def test_keys_do_not_know_of_it(house: House) -> None:
    """Queue and limit may change without a new version: they are no part of the key."""
    request = house.store._prepare("S", RAW, {}, queue_features.on_gpu)
    assert "gpu" not in json.dumps([request.parts.feature_version, request.parts.config, request.parts.fingerprint])
    message = request.message(_reference())
    assert (message.queue, message.time_limit_s) == ("gpu", None)


def test_doctor_names_a_queue_that_nobody_serves(house: House) -> None:
    """With the feature that wants it and the command that serves it."""
    house.start(concurrency=1, queues=SHARED)

    said = fstore(house, "doctor", "--json")

    (found,) = [f for f in said.json["findings"] if f["level"] == "fault"]
    assert said.code == 1
    assert f"nobody serves {GPU}, which tests.queue_features:on_gpu asks for" in found["detail"]
    assert "fstore worker -Q gpu " in found["advice"]
    house.start(concurrency=1, queues=GPU)
    again = fstore(house, "doctor", "--json").json["findings"]
    assert [found for found in again if found["level"] == "fault"] == []


def test_a_worker_that_answers_late_is_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though another answered for its own queues in time: nobody is told to start what runs."""
    for queues in (SHARED, GPU):
        house.start(concurrency=1, queues=queues)
    asked: list[float] = []
    answered = Control._ask

    def late_for_one(control: Control, command: str, timeout_s: float) -> dict[str, Any]:
        asked.append(timeout_s)
        answers = answered(control, command, timeout_s)
        is_late = len(asked) == 1
        return {name: found for name, found in answers.items() if not is_late or GPU not in str(found)}

    monkeypatch.setattr(Control, "_ask", late_for_one)

    found = house.store.resources.broker.workers_by_queue(["fstore.compute", GPU])

    assert asked == [2.0, 6.0]
    assert [len(found[queue]) for queue in ("fstore.compute", GPU)] == [1, 1]
    assert house.store.resources.broker.workers_by_queue([GPU])[GPU] == found[GPU]
    assert asked == [2.0, 6.0, 2.0]


def _reference() -> Any:
    from fstore.broker.messages import RawReference

    return RawReference(kind="caller", path="-")
