"""Rows 81 to 85: results that were published in one file, and what happens to it, to its rows and to one of its entries."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from fstore import Request
from fstore.broker.messages import parse_compute
from fstore.compute.batches.executor import execute_batch
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.sweep import run_sweep
from tests.faults.harness.invariants import RAW, check_invariants, lies_in
from tests.faults.harness.site import SHORT, Site, kill_group
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.support.shelf import RULES
from tests.waiting import eventually

KEYS = 10
DAY = timedelta(days=1)


def ask(site: Site, **more: Any) -> None:
    """Ask for a batch, and hold each answer against the direct call."""
    requests = [Request("PACK", RAW, {"factor": n + 2}, scaled) for n in range(KEYS)]
    answers = list(site.store.get_or_compute_many(requests, timeout=90, **more))
    assert len(answers) == KEYS
    for request, found in answers:
        pd.testing.assert_frame_equal(found, scaled(RAW, request.config))


def packs(site: Site) -> list[Path]:
    """Return the files that hold several entries."""
    return sorted((site.root / "entries/packs").glob("*/*.pack"))


def paths(site: Site) -> list[str]:
    """Return where the live entries lie."""
    return [str(path) for (path,) in site.sql("SELECT path FROM manifest WHERE state = 'live' ORDER BY path")]


def packed(site: Site) -> list[str]:
    """Return where those of them lie that share a file."""
    return [path for path in paths(site) if lies_in(site.root, path)[1] is not None]


def make_older(site: Site, *, rows: bool) -> None:
    """Let two days pass for all files, and for the rows if so said."""
    long_ago = time.time() - 2 * DAY.total_seconds()
    for pack in packs(site):
        os.utime(pack, (long_ago, long_ago))
    if rows:
        site.sql("UPDATE manifest SET created_ts = now() - interval '2 days'")


@row(
    81,
    fault="a worker is killed between the file of several results and their rows",
    promise="all are computed again and published once; the file without rows goes after the grace, not before",
    seconds=40,
)
def test_row_81_killed_between_file_and_rows(make_site: Callable[..., Site]) -> None:
    """The manifest is held until the worker is gone."""
    site = make_site(**SHORT)
    doomed = site.worker()
    with ThreadPoolExecutor(1) as pool:
        with site.holding_the_manifest() as somebody_waits:
            answers = pool.submit(ask, site)
            eventually(lambda: packs(site) and somebody_waits(), seconds=30, what="a file whose rows must wait")
            kill_group(doomed)
            # Their sessions would go on: the server learns that a client is gone when it answers.
            site.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        orphans = packs(site)
        assert paths(site) == []
        site.worker()
        answers.result()
    assert len(paths(site)) == KEYS
    assert {lies_in(site.root, path)[0] for path in paths(site)}.isdisjoint(orphans)

    run_collection(site.store.resources, RULES)
    make_older(site, rows=False)
    run_collection(site.store.resources, RULES)
    assert set(orphans) <= set(packs(site)), "its keys were published within the grace: a reader may hold its paths"
    make_older(site, rows=True)
    run_collection(site.store.resources, RULES)

    assert set(orphans).isdisjoint(packs(site))
    assert len(paths(site)) == KEYS
    check_invariants(site)


@row(
    82,
    fault="one of several results in a file is damaged",
    promise="it alone is hidden, kept for a look and computed again; its neighbours are served all along",
    seconds=25,
)
def test_row_82_a_neighbour_is_rotten(make_site: Callable[..., Site]) -> None:
    """Found by a sweep, and another one by a reader."""
    site = make_site(**SHORT)
    site.worker()
    ask(site)
    before = packed(site)
    assert len(before) > 2
    swept, read = before[0], before[1]

    for wrong in (swept, read):
        pack, first = lies_in(site.root, wrong)
        whole = bytearray(pack.read_bytes())
        whole[(first or 0) + 20] ^= 1
        pack.chmod(0o640)
        pack.write_bytes(whole)
        if wrong is swept:
            report = run_sweep(site.store.resources)
            assert [fault["path"] for fault in report.as_dict()["issues"]] == [swept]
            assert [path for path in before if path not in packed(site)] == [swept]
        ask(site)

    assert len(paths(site)) == KEYS
    assert [path for path in before if path not in paths(site)] == sorted([swept, read])
    kept = {file.name for file in (site.root / "quarantine").iterdir()}
    assert kept == {Path(swept).name, Path(read).name}
    check_invariants(site)


@row(
    83,
    fault="a file that holds several results is gone",
    promise="each of them is missing, hidden and computed again",
    seconds=25,
)
def test_row_83_a_pack_is_gone(make_site: Callable[..., Site]) -> None:
    """All at once, and nothing but them."""
    site = make_site(**SHORT)
    site.worker()
    ask(site)
    gone, *_ = packs(site)
    inside = [path for path in packed(site) if lies_in(site.root, path)[0] == gone]
    gone.unlink()

    ask(site)

    assert set(paths(site)).isdisjoint(inside)
    assert len(paths(site)) == KEYS
    check_invariants(site)


@row(
    84,
    fault="a collection runs between the file of several results and their rows",
    promise="the file stays, however old it looks, and all are published",
    seconds=25,
)
def test_row_84_a_collection_races_with_a_publish(make_site: Callable[..., Site]) -> None:
    """The publisher slept for two days in between; its jobs still run."""
    site = make_site(**SHORT)
    site.worker()
    with ThreadPoolExecutor(1) as pool:
        with site.holding_the_manifest() as somebody_waits:
            answers = pool.submit(ask, site)
            eventually(lambda: packs(site) and somebody_waits(), seconds=30, what="a file whose rows must wait")
            waiting = packs(site)
            make_older(site, rows=False)
            run_collection(site.store.resources, RULES)
            assert packs(site) == waiting
        answers.result()
    assert {lies_in(site.root, path)[0] for path in packed(site)} >= set(waiting)
    check_invariants(site)


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    """Have the kernel refuse to let a file of this process grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@row(
    85,
    fault="there is no room for the file of several results",
    promise="each is answered with StorageFull, nothing is left, and each can be asked for again",
)
def test_row_85_no_room_for_a_pack(make_site: Callable[..., Site]) -> None:
    """Each result would fit, all of them do not."""
    site = make_site(**SHORT)
    raw = site.folder / "ticks.parquet"
    RAW.to_parquet(raw)
    requests = [
        parse_compute({"symbol": "DISK", "raw_data": str(raw), "config": {"factor": n}, "feature": "tests.sample_features:scaled"})
        for n in range(2, 2 + KEYS)
    ]  # fmt: skip

    with no_file_above(8_000):
        answers = execute_batch(site.store.resources, requests, phase=lambda _: None)

    assert [(one["status"], one["error"]["type"]) for one in answers] == [("failed", "StorageFull")] * KEYS
    assert paths(site) == []
    assert [path for path in (site.root / "entries").rglob("*") if path.is_file()] == []
    for job in site.sql("SELECT key FROM jobs"):
        site.store.invalidate(key=str(job[0]))

    answers = execute_batch(site.store.resources, requests, phase=lambda _: None)
    assert [one["status"] for one in answers] == ["computed"] * KEYS
    assert len(packs(site)) == 1
    site.worker()
    check_invariants(site)
