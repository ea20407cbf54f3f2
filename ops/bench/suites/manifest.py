"""Times publishes by 20 writers against bare psycopg2, on a quick and on a slow disk, on small and large manifests.

    python ops/bench/manifest.py [--quick] [--json] [--check]

Writers are processes, because workers are: threads of one process would share an
interpreter lock and be compared by that. Each writes one row a transaction, of jobs that were
claimed before, through ``Manifest.publish``, or bare with the same statements: one after the
other, or as one string in one round trip; fstore is judged against the better of the two. For the slow disk
Postgres runs under strace, which delays the end of every flush by 5 ms; there groups of rows are
timed as well, which is how workers publish chunks.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Any

import psycopg2
from harness.figures import Figure, Outcome, timed
from harness.parts import Part, crew, serve, together
from harness.slow_flush import can_delay, flushes_delayed
from harness.stand import Stand, stands
from harness.writing import Publisher, fill_sql, jobs_sql, offers

from fstore.stack import temporary_servers

WRITERS = 20
SIZES = (1_000, 10_000, 100_000, 1_000_000)
SMALL = SIZES[0]
FSTORE, BARE, AT_ONCE = "fstore", "bare", "bare_at_once"
WAYS = (FSTORE, BARE, AT_ONCE)
GROUPED = "fstore, groups"
GROUP = 64
DELAY_MS = 5.0
MOST_ROWS_S = 20_000  # jobs made in advance a second; running out of them is an error
batches = count()


def measure(*, quick: bool) -> Outcome:
    """Write on a quick disk, on manifests of two sizes, and on a slow disk."""
    writers, seconds, rounds = (4, 0.5, 1) if quick else (WRITERS, 2.0, 5)
    sizes = SIZES[:-1] if quick else SIZES
    measured: dict[str, Any] = {"writers": writers}
    with temporary_servers() as servers, stands(servers, len(sizes)) as places:
        for place, rows in zip(places, sizes, strict=True):
            fill(place, rows)
        places[0].query("CHECKPOINT")
        urls = ",".join(place.environment["FEATURE_STORE_POSTGRES_URL"] for place in places)
        with crew("manifest", writers, places[0].child_environment(BENCH_URLS=urls)) as parts:
            measured["flush_ms"] = flush_ms(places[0])
            usual = rates(places, parts, [(0, way) for way in WAYS], seconds=seconds, rounds=rounds)
            stores = [(store, FSTORE) for store in range(len(sizes))]
            sized = rates(places, parts, stores, seconds=seconds, rounds=rounds + 2)
            late = {}
            if can_delay():
                with flushes_delayed(servers, by_ms=DELAY_MS):
                    together(parts, forget=True)
                    measured["delayed_flush_ms"] = flush_ms(places[0])
                    late = rates(places, parts, [(0, way) for way in (*WAYS, GROUPED)], seconds=seconds, rounds=rounds)
                    measured["flushes delayed"] = shared_flushes(places[0], parts, seconds=2 * seconds)
    measured["rows per second"] = {way: usual[0, way] for way in WAYS}
    by_size = {rows: sized[store, FSTORE] for store, rows in enumerate(sizes)}
    measured["rows per second, by rows in the manifest"] = {str(rows): rate for rows, rate in by_size.items()}
    worst = min(by_size, key=lambda rows: by_size[rows])
    figures = [
        Figure(f"publishes of {writers} writers / bare psycopg2", usual[0, FSTORE] / better(usual), 0.7, "at least"),
        Figure(
            f"publishes at the slowest of {', '.join(f'{rows:,}' for rows in sizes)} rows / at {SMALL:,}",
            by_size[worst] / by_size[SMALL],
            0.9,
            "at least",
            f"slowest at {worst:,}",
        ),
    ]
    if late:
        measured["rows per second, flushes delayed"] = {way: rate for (_, way), rate in late.items()}
        delayed = f"every flush {DELAY_MS:g} ms later"
        figures.append(Figure(f"publishes, {delayed}, rows/s", late[0, FSTORE], 2000, "at least"))
        figures.append(Figure(f"publishes in groups of {GROUP}, {delayed}, rows/s", late[0, GROUPED]))
        figures.append(Figure(f"publishes / bare psycopg2, {delayed}", late[0, FSTORE] / better(late)))
        shared = measured["flushes delayed"]
        most = 1000 / measured["delayed_flush_ms"]
        figures.append(
            Figure(f"flushes of the log a second, {delayed}", shared["flushes_s"], note=f"at most {most:.0f}")
        )
        figures.append(Figure(f"rows a flush, {delayed}, of {writers} writers", shared["rows_a_flush"]))
    return Outcome("manifest", figures, measured)


def better(found: dict[tuple[int, str], float]) -> float:
    """Return the rate of the better of the bare ways."""
    return max(found[0, BARE], found[0, AT_ONCE])


def fill(place: Stand, rows: int) -> None:
    """Give a store's manifest so many rows, and leave no work behind."""
    place.query("TRUNCATE manifest, jobs, pending")
    place.query(fill_sql(rows))
    place.query("VACUUM ANALYZE manifest")


