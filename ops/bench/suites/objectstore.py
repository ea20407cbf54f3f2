"""Measures a store in a bucket against bare requests to the same server, and against a folder.

    python ops/bench/objectstore.py [--server ministack|radosgw] [--quick] [--json] [--check]

Runs the server itself: ministack, or Ceph's radosgw where it is installed. Every figure is a ratio of two ways taken
in turn within one run: with the server on the same two cores the times themselves say little. The large listing comes
from a server that makes keys up.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness.features import ticks, wide
from harness.figures import Figure, Outcome, milliseconds, timed
from harness.object_floor import Bare, side_by_side
from harness.parts import command_of
from harness.stand import BENCH, one_stand

from fstore.model import Locator
from fstore.s3 import buckets_of
from fstore.settings import Settings, gather_settings
from fstore.stack import temporary_servers
from fstore.storage import LocalCache, Storage, open_storage
from fstore.storage.parquet import result_bytes
from fstore.storage.verify import check_written

MIB = 1 << 20
KEY = "ab" * 32


def add_options(parser: argparse.ArgumentParser) -> None:
    """Take the server to run, and how many keys the large listing has."""
    parser.add_argument("--server", choices=("ministack", "radosgw"), default="ministack", help="which one to run")
    parser.add_argument("--keys", type=int, help="keys of the large listing (default: 1,000,000; a quick look 100,000)")


def measure(*, quick: bool, server: str, keys: int | None = None) -> Outcome:
    """Take every figure on one server."""
    rounds = 60 if quick else 400
    with _running(server) as at, tempfile.TemporaryDirectory() as scratch:
        place = _Place(at, Path(scratch))
        figures, measured = [], {"server": server}
        figures += _cold_hits(place, rounds, measured)
        for name, rows, put in (("93 kB", 11_500, 1.2), ("4 MB", 500_000, 1.3)):
            few = rounds if rows < 100_000 else rounds // 3
            figures += _publishes(place, name, rows, put, few, measured)
        figures += _warm_hits(place, rounds, measured)
        figures += _ranges(place, 12_500_000 if quick else 46_000_000, measured)
        figures += _one_host(place, 12_500_000 if quick else 52_000_000, measured)
        figures += _listing(keys or (100_000 if quick else 1_000_000), measured)
    return Outcome("objectstore", figures, measured)


class _Place:
    """A store in a bucket and one in a folder, and bare connections to the server."""

    def __init__(self, at: dict[str, str], scratch: Path) -> None:
        self.at, self.scratch = at, scratch
        self.settings = _settings(at)
        self.client = buckets_of(self.settings).client(at["bucket"])
        self.client.make_bucket()
        self.bucket = open_storage(self.settings)
        self.folder = open_storage(gather_settings({"path": scratch / "store"}, environ={}))
        for storage in (self.bucket, self.folder):
            storage.entries.create("bench")

    def bare(self) -> Bare:
        """Return a new bare connection."""
        return Bare(self.at["endpoint"], self.at["bucket"], self.at["key"], self.at["secret"])

    def requests(self) -> int:
        """Return how many requests the store has made."""
        return _requests(self.client.counts)


def _cold_hits(place: _Place, rounds: int, measured: dict[str, Any]) -> list[Figure]:
    """Hits as trainers have them, without a local cache: key, row, file, frame."""
    raw, figures = ticks(60), []
    given = {**_given(place.at), "path": f"s3://{place.at['bucket']}/hits", "local_cache": "off"}
    with temporary_servers() as servers, ExitStack() as stack:
        stands = {
            "folder": one_stand(servers, place.scratch / "in a folder", 0, stack),
            "bucket": one_stand(servers, place.scratch / "in a bucket", 1, stack, **given),
        }
        for stand in stands.values():
            stand.worker(concurrency=1)
        store = stands["bucket"].store
        counts = buckets_of(store.resources.settings).client(place.at["bucket"]).counts
        for name, rows, large in (("93 kB", 2_300, False), ("4 MB", 100_000, True)):
            config = {"rows": rows, "columns": 10}
            for stand in stands.values():
                stand.store.get_or_compute("BENCH", raw, config, wide, timeout=120)
            path = store.peek("BENCH", raw, config, wide).path
            bare = place.bare()
            ways: dict[str, Callable[[], object]] = {"bare GET": lambda bare=bare, path=path: bare.get(f"hits/{path}")}
            for where, stand in stands.items():
                ways[where] = lambda store=stand.store, config=config: store.get_or_compute("BENCH", raw, config, wide)
            before = _requests(counts)
            few = rounds // 3 if large else rounds
            spent = _quickest(ways, rounds=few)
            measured[f"cold hit, {name}, ms"] = milliseconds(spent)
            figures.append(Figure(f"requests of a cold hit of {name}", (_requests(counts) - before) / (few + 3), 1))
            beside = spent["bucket"] / (spent["bare GET"] + spent["folder"])
            figures.append(Figure(f"cold hit of {name} / (bare GET + folder hit)", beside, None if large else 1.1))
            if large:
                # What a hit costs wherever its bytes come from, key and row and decoding, is most of it on a server this near.
                figures.append(Figure(f"cold hit of {name} / bare GET", spent["bucket"] / spent["bare GET"], 1.4))
                figures.append(Figure(f"a folder's hit of {name} / bare GET", spent["folder"] / spent["bare GET"]))
    return figures


def _requests(counts: Mapping[str, int]) -> int:
    return sum(n for name, n in counts.items() if name.startswith("object_requests:"))


def _publishes(place: _Place, name: str, rows: int, most: float, rounds: int, measured: dict[str, Any]) -> list[Figure]:
    table = _numbers(rows)
    data = result_bytes(table)
    bare, number = place.bare(), iter(range(10**6))
    spent = _quickest(
        {
            "bare": lambda: bare.put(f"bare/{next(number)}", data.to_pybytes()),
            "encode": lambda: check_written(result_bytes(table), lambda _: None),
            "publish": lambda: place.bucket.entries.publish(KEY, table),
        },
        rounds=rounds,
    )
    measured[f"publish, {name}, ms"] = {way: round(seconds * 1e3, 3) for way, seconds in spent.items()}
    ratio = (spent["publish"] - spent["encode"]) / spent["bare"]
    return [Figure(f"(publish of {name} - encoding and checking) / bare PUT", ratio, most)]


def _warm_hits(place: _Place, rounds: int, measured: dict[str, Any]) -> list[Figure]:
    table = _numbers(500_000)
    ways = {}
    for name, storage in (("folder", place.folder), ("bucket", place.bucket)):
        cache = LocalCache(place.scratch / f"tier-{name}", max_bytes=1 << 30, downloads_once=name == "bucket")
        found = _published(storage, table)
        cache.promote(found, storage.entries.read(found))
        ways[name] = lambda cache=cache, found=found: [cache.find(found) for _ in range(200)]
    before = place.requests()
    spent = _quickest(ways, rounds=rounds)
    measured["warm hit, us"] = {way: round(seconds / 200 * 1e6, 2) for way, seconds in spent.items()}
    return [
        Figure("warm hit / a folder's", spent["bucket"] / spent["folder"], 1.05),
        Figure("requests of a warm hit", place.requests() - before, 0),
    ]


def _ranges(place: _Place, rows: int, measured: dict[str, Any]) -> list[Figure]:
    found = _published(place.bucket, _numbers(rows))
    bares = [place.bare() for _ in range(4)]
    spans = [(at, min(at + 8 * MIB, found.file_size_bytes)) for at in range(0, found.file_size_bytes, 8 * MIB)]
    spent = _quickest(
        {
            "bare": lambda: side_by_side(lambda bare, span: bare.get(f"bench/{found.path}", span), spans, bares),
            "verified": lambda: place.bucket.entries.read_bytes(found),
        },
        rounds=7,
        warm=1,
    )
    size_mb = found.file_size_bytes / 1e6
    measured["ranged read, MB/s"] = {way: round(size_mb / seconds) for way, seconds in spent.items()}
    return [
        Figure(
            f"verified read of {size_mb:.0f} MB / bare ranges, in MB/s",
            spent["bare"] / spent["verified"],
            0.75,
            "at least",
        )
    ]


def _one_host(place: _Place, rows: int, measured: dict[str, Any]) -> list[Figure]:
    found = _published(place.bucket, _numbers(rows))
    words = [
        json.dumps(place.at),
        json.dumps([getattr(found, name) for name in found.__slots__]),
        str(place.scratch / "host"),
    ]
    command = [*command_of("objectstore"), "--alone", "host", *words]
    began = time.monotonic()
    parts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(20)]
    received = sum(json.loads(part.communicate()[0])["received"] for part in parts)
    measured["20 processes, one cold entry, s"] = round(time.monotonic() - began, 1)
    size_mb = found.file_size_bytes / 1e6
    return [
        Figure(
            f"downloads of one cold entry of {size_mb:.0f} MB by 20 processes", received / found.file_size_bytes, 1.05
        )
    ]


def _listing(keys: int, measured: dict[str, Any]) -> list[Figure]:
    code = f"import sys; sys.path.insert(0, {str(BENCH)!r}); from harness.object_floor import EndlessListing as E; e = E({keys}); print(e.endpoint, flush=True); e.serve()"
    with ExitStack() as stack:
        servers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(1)]
        for server in servers:
            stack.callback(server.kill)
        assert servers[0].stdout is not None
        endpoint = servers[0].stdout.readline().strip()
        runs = [(_listed("bare", endpoint), _listed("store", endpoint)) for _ in range(3)]
    bare_s, ours_s = (min(run[way]["seconds"] for run in runs) for way in (0, 1))
    ours = runs[-1][1]
    count = ours["count"]
    measured["listing"] = {
        "keys": count,
        "bare keys/s": round(count / bare_s),
        "keys/s": round(count / ours_s),
        "MB before": round(ours["base_mb"]),
    }
    return [
        Figure(
            f"listing of {count:,} keys / a bare one of as many streams, in keys/s", bare_s / ours_s, 0.7, "at least"
        ),
        Figure("processor time of a listed key, us", min(run[1]["cpu_s"] for run in runs) / count * 1e6, 12.0),
        Figure("peak memory of the listing, MB", ours["peak_mb"], 200.0),
    ]


def alone(what: str, *words: str) -> dict[str, Any]:
    """Do one thing in a process of its own."""
    assert what == "host"
    at, found, folder = json.loads(words[0]), Locator(*json.loads(words[1])), Path(words[2])
    return _read_once(_settings(at), found, folder)


def _listed(way: str, endpoint: str) -> dict[str, Any]:
    command = [sys.executable, str(BENCH / "harness" / "object_floor.py"), way, endpoint]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _read_once(settings: Settings, found: Locator, folder: Path) -> dict[str, Any]:
    """Read an entry as a trainer does: out of the local cache of its host, or into it."""
    storage, cache = open_storage(settings), LocalCache(folder, max_bytes=10 << 30, downloads_once=True)
    with cache.one_reader(found):
        if cache.find(found) is None:
            cache.add(found, storage.entries.read(found))
    counts = buckets_of(settings).client(settings.path.bucket).counts  # type: ignore[union-attr]
    return {
        "received": counts["object_bytes_received"],
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _quickest(ways: Mapping[str, Callable[[], object]], *, rounds: int, warm: int = 3) -> dict[str, float]:
    """Time several ways in turn, and return the fewest seconds of each: a server on the same cores, and whoever else, only add."""
    for _ in range(warm):
        for way in ways.values():
            way()
    spent = dict.fromkeys(ways, float("inf"))
    turns = deque(ways)
    for _ in range(rounds):
        for name in turns:
            spent[name] = min(spent[name], timed(ways[name]))
        turns.rotate(1)
    return spent


def _published(storage: Storage, table: pa.Table) -> Locator:
    stored = storage.entries.publish(KEY, table)
    return Locator(KEY, stored.path, table.num_rows, stored.file_size_bytes, stored.content_digest)


def _numbers(rows: int) -> pa.Table:
    """Return numbers that hardly compress: as many megabytes as eight times their number."""
    return pa.table({"x": np.random.default_rng(0).normal(size=rows)})


def _settings(at: dict[str, str]) -> Settings:
    return gather_settings(_given(at), environ={})


def _given(at: dict[str, str]) -> dict[str, Any]:
    given = {
        "path": f"s3://{at['bucket']}/bench",
        "s3_endpoint_url": at["endpoint"],
        "s3_addressing": "path",
        "object_timeout_s": 60,
    }
    return {**given, "s3_access_key_id": at["key"], "s3_secret_access_key": at["secret"]}


@contextmanager
def _running(server: str) -> Iterator[dict[str, str]]:
    sys.path.insert(0, str(BENCH.parents[1]))
    from tests.object_servers import running_ministack, running_radosgw  # noqa: PLC0415 - only benchmarks of a checkout run servers

    with (running_ministack if server == "ministack" else running_radosgw)() as running:
        yield {
            "endpoint": running.endpoint,
            "bucket": f"bench-{os.getpid()}",
            "key": running.key,
            "secret": running.secret,
        }
