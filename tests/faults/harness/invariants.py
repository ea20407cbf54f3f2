"""What must be true after every fault: one function for all rows, one clause for each promise."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import redis
from blake3 import blake3

from fstore import FeatureStoreError
from fstore.model import Locator
from fstore.storage.layout import STORE_ID, TEMPORARY
from fstore.storage.verify import Pace
from fstore.upkeep import api as upkeep
from fstore.upkeep.collection.policy import GarbagePolicy
from fstore.upkeep.collection.run import run_collection
from tests import sample_features
from tests.conftest import House
from tests.faults.harness.calls import LEEWAY_S, Calls

RAW = pd.DataFrame({"price": [float(i) for i in range(50)]})
MOST_STARTS = 3


def check_invariants(
    house: House,
    *,
    calls: Calls | None = None,
    marks: Mapping[Path, int] | Iterable[Path] | None = None,
    settle_s: float = 45,
    next_request: Callable[[], None] | None = None,
) -> None:
    """Check I1 to I6 and fail with everything that is wrong.

    Servers and at least one worker must run, unless ``next_request`` needs none.
    ``calls`` and ``marks`` (folders of one key's start marks; a mapping says how many
    starts each may have) default to those of the site.
    """
    calls = calls if calls is not None else getattr(house, "calls", Calls())
    marks = marks if marks is not None else getattr(house, "marked", {})
    allowed = dict(marks) if isinstance(marks, Mapping) else dict.fromkeys(marks, MOST_STARTS)
    wrong = [*late_calls(calls), *different_answers(calls), *too_many_starts(house, allowed)]
    wrong += stuck_jobs(house, settle_s=settle_s)
    wrong += late_calls(calls)
    wrong += [*doubled_rows(house), *unfit_files(house)]
    collect(house)
    wrong += [*leftover_files(house), *leftover_locks(house), *doubled_rows(house), *unfit_files(house)]
    wrong += failing_request(next_request or (lambda: ask_anew(house)))
    assert not wrong, "\n".join(dict.fromkeys(wrong))


def doubled_rows(house: House) -> list[str]:
    """I1: one row a key."""
    rows = _query(house, "SELECT key, count(*) FROM manifest GROUP BY key HAVING count(*) > 1")
    return [f"I1: {count} rows for key {key}" for key, count in rows]


def unfit_files(house: House) -> list[str]:
    """I2: the file of every live row is there and holds the bytes that were written, by the product's reading and by ours."""
    wrong = []
    rows = _query(
        house, "SELECT key, path, rows, file_size_bytes, content_digest FROM manifest WHERE state = 'live' ORDER BY key"
    )
    for key, path, count, size, digest in rows:
        fault, _ = house.store.resources.entries.inspect(Locator(key, path, count, size, digest), Pace(None))
        if fault is not None:
            wrong.append(f"I2: the product finds {path} {fault.kind}: {fault.detail}")
        file, first = lies_in(house.root, path)
        if not file.is_file():
            wrong.append(f"I2: {path} is not there")
        elif len(data := file.read_bytes() if first is None else file.read_bytes()[first : first + size]) != size:
            wrong.append(f"I2: {path} has {len(data)} bytes, its row says {size}")
        elif blake3(data).hexdigest() != digest:
            wrong.append(f"I2: {path} has another digest than its row")
    return wrong


def lies_in(root: Path, path: str) -> tuple[Path, int | None]:
    """Return the file that holds an entry and, if others lie in it too, where this one begins; read off the path anew."""
    pack, mark, name = path.partition(".pack/")
    return (root / f"{pack}.pack", int(name.split("-")[-1].partition(".")[0])) if mark else (root / path, None)


def late_calls(calls: Calls) -> list[str]:
    """I3: no call ended, or still goes on, more than a second past its deadline."""
    return [
        f"I3: {call.what} is {call.late_by:.2f} s past its deadline of {call.timeout} s"
        for call in calls
        if call.late_by > LEEWAY_S
    ]


