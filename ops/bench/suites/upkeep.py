"""Measures garbage collection against its floor: a bare directory walk with stat plus a bare SELECT of all rows.

    python ops/bench/upkeep.py [--entries 200000] [--quick] [--json] [--check]

Builds stores of a tenth of N and of N small entries on an embedded Postgres and
Redis, with 1 % orphans, 1 % expired and 1 % lost files, and runs one collection
on each while another process keeps publishing.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3
from harness.figures import Figure, Outcome
from harness.memory import peak_mib
from harness.parts import run_alone
from harness.stand import Stand, stands

from fstore import bootstrap
from fstore.model import EntryFacts, HashMethod, KeyParts
from fstore.resources import Resources
from fstore.stack import temporary_servers
from fstore.upkeep import GarbagePolicy, collect_garbage

COLUMNS = "key, path, file_size_bytes, state, created_ts, verified_ts, condemned_ts"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Take the number of entries, and where to build the stores."""
    parser.add_argument("--entries", type=int, help="of the larger store (default: 200,000, a quick look 2,000)")
    parser.add_argument("--folder", type=Path, help="where to build the stores (default: a temporary folder)")


def measure(*, quick: bool, entries: int | None = None, folder: Path | None = None) -> Outcome:
    """Collect on two stores, one ten times the other."""
    most = entries or (2_000 if quick else 200_000)
    sizes = (max(most // 10, 100), most)
    with temporary_servers() as servers, stands(servers, len(sizes), folder=folder) as places:
        runs = [one_size(place, size) for place, size in zip(places, sizes, strict=True)]
    growth = round(runs[1]["us_per_entry"] / runs[0]["us_per_entry"], 3)
    large = runs[1]
    figures = [
        Figure("collection / bare walk and SELECT", large["times_floor"], 3.0),
        Figure("cost of an entry, ten times the entries / before", growth, 1.3),
        Figure("peak memory of a collection, MB", large["peak_mb"], 200.0),
        Figure("longest publish during a collection, s", large["longest_publish_s"], 1.0),
    ]
    return Outcome("upkeep", figures, {"runs": runs, "growth_ratio": growth})


def one_size(place: Stand, entries: int) -> dict[str, Any]:
    """Build one store and measure floor and collection on it, each in a fresh process."""
    resources, environment = place.store.resources, place.child_environment()
    began = time.monotonic()
    build(entries, place)
    built_s = time.monotonic() - began
    resources.usage_buffer.known_for(1.0)  # as if Redis had kept its notes for ever
    floors = [run_alone("upkeep", "floor", environment=environment)["seconds"]]
    publisher = Publisher(resources)
    done = run_alone("upkeep", "collect", environment=environment)
    longest = publisher.finish()
    floors.append(run_alone("upkeep", "floor", environment=environment)["seconds"])
    floor_s = min(floors)
    return {
        "entries": entries,
        "built_s": round(built_s, 1),
        "floor_s": round(floor_s, 3),
        "collect_s": round(done["seconds"], 3),
        "times_floor": round(done["seconds"] / floor_s, 2),
        "us_per_entry": round(done["seconds"] / entries * 1e6, 2),
        "peak_mb": round(done["peak_mb"], 1),
        "grown_mb": round(done["grown_mb"], 1),
        "load_1m": round(os.getloadavg()[0], 1),
        "publishes": publisher.count,
        "longest_publish_s": round(longest, 3),
        "summary": done["summary"],
        "phases_s": done["phases_s"],
    }


def alone(what: str) -> dict[str, Any]:
    """Run one measurement in this process, which does nothing else."""
    return {"floor": floor, "collect": collect}[what]()


def build(entries: int, place: Stand) -> None:
    """Write small files and their rows: of every hundred, one file without row, one row without file, one expired."""
    content = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1.0]}), content)
    data = content.getvalue().to_pybytes()
    digest = blake3(data).hexdigest()
    old, root = time.time() - 60 * 86_400, place.root
    connection = psycopg2.connect(place.environment["FEATURE_STORE_POSTGRES_URL"])
    with connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        for start in range(0, entries, 5000):
            rows = []
            for i in range(start, min(start + 5000, entries)):
                key = blake3(str(i).encode()).hexdigest()
                path = f"entries/{key[:2]}/{key}.{i:016x}.parquet"
                kind = i % 100
                if kind != 1:
                    (root / path).write_bytes(data)
                    os.utime(root / path, (old, old))
                if kind != 0:
                    rows.append(row(key, path, len(data), digest, unused_days=40 if kind == 2 else 3))
            places = ",".join(cursor.mogrify(PLACES, r).decode() for r in rows)
            cursor.execute(f"INSERT INTO manifest VALUES {places}")  # noqa: S608 quoted by mogrify
    connection.close()
    place.query("VACUUM ANALYZE")


