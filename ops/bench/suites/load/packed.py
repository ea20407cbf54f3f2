"""Requests and upkeep of stores whose entries are real and share files, against how many there are.

A part of ``suites/scale.py``.

Two stores on the same servers, asked in turn: one with a thousand entries, one with as many as are wanted, in packs of 64,
each a result of its own of 20 rows x 3. What is asked for was computed by workers among them: one key, a batch of 500,
one that nobody asked for before. Then what looks at all of them, once each, and a verification of every one.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any

import numpy as np
import psycopg2
import pyarrow as pa
from harness.features import day, unchanged
from harness.figures import Figure, Outcome, timed
from harness.parts import run_alone
from harness.stand import Stand, stands
from harness.writing import LIBRARIES, key_of
from psycopg2.extras import execute_values

from fstore import FeatureStore, Request
from fstore.stack import temporary_servers
from fstore.storage import EntryStore, small_bytes
from fstore.upkeep import verify_entries
from suites.batch import drain
from suites.load import growth

FEW, MANY = 1_000, 1_000_000
TOGETHER = 64  # entries of a pack, as workers publish them
ROWS_AT_ONCE = 100  # packs whose rows are inserted by one statement
BATCH = 500
INSERT = """
INSERT INTO manifest (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, source, path,
    rows, file_size_bytes, content_digest, compute_seconds, library_versions, attempt, state, created_ts, verified_ts)
VALUES %s
"""
ROW = """
(%(key)s, %(symbol)s, 'bench:packed', '1', %(key)s, '{}', %(fingerprint)s, 'full', %(source)s, %(path)s, 20, %(size)s, %(digest)s,
    0.1, %(libraries)s, 1, 'live', now() - %(ago)s * interval '1 ms', now() - %(ago)s * interval '1 ms')
"""
numbers = count(10**6)


def measure(*, quick: bool, entries: int | None = None) -> Outcome:
    """Fill both stores, then ask them in turn."""
    sizes = (FEW, entries or (2 * FEW if quick else MANY))
    with temporary_servers() as servers, stands(servers, len(sizes)) as places, ExitStack() as stack:
        filled = [
            timed(lambda place=place, size=size: fill(place, size)) for place, size in zip(places, sizes, strict=True)
        ]
        for place in places:
            place.worker(concurrency=1)
        stores = [stack.enter_context(place.trainer()) for place in places]
        few, many = asked_in_turn(stores, rounds=3 if quick else 60)
        whole = growth.by_rows(places, sizes, rounds=3 if quick else 15)
        looked = [swept(place) for place in places]
        collections = [run_alone("upkeep", "collect", environment=place.child_environment()) for place in places]
    ratio = f"at {sizes[1]:,} packed entries / at {sizes[0]:,}"
    figures = [
        Figure(f"{name}, {ratio}", statistics.median(b / a for a, b in zip(few[name], many[name], strict=True)))
        for name in few
    ]
    figures.append(Figure(f"entries verified a second, {ratio}", looked[1] / looked[0], sense="at least"))
    figures.append(Figure(f"peak memory of a collection, {sizes[1]:,} packed entries, MB", collections[1]["peak_mb"]))
    measured = {
        str(size): {
            "ms": {name: round(statistics.median(spent) * 1000, 3) for name, spent in found.items()},
            "asked, ms": whole[str(size)],
            "filled_s": round(seconds, 1),
            "verified_per_s": round(rate),
            "collection_s": round(collection["seconds"], 2),
            "collection_mb": round(collection["peak_mb"], 1),
        }
        for size, found, seconds, rate, collection in zip(sizes, (few, many), filled, looked, collections, strict=True)
    }
    return Outcome("packed", figures, measured)


def asked_in_turn(stores: Sequence[FeatureStore], *, rounds: int) -> list[dict[str, list[float]]]:
    """Return how long each way takes on each store, turn by turn."""
    ways = [ways_of(store) for store in stores]
    spent: list[dict[str, list[float]]] = [{name: [] for name in each} for each in ways]
    for number in range(-2, rounds):
        for found, each in zip(spent, ways, strict=True):
            for name, way in each.items():
                seconds = timed(way)
                found[name] += [seconds] if number >= 0 else []
    return spent


def ways_of(store: FeatureStore) -> dict[str, Callable[[], object]]:
    """Have a batch computed, whose entries lie in packs, and return what is timed."""
    raw = day(0)
    batch = [Request("BENCH", raw, {"n": number}, unchanged) for number in range(BATCH)]
    drain(store, batch)
    return {
        "a hit": lambda: store.get_or_compute("BENCH", raw, {"n": 7}, unchanged),
        f"a batch of {BATCH} hits": lambda: drain(store, batch),
        "a miss": lambda: store.get_or_compute("BENCH", raw, {"n": next(numbers)}, unchanged),
    }


def swept(place: Stand) -> float:
    """Return how many entries a second are verified when all of them are."""
    began = time.monotonic()
    found = verify_entries(place.store.resources)
    assert found["integrity_ok"], found["issues"]
    return float(found["checked"] / (time.monotonic() - began))


def fill(place: Stand, entries: int) -> None:
    """Write packs as workers do, and their rows in bulk."""
    store = place.store.resources.entries
    connection = psycopg2.connect(place.environment["FEATURE_STORE_POSTGRES_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        for first in range(0, entries, TOGETHER * ROWS_AT_ONCE):
            last = min(first + TOGETHER * ROWS_AT_ONCE, entries)
            rows = [
                row
                for start in range(first, last, TOGETHER)
                for row in packed(store, range(start, min(start + TOGETHER, last)))
            ]
            execute_values(cursor, INSERT, rows, template=ROW, page_size=len(rows))
    connection.close()
    place.query("VACUUM ANALYZE manifest")


def packed(store: EntryStore, which: range) -> Iterator[dict[str, Any]]:
    """Write one pack, and give the rows of its entries."""
    results = [(key_of("packed", number), small_bytes(small_result(number))) for number in which]
    for number, (key, _), stored in zip(which, results, store.publish_together(results), strict=True):
        yield {
            "ago": number,
            "key": key,
            "symbol": f"S{int(key[:4], 16) % 500}",
            "fingerprint": f"b3m1:{key}",
            "source": json.dumps({"kind": "staged", "path": key}),
            "path": stored.path,
            "size": stored.file_size_bytes,
            "digest": stored.content_digest,
            "libraries": json.dumps(LIBRARIES),
        }


def small_result(number: int) -> pa.Table:
    """Make a result that differs from every other number's."""
    values = np.arange(60.0).reshape(3, 20)
    values[0, 0] = number
    return pa.table({f"c{at}": column for at, column in enumerate(values)})
