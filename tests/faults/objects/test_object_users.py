"""Who uses an object store dies, forks, comes in crowds, or finds it away."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest

from fstore.entries import read_entry
from fstore.s3 import S3Client, buckets_of
from fstore.settings import Settings
from fstore.storage import open_storage
from fstore.storage.local_cache import LocalCache
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT, kill_group
from tests.faults.objects.conftest import key_of, numbers
from tests.faults.rows import row
from tests.integration.client.test_forks import in_children
from tests.sample_features import scaled
from tests.support.bucket_paths import PREFIX
from tests.waiting import eventually

FORKS = 50
LARGE = pd.DataFrame({"price": np.random.default_rng(1).normal(size=10_000_000)})


@row(
    72,
    fault="a worker is killed in the middle of a PUT, of an upload in parts, or between its PUT and its row",
    promise="no row; what it left is collected after the grace, parts too; the next worker computes it",
    seconds=60,
)
@pytest.mark.parametrize(
    ("part", "when", "large"),
    [("entries/", "before", False), ("entries/", "after", False), ("partNumber=2", "before", True)],
)
def test_row_72_killed_publishers(make_object_site, behind, part, when, large):
    """At no moment is there a row without its file."""
    site = make_object_site(**SHORT)
    first = site.worker()
    raw = LARGE if large else RAW
    if large:  # the trainer's own upload of raw data is another
        part = f"entries/{site.store._prepare('ROW', raw, {}, scaled).key[:2]}"
        rule = behind.proxy.on("PUT", part, skip=1, times=1, before=lambda: kill_group(first))
    else:
        rule = behind.proxy.on("PUT", part, times=1, **{when: lambda: kill_group(first)})
    asking = site.asking({} if large else {"factor": 3}, scaled, timeout=90, raw=raw)
    eventually(lambda: rule.happened == 1, seconds=60, what="the worker to publish")
    eventually(lambda: first.poll() is not None, seconds=20, what="the worker to die")
    assert site.sql("SELECT count(*) FROM manifest") == [(0,)]
    site.worker()
    assert asking.answered().equals(raw * (2 if large else 3))
    check_invariants(site)
    assert behind.bucket.uploads() == []


@row(
    72,
    fault="a worker is killed in the middle of a PUT, of an upload in parts, or between its PUT and its row",
    promise="no row; what it left is collected after the grace, parts too; the next worker computes it",
    seconds=30,
)
@pytest.mark.parametrize("when", ["put", "part", "completion"])
def test_row_72_killed_writers(make_depot, behind, when):
    """Whatever of it the store has, a listing tells of it, and upkeep can end it."""
    depot = make_depot(object_part_bytes=5 << 20)
    part = {"put": "entries/", "part": "partNumber=2", "completion": "uploadId="}[when]
    child = multiprocessing.get_context("spawn").Process(target=_publish_for_ever, args=(depot.settings, when))
    rule = depot.proxy.on(
        "POST" if when == "completion" else "PUT", part, before=lambda: os.kill(child.pid or 0, signal.SIGKILL), times=1
    )
    child.start()
    child.join(60)
    assert (child.exitcode, rule.happened) == (-signal.SIGKILL, 1)

    def left() -> tuple[list[str], list[str]]:
        listings = list(depot.entries.list_shards())
        return [f.path for one in listings for f in one.files], [f.path for one in listings for f in one.temporary]

    # What was on its way when the writer died still arrives: a file without a row, or an upload without an end.
    if when != "put":
        eventually(lambda: any(left()), seconds=5, what="what is left to be listed")
    if when == "part":
        assert len(left()[1]) == 1
    for path in left()[0]:
        assert depot.entries.delete(path)
    for listing in depot.entries.list_shards():
        assert all(depot.entries.drop_unfinished(one) for one in listing.temporary)
    assert left() == ([], [])
    assert behind.bucket.uploads() == []


def _publish_for_ever(settings: Settings, when: str) -> None:
    from fstore.storage.bucket import place

    place.IN_MEMORY_BYTES = 8 << 20
    entries = open_storage(settings).entries
    while True:
        entries.publish(key_of("one"), numbers(1000 if when == "put" else 2_000_000))


@row(
    73,
    fault="a parent that used the object store forks, while its threads read, fifty times",
    promise="no child hangs, no process is given another's bytes",
    seconds=40,
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("order", ["used before", "used by children only", "threads read", "both at once"])
def test_row_73_fifty_forks(make_depot, order):
    """Every process reads over connections of its own."""
    depot = make_depot(object_timeout_s=60)  # a server on two cores takes its time over fifty children
    found = {name: depot.publish(10_000, name) for name in map(str, range(8))}
    wanted = {name: numbers(10_000, name) for name in found}
    written = {name: depot.entries.read_bytes(one) for name, one in found.items()}
    if order == "used by children only":
        depot = _opened_anew(depot)

    def bare() -> S3Client:
        return buckets_of(depot.settings).client(depot.behind.bucket.name)

    ended, reads = threading.Event(), 0

    def read_some(count: int) -> int:
        for _ in range(count):
            name = random.choice(list(found))
            # By the bare client: an entry that is read is verified, which would hide it.
            data = bare().get(f"{PREFIX}/{found[name].path}").data
            assert data.equals(written[name]), "another object's bytes"
            assert depot.entries.read(found[name]).equals(wanted[name]), "another entry's bytes"
        return count

    def keep_reading() -> None:
        nonlocal reads
        while not ended.is_set():
            reads += read_some(1)

    if order != "used by children only":
        read_some(8)
    threads = [
        threading.Thread(target=keep_reading) for _ in range(3 if order in ("threads read", "both at once") else 0)
    ]
    for thread in threads:
        thread.start()
    try:
        batch = FORKS if order == "both at once" else 10
        answers = [said for _ in range(FORKS // batch) for said in in_children(lambda: read_some(8), batch, seconds=60)]
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)
    assert answers == ["8"] * FORKS
    assert read_some(8) == 8
    assert not threads or reads > 3


@row(
    74,
    fault="twenty processes of a host ask for one large entry that the host does not have; who downloads it is killed",
    promise="it is downloaded once; when its reader dies the next one takes over",
    seconds=30,
)
@pytest.mark.parametrize("killed", [False, True])
def test_row_74_one_download(house, shelf, behind, tmp_path, killed):
    """The kernel lets go of the lock of who dies, and whoever gets it looks again."""
    found = shelf.publish("large", rows=2_500_000)

    def read() -> str:
        cache = LocalCache(tmp_path / "cache", max_bytes=10**9, downloads_once=True)
        with house.open(local_cache=str(tmp_path / "cache")) as store:
            assert cache.downloads_once
            table = read_entry(store.resources, found)
            return str(getattr(table, "table", table).num_rows)

    holder = 0
    if killed:
        behind.proxy.on("GET", found.path, silent=True, times=1)
        if (holder := os.fork()) == 0:
            try:
                read()
            finally:
                os._exit(0)
        eventually(lambda: behind.proxy.count("GET", found.path) == 1, seconds=20, what="the holder to download")
        threading.Timer(1.0, lambda: os.kill(holder, signal.SIGKILL)).start()
    answers = in_children(read, 20, seconds=60)
    assert answers == ["2500000"] * 20
    received = sum(one.sent for one in behind.proxy.seen("GET", found.path))
    assert found.file_size_bytes <= received <= 1.05 * found.file_size_bytes
    if holder:
        os.waitpid(holder, 0)


@row(
    75,
    fault="the object store is away for ten seconds under load",
    promise="what the host has is served, the rest is computed and not stored; ten seconds later all is as before",
    seconds=50,
)
def test_row_75_away(make_object_site, behind, tmp_path):
    """Nobody waits for a timeout at each question, and nothing is taken for missing."""
    site = make_object_site(local_cache=str(tmp_path / "cache"), object_timeout_s="3")
    site.worker(concurrency=2)
    for _ in range(2):
        assert site.ask({"factor": 2}, scaled).equals(RAW * 2)
    failures: list[BaseException] = []
    ended, hits = threading.Event(), 0

    def keep_hitting() -> None:
        nonlocal hits
        try:
            while not ended.is_set():
                assert site.ask({"factor": 2}, scaled, timeout=10).equals(RAW * 2)
                hits += 1
                time.sleep(0.01)
        except BaseException as error:
            failures.append(error)

    hitting = threading.Thread(target=keep_hitting)
    hitting.start()
    behind.proxy.stop()
    away_until, case, seconds = time.monotonic() + 10, 10, []
    while time.monotonic() < away_until:
        case += 1
        began = time.monotonic()
        assert site.ask({"factor": case}, scaled, timeout=30).equals(RAW * case)
        seconds.append(time.monotonic() - began)
    behind.proxy.start()
    began = time.monotonic()
    eventually(
        lambda: _is_stored(site, 1000 + int(10 * (time.monotonic() - began))),
        seconds=10,
        what="results to be stored again",
    )
    ended.set()
    hitting.join(20)
    assert failures == []
    assert hits > 50
    assert site.sql("SELECT count(*) FROM manifest WHERE state = 'quarantined'") == [(0,)]
    assert site.store.get_cache_stats()["corrupt_detected"] == 0
    check_invariants(site)


def _is_stored(site, factor: int) -> bool:
    assert site.ask({"factor": factor}, scaled, timeout=30).equals(RAW * factor)
    return site.store.peek("ROW", RAW, {"factor": factor}, scaled) is not None


def _opened_anew(depot):
    from dataclasses import replace

    from fstore.storage.open import open_storage

    buckets_of.cache_clear()
    return replace(depot, storage=open_storage(depot.settings))
