"""Celery as people know it: a client that imports only the tasks, small JSON answers, and nothing but JSON on the wire."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pandas as pd
import pytest
import redis

import fstore
from tests import sample_features
from tests.conftest import REPOSITORY, House
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(50)]})
CLIENT = """
import json, sys
from workers.tasks import get_or_compute

requests = json.loads(sys.argv[1])
sent = [get_or_compute.delay(request) for request in requests]
answers = []
for result in sent:
    try:
        answers.append(result.get(timeout=40))
    except Exception as error:
        answers.append({"error": type(error).__name__, "text": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def raw_file(staffed: House) -> str:
    path = staffed.root.parent / "client.parquet"
    RAW.to_parquet(path)
    return str(path)


def client(house: House, *requests: dict[str, object], code: str = CLIENT) -> list[dict[str, object]]:
    """Run a script that knows Celery and ``workers.tasks`` only."""
    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps(requests)],
        env={**os.environ, **house.environment, "PYTHONPATH": str(REPOSITORY)},
        cwd=house.root.parent,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def wanted(raw: str, **changes: object) -> dict[str, object]:
    return {
        "symbol": "CELERY",
        "feature": "tests.sample_features:scaled",
        "config": {"factor": 2},
        "raw_data": raw,
        **changes,
    }


def test_a_plain_client_gets_small_answers_and_loads_frames(staffed, raw_file, monkeypatch):
    """Computed once, a hit afterwards, the same key as the library's, and ``fstore.load`` reads the frame."""
    (first,) = client(staffed, wanted(raw_file))
    (second,) = client(staffed, wanted(raw_file))
    for name, value in staffed.environment.items():
        monkeypatch.setenv(name, value)

    frame = fstore.load(first)

    assert (first["status"], second["status"]) == ("computed", "hit")
    assert set(first) == {"status", "key", "path", "rows", "file_size_bytes", "seconds"}
    assert (first["rows"], first["key"], first["path"]) == (50, second["key"], second["path"])
    assert (staffed.root / first["path"]).stat().st_size == first["file_size_bytes"]
    assert frame.equals(RAW * 2)
    entry = staffed.store.peek("CELERY", RAW, {"factor": 2}, sample_features.scaled)
    assert entry.key == first["key"]
    assert staffed.store.load(second, returns="arrow").num_rows == 50


def test_requests_for_a_key_that_is_being_computed_share_it(staffed, raw_file, tmp_path):
    """Asked three times while it runs: one start, one ``computed``, the others ``coalesced``; and no slot is held."""
    config = {"seconds": 3.0, "marks": str(tmp_path / "marks")}
    slow = wanted(raw_file, feature="tests.sample_features:slow", config=config)

    *same, other = client(staffed, slow, slow, slow, wanted(raw_file, config={"factor": 9}))

    assert sorted(answer["status"] for answer in same) == ["coalesced", "coalesced", "computed"]
    assert {answer["rows"] for answer in same} == {3}
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert other["status"] == "computed"


def test_one_task_answers_many_requests_each_for_itself(staffed, raw_file):
    """``fstore.get_or_compute_many`` gives every request its own answer or error, in their order."""
    code = """
import json, sys
from workers.tasks import get_or_compute_many

print(json.dumps(get_or_compute_many.delay(json.loads(sys.argv[1])).get(timeout=40)))
"""
    tag = uuid.uuid4().hex
    good = [wanted(raw_file, config={"factor": n, "tag": tag}) for n in (2, 3)]
    bad = wanted(raw_file, feature="tests.sample_features:unknown")

    first, failed, second, again = client(staffed, good[0], bad, good[1], good[0], code=code)

    assert [first["status"], failed["status"], second["status"], again["status"]] == [
        "computed",
        "failed",
        "computed",
        "hit",
    ]
    assert failed["error"]["type"] == "FeatureNotRegistered"
    assert again["path"] == first["path"]
    pd.testing.assert_frame_equal(staffed.store.load(second), RAW * 3)


def test_errors_reach_a_plain_client_by_name(staffed, raw_file, tmp_path):
    """The function's own error as ``ComputeFailed``, a bad request as what is wrong with it; nobody waits for a timeout."""
    outside = tmp_path / "outside.parquet"
    RAW.to_parquet(outside)
    answers = client(
        staffed,
        wanted(raw_file, feature="tests.sample_features:failing"),
        wanted(raw_file, feature="os:system"),
        wanted(raw_file, symbol="x" * 5000),
        wanted(str(outside)),
        wanted(raw_file + ".missing"),
        wanted(raw_file, config={"factor": {"$fstore": "?"}}),
        {"symbol": "CELERY"},
        wanted(raw_file, key="0" * 64),
        wanted(
            raw_file,
            raw_data={"kind": "staged", "path": "../../etc/passwd"},
            fingerprint="b3m1:" + "0" * 64,
            hash_method="full",
        ),
    )

    names = [answer.get("error") for answer in answers]
    assert names[0] == "ComputeFailed"
    assert "no price in row 17" in answers[0]["text"]
    assert names[1:4] == ["FeatureNotRegistered", "InvalidRequest", "SourceNotAllowed"]
    assert names[4] in {"SourceChanged", "StorageUnavailable"}
    assert names[6:8] == ["InvalidRequest", "InvalidRequest"]
    assert all(name and name != "TimeoutError" for name in [*names[:5], *names[6:]])
    assert "passwd" not in json.dumps(answers[-1].get("path"))


def test_a_pickled_message_is_rejected_unread(staffed, tmp_path):
    """Whoever can write to Redis cannot run code in a worker, and the worker goes on."""
    trap = tmp_path / "executed"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (trap,))

    link = redis.Redis.from_url(staffed.environment["FEATURE_STORE_REDIS_URL"])
    body = pickle.dumps(([Trap()], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}))
    for kind in ("application/x-python-serialize", "application/json"):
        push(link, body, kind)

    found = staffed.store.get_or_compute("CELERY", RAW, {"factor": time.time()}, sample_features.scaled, timeout=30)

    assert len(found) == 50
    eventually(lambda: link.llen("fstore:fstore.compute") == 0, seconds=10, what="the messages to be taken")
    assert not trap.exists()


