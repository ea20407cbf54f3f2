"""Measures garbage collection against its floor: a bare directory walk with stat plus a bare SELECT of all rows.

    python ops/bench/upkeep.py --entries 200000 [--json] [--check]

Builds stores of a tenth of N and of N small entries on an embedded Postgres and
Redis, with 1 % orphans, 1 % expired and 1 % lost files, and runs one collection
on each while another process keeps publishing. ``--check`` exits 1 and names each
figure that is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from fstore import bootstrap
from fstore.model import EntryFacts, HashMethod, KeyParts
from fstore.resources import Resources
from fstore.stack import temporary_servers
from fstore.upkeep.api import collect_garbage
from fstore.upkeep.gc_policy import GarbagePolicy

FLOOR_FACTOR, GROWTH_RATIO, PEAK_MB, LONGEST_PUBLISH_S = 3.0, 1.3, 200.0, 1.0
COLUMNS = "key, path, file_size_bytes, state, created_ts, verified_ts, condemned_ts"


def main() -> int:
    """Run the measurement, or one of its parts in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when a figure is missed")
    parser.add_argument("--folder", type=Path, help="where to build the stores (default: a temporary folder)")
    parser.add_argument("--part", choices=["floor", "collect"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps({"floor": floor, "collect": collect}[chosen.part]()))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="fstore-bench-", dir=chosen.folder))
    try:
        with temporary_servers() as servers:
            sizes = (max(chosen.entries // 10, 100), chosen.entries)
            runs = [measure(n, folder / str(n), servers.postgres_url, servers.redis_url) for n in sizes]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = {"runs": runs, "growth_ratio": round(runs[1]["us_per_entry"] / runs[0]["us_per_entry"], 3)}
    missed = misses(figures)
    print(json.dumps({**figures, "missed": missed}, indent=2) if chosen.json else table(figures, missed))
    return 1 if chosen.check and missed else 0


def measure(entries: int, root: Path, postgres_url: str, redis_url: str) -> dict[str, Any]:
    """Build one store and measure floor and collection on it, each in a fresh process."""
    name = f"bench_{entries}"
    run_sql(postgres_url, f"CREATE DATABASE {name}")
    head, _, query = postgres_url.partition("?")
    url = f"{head.rsplit('/', 1)[0]}/{name}?{query}"
    environment = {
        **os.environ,
        "FEATURE_STORE_PATH": str(root),
        "FEATURE_STORE_POSTGRES_URL": url,
        "FEATURE_STORE_REDIS_URL": redis_url,
    }
    settings = bootstrap.load_settings({"path": root, "postgres_url": url, "redis_url": redis_url})
    bootstrap.prepare(settings)
    resources = bootstrap.open_resources(settings, role="bench")
    began = time.monotonic()
    build(entries, root, url)
    built_s = time.monotonic() - began
    resources.usage_buffer.known_for(0.0)  # as if Redis had kept its notes for ever
    floors = [part("floor", environment)["seconds"]]
    publisher = Publisher(resources)
    done = part("collect", environment)
    longest = publisher.finish()
    floors.append(part("floor", environment)["seconds"])
    resources.close()
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


def build(entries: int, root: Path, url: str) -> None:
    """Write small files and their rows: of every hundred, one file without row, one row without file, one expired."""
    content = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1.0]}), content)
    data = content.getvalue().to_pybytes()
    digest = blake3(data).hexdigest()
    old = time.time() - 60 * 86_400
    for shard in range(256):
        (root / "entries" / f"{shard:02x}").mkdir(parents=True, exist_ok=True)
    connection = psycopg2.connect(url)
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
    run_sql(url, "VACUUM ANALYZE")


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
    before = peak_mb()
    began = time.monotonic()
    answer = collect_garbage(resources, GarbagePolicy(timedelta(weeks=4), timedelta(hours=24)))
    seconds = time.monotonic() - began
    peak = peak_mb()
    resources.close()
    return {
        "seconds": seconds,
        "peak_mb": peak,
        "grown_mb": peak - before,
        "summary": answer["summary"],
        "phases_s": {name: phase["seconds"] for name, phase in answer["phases"].items()},
    }


def peak_mb() -> float:
    """Return the most memory this process has had; unlike ru_maxrss it does not count the parent before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


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


def part(name: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, "--part", name]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def misses(figures: dict[str, Any]) -> list[str]:
    """Name every figure that is not as good as it has to be."""
    large = figures["runs"][1]
    limits = [
        ("collection over floor", large["times_floor"], FLOOR_FACTOR),
        ("growth of the cost of an entry", figures["growth_ratio"], GROWTH_RATIO),
        ("peak memory in MB", large["peak_mb"], PEAK_MB),
        ("longest publish in s", large["longest_publish_s"], LONGEST_PUBLISH_S),
    ]
    return [f"{name}: {value} instead of at most {most}" for name, value, most in limits if value > most]


def table(figures: dict[str, Any], missed: list[str]) -> str:
    """Lay the figures out for people."""
    names = [name for name in figures["runs"][0] if name not in ("summary", "phases_s")]
    lines = [f"{name:<20}" + "".join(f"{run[name]:>14}" for run in figures["runs"]) for name in names]
    lines.append(f"{'growth_ratio':<20}{figures['growth_ratio']:>28}")
    lines += [
        f"{'  ' + name:<20}" + "".join(f"{run['phases_s'][name]:>14}" for run in figures["runs"])
        for name in figures["runs"][0]["phases_s"]
    ]
    return "\n".join([*lines, *(f"MISSED {miss}" for miss in missed)])


def run_sql(url: str, sql: str) -> None:
    """Run a statement outside any transaction."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
    connection.close()


if __name__ == "__main__":
    sys.exit(main())
