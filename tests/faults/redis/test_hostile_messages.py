"""An intruder who can write to Redis, poisoned raw data, and names that are code: nothing of it runs, everything else goes on."""

from __future__ import annotations

import json
import pickle
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore import FeatureStoreError, ParquetSource
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, Site
from tests.faults.rows import row
from tests.integration.broker.test_hostile_messages import KEY, STRANGERS_KEY, message, task_body
from tests.sample_features import scaled
from tests.waiting import eventually

QUEUE = "fstore:fstore.compute"


def push(site: Site, *items: object) -> None:
    """Write to the workers' queue as an intruder does, and wait until all of it was taken."""
    with site.redis() as link:
        link.lpush(QUEUE, *(item if isinstance(item, bytes) else json.dumps(item) for item in items))
        eventually(lambda: link.llen(QUEUE) == 0 and not link.hlen("fstore:unacked"), seconds=30, what="the queue")


def request(site: Site, name: str) -> dict[str, object]:
    """Return a request that leaves marks when it is computed."""
    RAW.to_parquet(site.folder / "raw.parquet")
    config = {"seconds": 0, "marks": site.marks(name, most=1)}
    raw = str(site.folder / "raw.parquet")
    return {"symbol": "X", "feature": "tests.sample_features:slow", "config": config, "raw_data": raw}


@row(
    40,
    fault="forged, pickled, stale and replayed messages are written into Redis",
    promise="nothing is executed, what is replayed finds its work done, workers go on",
    seconds=15,
)
@pytest.mark.parametrize("signing", [True, False], ids=["signed", "unsigned store"])
def test_row_40_forged_messages(make_site, signing):
    """Pickles never run, with a signing key nothing runs that its holders did not send lately, and a copy runs once at most."""
    site = make_site(**({"signing_key": KEY} if signing else {}))
    worker = site.worker()
    key, trap = KEY if signing else None, site.folder / "executed"

    class Trap:
        def __reduce__(self):
            return (Path.touch, (trap,))

    good = message(task_body(request(site, "once")), key=key)
    push(site, good)
    site.started("once")
    push(site, *[good] * 10)
    push(site, message(pickle.dumps(([Trap()], {}, {})), key=key, **{"content-type": "application/x-python-serialize"}))
    push(site, message(pickle.dumps(([Trap()], {}, {})), key=key), pickle.dumps(Trap()), b"garbage", b"[" * 100_000)
    push(site, message(task_body(request(site, "unknown task")), key=key, headers={"task": "os.system"}))
    if signing:
        forged = task_body(request(site, "forged"))
        altered = {**message(task_body(request(site, "once"))), "body": message(forged)["body"]}
        old = message(forged, at=time.time() - 3 * 86_400)
        push(site, message(forged, key=None), message(forged, key=STRANGERS_KEY), altered, old)

    assert site.ask({}, scaled, timeout=30).equals(RAW * 2)
    assert worker.poll() is None
    assert not trap.exists()
    assert len(site.starts("once")) == 1
    assert not site.starts("forged")
    assert not site.starts("unknown task")
    check_invariants(site)