def push(link: redis.Redis, body: bytes, kind: str) -> None:
    """Put a message into the workers' queue as an intruder would."""
    task = str(uuid.uuid4())
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "binary",
        "content-type": kind,
        "headers": {"lang": "py", "task": "fstore.get_or_compute", "id": task, "root_id": task, "retries": 0},
        "properties": {
            "correlation_id": task,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "fstore.compute"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    link.lpush("fstore:fstore.compute", json.dumps(message))


@pytest.mark.parametrize("kind", ["pickle", "application/x-yaml"])
def test_a_worker_that_would_accept_code_refuses_to_start(staffed, kind):
    """A setting that opens the door is refused, whoever made it."""
    code = (
        "import sys\n"
        "from workers.app import app\n"
        f"app.conf.accept_content = ['json', {kind!r}]\n"
        "app.worker_main(['worker', '-c', '1', '-P', 'solo', '--without-mingle', '--without-gossip'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **staffed.environment, "PYTHONPATH": str(REPOSITORY)},
        cwd=staffed.root.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode != 0
    assert "JSON only" in run.stdout + run.stderr


def test_task_names_and_queues_are_the_documented_ones(staffed):
    """The wire surface is a contract."""
    code = (
        "import json\nfrom workers.tasks import app\n"
        "print(json.dumps(sorted(name for name in app.tasks if name.startswith('fstore.'))))"
    )
    names = client(staffed, code=code)
    assert {
        "fstore.get_or_compute",
        "fstore.publish",
        "fstore.collect_garbage",
        "fstore.sweep_integrity",
        "fstore.reconcile_jobs",
        "fstore.flush_usage",
    } <= set(names)
