"""Postgres with an autovacuum at work on the manifest, and on a disk that takes its time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from fstore.model import Claim, EntryFacts, HashMethod, KeyParts
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.support.shelf import Shelf, key
from tests.waiting import eventually

T = TypeVar("T")
CRAWLING = (
    "autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_threshold = 50, "
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50"
)


@row(
    23,
    fault="a slow autovacuum works on the manifest",
    promise="a publish waits for the deadlock timeout at most: done within 1.5 s",
    seconds=20,
)
def test_row_23_autovacuum(make_site):
    """A publisher makes an autovacuum yield after a second instead of failing; readers notice nothing."""
    site = make_site(postgres_settings={"autovacuum_naptime": "1s", "track_cost_delay_timing": "off"})
    site.worker()
    site.ask({"factor": 1}, scaled)
    shelf = Shelf(site.store.resources)
    fill(site)
    slowest = 0.0
    for number in range(3):
        site.sql("UPDATE manifest SET verified_ts = now() WHERE symbol = 'FILL'")
        eventually(lambda: is_vacuumed(site), seconds=30, what="an autovacuum of the manifest")
        began = time.monotonic()
        assert site.ask({"factor": 1}, scaled, timeout=5).equals(RAW)
        read_s = time.monotonic() - began
        claim, written = shelf.claim(f"during{number}"), shelf.write(f"during{number}")

        began = time.monotonic()
        assert shelf.insert(f"during{number}", claim, written)
        slowest = max(slowest, time.monotonic() - began)
        assert read_s < 0.5

    assert slowest <= 1.5, f"a publish took {slowest:.2f} s beside an autovacuum"
    site.sql("DELETE FROM manifest WHERE symbol = 'FILL'; ALTER TABLE manifest RESET (autovacuum_vacuum_cost_delay)")
    check_invariants(site)


def fill(site, rows: int = 30_000) -> None:
    """Give the manifest so many rows that a vacuum with a brake takes minutes."""
    site.sql(f"ALTER TABLE manifest SET ({CRAWLING})")
    columns = "symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, path, rows, file_size_bytes, content_digest, created_ts, verified_ts, compute_seconds, attempt, library_versions"  # fmt: skip
    given = columns.replace("symbol,", "'FILL',", 1)
    site.sql(
        f"INSERT INTO manifest (key, {columns}, state, condemned_ts) "
        f"SELECT encode(sha256(n::text::bytea), 'hex'), {given}, 'condemned', now() "
        f"FROM manifest, generate_series(1, {rows}) AS n WHERE symbol = 'ROW'"
    )


def is_vacuumed(site) -> bool:
    """Tell whether an autovacuum is at work on the manifest now."""
    return bool(
        site.sql(
            "SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = 'manifest'::regclass "
            "AND phase IN ('scanning heap', 'vacuuming heap')"
        )
    )


CLIENTS, EACH = 16, 40
DELAY_MS = 5


@row(
    24,
    fault="every flush of Postgres' log takes 5 ms",
    promise="150 publishes a second from 16 clients, and none waits for more than 5 s",
    needs=("tracing",),
    seconds=25,
)
def test_row_24_slow_flushes(site):
    """Publishers share flushes: together they are faster than one row a flush, and nobody starves."""
    slow_down_flushes(site)
    shelf = Shelf(site.store.resources)
    offers = in_threads(lambda n: [offer(shelf, f"{n}-{number}") for number in range(EACH)])
    site.sql("CHECKPOINT")

    def publish(n: int) -> list[float]:
        seconds = []
        for entry, claim in offers[n]:
            began = time.monotonic()
            published = shelf.resources.manifest.publish([(entry, claim)])[entry.key]
            seconds.append(time.monotonic() - began)
            assert published.live_path == entry.path
        return seconds

    began = time.monotonic()
    waits = in_threads(publish)
    rate = CLIENTS * EACH / (time.monotonic() - began)

    longest = max(max(each) for each in waits)
    print(f"{rate:.0f} publishes a second, the longest took {longest:.2f} s")
    assert rate >= 150
    assert longest < 5
    assert site.sql("SELECT count(*) FROM manifest WHERE state = 'live'") == [(CLIENTS * EACH,)]
    site.worker()
    check_invariants(site)


def slow_down_flushes(site) -> None:
    """Start Postgres again under strace, which lets every flush take its time and nothing else."""
    postgres = site.machine.postgres
    site.machine.stop_postgres()
    delay = f"delay_enter={DELAY_MS * 1000}"
    strace = [
        str(shutil.which("strace")),
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync,fdatasync",
    ]
    faults = ["-e", f"inject=fsync:{delay}", "-e", f"inject=fdatasync:{delay}"]
    postgres.spec = replace(postgres.spec, argv=(*strace, *faults, *postgres.spec.argv))
    site.machine.start_postgres()
    began = time.monotonic()
    for _ in range(20):
        site.sql("SELECT txid_current()")
    assert time.monotonic() - began > 20 * DELAY_MS / 1000, "flushes are not slow"


def offer(shelf: Shelf, name: str) -> tuple[EntryFacts, Claim]:
    """Claim a key and write its file."""
    claim, written = shelf.claim(name), shelf.write(name)
    parts = KeyParts(name, "m:f", "1", "{}", "b3m1:" + "0" * 64)
    return EntryFacts(
        key=key(name), parts=parts, hash_method=HashMethod.FULL, source_digest="", path=written.path,
        rows=written.rows, file_size_bytes=written.file_size_bytes, content_digest=written.content_digest,
        start_ts=None, end_ts=None, compute_seconds=0.1, library_versions={},
    ), claim  # fmt: skip


def in_threads(act: Callable[[int], T]) -> list[T]:
    """Run ``act(n)`` in as many threads as there are clients, and return what each returned."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(act, range(CLIENTS)))