def poisons(folder: Path) -> list[Path]:
    """Write Parquet files that are meant to do harm, and forty that were damaged by chance."""
    dice = random.Random(41)
    folder.mkdir()
    whole = folder / "whole.parquet"
    frame = pd.DataFrame({"price": np.random.default_rng(41).random(500), "note": ["a", "b"] * 250})
    frame.to_parquet(whole)
    good = whole.read_bytes()
    made = {
        "empty": b"",
        "magic alone": b"PAR1" * 3,
        "cut": good[: len(good) // 2],
        "footer of 2 GB": good[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
        "footer longer than the file": good[:-8] + (len(good) * 2).to_bytes(4, "little") + b"PAR1",
        "noise": dice.randbytes(5000) + b"PAR1",
        "no data": good[:4] + bytes(len(good) // 3) + good[4 + len(good) // 3 :],
    }
    for number in range(40):
        damaged = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        made[f"damaged {number}"] = bytes(damaged)
    paths = [folder / f"{name}.parquet" for name in made]
    for path, data in zip(paths, made.values(), strict=True):
        path.write_bytes(data)
    bomb = folder / "bomb.parquet"
    zeros = pa.table({"x": pa.DictionaryArray.from_arrays(pa.array(np.zeros(30_000_000, "int32")), ["y" * 100])})
    pq.write_table(zeros, bomb, compression="zstd")
    deep = pa.array([1])
    for _ in range(150):
        deep = pa.ListArray.from_arrays([0, 1], deep)
    pq.write_table(pa.table({"x": deep}), folder / "deep.parquet")
    return [*paths, bomb, folder / "deep.parquet"]


@row(
    41,
    fault="raw data that are malicious or damaged Parquet files",
    promise="a typed error or the right frame, workers and trainers alive",
    seconds=40,
)
@pytest.mark.timeout(300)
def test_row_41_malicious_parquet(make_site):
    """Bombs, endless nesting, lying footers and random damage harm neither the trainer that names them nor a worker."""
    site = make_site(worker_memory_limit_mb="2000")
    worker = site.worker(concurrency=2)
    paths = poisons(site.folder / "poison")
    answered = 0
    for path in paths:
        try:
            found = site.calls.ask(site.store, "P", ParquetSource(path), {}, scaled, timeout=60)
        except FeatureStoreError:
            continue
        answered += 1
        pd.testing.assert_frame_equal(found, pd.read_parquet(path).select_dtypes("number") * 2)

    # Straight to the workers, past what the trainer's own reading refuses.
    asked = [
        message(task_body({"symbol": "P", "feature": "tests.sample_features:scaled", "config": {"n": 1}, "raw_data": str(path)}), key=None)
        for path in paths
    ]  # fmt: skip
    push(site, *asked)
    for sent in asked:
        assert ended(site, sent) in {"SUCCESS", "FAILURE"}
    assert 0 < answered < len(paths)
    assert worker.poll() is None
    assert "WorkerLostError" not in site.logs()
    check_invariants(site)


def ended(site: Site, sent: dict[str, object]) -> str:
    """Wait for a task's end, and return its state."""
    name = f"fstore:celery-task-meta-{sent['headers']['id']}"  # type: ignore[index]

    def state() -> str | None:
        with site.redis() as link:
            found = json.loads(link.get(name) or "{}").get("status")
        return found if found in {"SUCCESS", "FAILURE"} else None

    return eventually(state, seconds=60, what="the task's end")


SYMBOLS = [
    "../../x", "/etc/passwd", "'; DROP TABLE manifest; --", "%(key)s %s %2e%2e", "$(touch executed)", "`id`", "A" * 128,
    "A\u0301", "\u202etxet", "aapl", "AAPL", "{0.__class__}", "\\", "*", "-rf", "~", "CON", "😀",
]  # fmt: skip
REFUSED = ["", "AAPL\t", "A\0B", "A" * 5000, "\ud800"]
NAMES = ["os:system", "builtins:eval", "tests.sample_features:__import__", "tests.sample_features:os.system",
         "fstore.storage.folder.entries:FolderEntries", "../../x:y", "subprocess:run", ":", "a:b:c", "tests.sample_features:scaled\0", "ﬁle:x"]  # fmt: skip


@row(
    42,
    fault="paths, SQL, shell and odd Unicode as symbol, config, feature or path",
    promise="inert to the letter, or refused with a typed error; nothing outside the folder is touched",
    seconds=15,
)
def test_row_42_names_that_are_code(site):
    """Whatever a name says, it is a name: one entry each, files below the store only, no other function than registered ones."""
    site.worker(concurrency=2)
    before = {path for path in site.folder.rglob("*") if not path.is_relative_to(site.root)}

    for number, symbol in enumerate(SYMBOLS):
        config = {"factor": number + 2, symbol: symbol}
        found = site.calls.ask(site.store, symbol, RAW, config, scaled, timeout=30)
        assert found.equals(RAW * (number + 2)), symbol
        entry = site.store.peek(symbol, RAW, config, scaled)
        assert entry.parts.symbol == symbol
        assert (site.root / entry.path).resolve().is_relative_to(site.root.resolve())
    for symbol in REFUSED:
        with pytest.raises(FeatureStoreError):
            site.calls.ask(site.store, symbol, RAW, {}, scaled, timeout=30)
    for name in NAMES:
        with pytest.raises(FeatureStoreError):
            site.store.get_or_compute("X", RAW, {}, name, timeout=30)
    for path in ("/etc/passwd", str(site.folder / "../../../../etc/passwd"), "/proc/self/environ", "/dev/zero"):
        with pytest.raises(FeatureStoreError):
            site.store.get_or_compute("X", ParquetSource(path), {}, scaled, timeout=30)

    assert site.sql("SELECT count(*) FROM manifest") == [(len(SYMBOLS),)]
    after = {path for path in site.folder.rglob("*") if not path.is_relative_to(site.root)}
    assert {path.name for path in after - before} <= {path.name for path in site.folder.glob("worker-*")}
    check_invariants(site)