def different_answers(calls: Calls) -> list[str]:
    """I1, as callers see it: everybody who asked for a key got the same frame."""
    first: dict[str, pd.DataFrame] = {}
    return [
        f"I1: {call.what} was answered with different frames"
        for call in calls
        if call.key is not None
        and isinstance(call.value, pd.DataFrame)
        and not call.value.equals(first.setdefault(call.key, call.value))
    ]


def too_many_starts(house: House, allowed: Mapping[Path, int]) -> list[str]:
    """I4: no computation was started more than three times (or as often as the row allows)."""
    wrong = [
        f"I4: {count} starts in {folder.name}, at most {most} are allowed"
        for folder, most in allowed.items()
        if (count := len(list(folder.iterdir())) if folder.exists() else 0) > most
    ]
    rows = _query(house, f"SELECT key, starts FROM jobs WHERE starts > {MOST_STARTS}")
    return wrong + [f"I4: the job of {key} counts {starts} starts" for key, starts in rows]


def stuck_jobs(house: House, *, settle_s: float) -> list[str]:
    """I5: within ``settle_s``, with a reconciler that looks every other second as Beat has it look, every job ends."""
    ends_at = time.monotonic() + settle_s
    looked_at = 0.0
    while rows := _query(house, "SELECT key, state, starts FROM jobs WHERE state IN ('queued', 'running')"):
        if time.monotonic() > ends_at:
            return [f"I5: the job of {key} is still {state} after {settle_s} s (starts: {n})" for key, state, n in rows]
        if time.monotonic() - looked_at > 2:
            with suppress(FeatureStoreError):
                upkeep.reconcile_jobs(house.store.resources)
            looked_at = time.monotonic()
        time.sleep(0.05)
    return []


def collect(house: House) -> None:
    """Collect garbage as if the grace period of everything had passed."""
    resources = house.store.resources
    run_collection(resources, replace(GarbagePolicy.from_settings(house.settings), grace=timedelta(0)), force=True)


def leftover_files(house: House) -> list[str]:
    """I5: after a collection there is no temporary, staged or orphaned file; what is in quarantine may stay a week."""
    rows = _query(house, "SELECT path FROM manifest")
    named = {str(lies_in(house.root, str(path))[0].relative_to(house.root)) for (path,) in rows}
    files = {str(path.relative_to(house.root)) for path in house.root.rglob("*") if path.is_file()}
    strays = {path for path in files - named - {STORE_ID} if not path.startswith("quarantine/")}
    return [
        f"I5: {'temporary file' if TEMPORARY in path else 'orphan'} {path} is left over"
        for path in sorted(strays | {path for path in files if TEMPORARY in path})
    ]


def leftover_locks(house: House) -> list[str]:
    """I5: no dedup lock outlives its time, none is held that would not lapse."""
    ends_at = time.monotonic() + house.settings.lock_seconds + 5
    with redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"], decode_responses=True) as client:
        while names := [str(name) for name in client.scan_iter("fstore:dedup:*")]:
            eternal = [name for name in names if client.pttl(name) == -1]
            if eternal or time.monotonic() > ends_at:
                return [f"I5: the lock {name} is left over" for name in eternal or names]
            time.sleep(0.05)
    return []


def failing_request(next_request: Callable[[], None]) -> list[str]:
    """I6: the next request is answered, rightly."""
    try:
        next_request()
    except Exception as error:
        return [f"I6: the next request failed: {type(error).__name__}: {error}"]
    return []


def ask_anew(house: House, *, timeout: float = 30) -> None:
    """Ask for something nobody asked for yet, and for it again."""
    config = {"factor": 2, "case": uuid.uuid4().hex}
    for _ in range(2):
        found = house.store.get_or_compute("NEXT", RAW, config, sample_features.scaled, timeout=timeout)
        assert found.equals(RAW * 2), "another frame than the direct call's"


def _query(house: House, sql: str) -> list[tuple[object, ...]]:
    """Ask Postgres, patiently: right after a fault the first connection may still be the old one."""
    ends_at = time.monotonic() + 15
    while True:
        try:
            return list(house.store.resources.database.query(sql))
        except FeatureStoreError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.2)