PLACES = (
    "(%s, 'SYM', 'bench:f', '1', '', '{}', 'b3m1:0', 'full', NULL, %s, NULL, NULL, 1, %s, %s, 'live',"
    " now() - interval '1 day' * %s, NULL, now(), 0.1, 1, '{}')"
)


def row(key: str, path: str, size: int, digest: str, *, unused_days: int) -> tuple[object, ...]:
    """Return what ``PLACES`` takes for one entry."""
    return key, path, size, digest, unused_days


def floor() -> dict[str, Any]:
    """Walk the folder with one stat a file, and read every row: nothing can do less."""
    settings = bootstrap.load_settings()
    assert settings.postgres_url is not None
    connection = psycopg2.connect(settings.postgres_url.get_secret_value())
    began = time.monotonic()
    files = 0
    for shard in os.scandir(settings.path / "entries"):
        with os.scandir(shard.path) as found:
            for item in found:
                item.stat(follow_symlinks=False)
                files += 1
    with connection, connection.cursor("floor") as cursor:
        cursor.itersize = 2000
        cursor.execute(f"SELECT {COLUMNS} FROM manifest")  # noqa: S608 a constant
        rows = sum(1 for _ in cursor)
    return {"seconds": time.monotonic() - began, "files": files, "rows": rows}


def collect() -> dict[str, Any]:
    """Run one collection, and tell its time and the memory it took."""
    settings = bootstrap.load_settings()
    resources = bootstrap.open_resources(settings, role="bench")
    resources.manifest.store_identity()
    before = peak_mib()
    began = time.monotonic()
    answer = collect_garbage(resources, GarbagePolicy(timedelta(weeks=4), timedelta(hours=24)))
    seconds = time.monotonic() - began
    peak = peak_mib()
    resources.close()
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "grown_mb": peak - before,
        "summary": answer["summary"],
        "phases_s": {name: phase["seconds"] for name, phase in answer["phases"].items()},
    }


class Publisher:
    """Publishes rows one after the other in a thread, and remembers how long the longest took."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._stop = threading.Event()
        self._longest = 0.0
        self.count = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self) -> float:
        """Stop, and return the longest time that one publish took."""
        self._stop.set()
        self._thread.join()
        return self._longest

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            key = blake3(f"fresh {self.count}".encode()).hexdigest()
            claim = self._resources.jobs.claim(key, {"raw_data": {"kind": "staged", "path": "-"}})
            assert claim is not None
            stored = self._resources.entries.publish(key, pa.table({"x": [1.0]}))
            parts = KeyParts("SYM", "bench:f", "1", "{}", "b3m1:1")
            entry = EntryFacts(
                key=key,
                parts=parts,
                hash_method=HashMethod.FULL,
                source_digest="",
                path=stored.path,
                rows=1,
                file_size_bytes=stored.file_size_bytes,
                content_digest=stored.content_digest,
                start_ts=None,
                end_ts=None,
                compute_seconds=0.1,
                library_versions={},
            )
            began = time.monotonic()
            self._resources.manifest.publish([(entry, claim)])
            self._longest = max(self._longest, time.monotonic() - began)
            self.count += 1