def rates(
    places: Sequence[Stand], parts: list[Part], ways: list[tuple[int, str]], *, seconds: float, rounds: int
) -> dict[tuple[int, str], float]:
    """Return rows a second, the median of several turns, for each (store, way)."""
    found: dict[tuple[int, str], list[float]] = {way: [] for way in ways}
    for number in range(-1, rounds):
        for store, way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            rate = one_turn(places[store], parts, store, way, seconds=seconds)
            found[store, way] += [rate] if number >= 0 else []
    return {way: round(statistics.median(turns), 1) for way, turns in found.items()}


def one_turn(place: Stand, parts: list[Part], store: int, way: str, *, seconds: float) -> float:
    """Let all writers write for some seconds, and return the rows a second that were committed."""
    batch = f"b{next(batches)}"
    before = rows_in(place)
    rows = SIZES[store]
    if rows <= SMALL * 10 and before > 2 * rows:  # the small ones would not stay small
        fill(place, rows)
        before = rows
    share = round(MOST_ROWS_S * seconds / len(parts))
    for number in range(len(parts)):
        place.query(jobs_sql(f"{batch}-{number}", share))
    place.query("ANALYZE jobs")
    written = sum(together(parts, store=store, way=way, batch=batch, share=share, seconds=seconds))
    place.query("DELETE FROM jobs")
    place.query("VACUUM jobs")
    late = rows_in(place) - before - written
    assert 0 <= late <= len(parts) * (GROUP if way == GROUPED else 1), (
        f"{written} rows were reported, but {written + late} are there"
    )
    return float(written / seconds)


def shared_flushes(place: Stand, parts: list[Part], *, seconds: float) -> dict[str, float]:
    """Return how often the log was flushed while single rows were published, and how many rows one flush carried."""
    before = log_flushes(place)
    rate = one_turn(place, parts, 0, FSTORE, seconds=seconds)
    # What made the jobs and cleared them away commits a few dozen times as well.
    a_second = max(1, log_flushes(place) - before - 2 * len(parts)) / seconds
    return {"flushes_s": round(a_second, 1), "rows_a_flush": round(rate / a_second, 2)}


def log_flushes(place: Stand) -> int:
    """Return how often Postgres has flushed its log so far."""
    counted = place.query("SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'")[0][0]
    return int(counted or 0)


def rows_in(place: Stand) -> int:
    """Count the manifest."""
    return int(place.query("SELECT count(*) FROM manifest")[0][0])


def flush_ms(place: Stand) -> float:
    """Return how long one committed row takes on an idle server: hardly more than the flush."""
    place.query("CREATE TABLE IF NOT EXISTS bench_flush (n int)")
    connection = psycopg2.connect(place.environment["FEATURE_STORE_POSTGRES_URL"])
    connection.autocommit = True
    with connection.cursor() as cursor:
        spent = [timed(lambda: cursor.execute("INSERT INTO bench_flush VALUES (1)")) for _ in range(30)]
    connection.close()
    return round(statistics.median(spent) * 1000, 2)


def be_part(number: int) -> int:
    """Be one of the writers."""
    publishers = [Publisher(url) for url in os.environ["BENCH_URLS"].split(",")]

    def act(*, wait: Callable[[], None], **order: Any) -> int:
        if order.get("forget"):
            for publisher in publishers:
                publisher.forget()
            return 0
        publish = getattr(publishers[order["store"]], order["way"].partition(",")[0])
        size = GROUP if order["way"] == GROUPED else 1
        upcoming = offers(f"{order['batch']}-{number}")
        wait()
        ends_at, written = time.monotonic() + order["seconds"], 0
        while time.monotonic() < ends_at:
            assert publish(list(islice(upcoming, size))), "a publish was fenced off"
            written += size if time.monotonic() <= ends_at else 0
            assert written < order["share"], "no claimed jobs are left: make more of them"
        return written

    return serve(act)
