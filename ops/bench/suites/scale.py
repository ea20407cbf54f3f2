"""Times a request against the size of the manifest, and against the number of worker processes.

    python ops/bench/scale.py [--rows N ...] [--quick] [--json] [--check]

Three stores side by side on the same servers, asked in turn: first with manifests of
10^3, 10^5 and 10^6 rows and two worker processes each, then with workers of 1, 2 and 4
processes. A hit is of 390 x 10 without a local tier, a miss computes nothing on new raw
data; throughput is that of eight trainers. Also counts the processor time that requests take
from the servers, for calculations, and asks by partitions beside 120,000 segments and beside none. What people and
upkeep ask is timed as well, once. ``--rows 1000 10000000`` takes other sizes, of which a million takes 2 GB. Last, a
million real entries, which share files, beside a thousand (``--entries``; a million takes 5 GB and some minutes).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import count
from typing import Any

from harness.features import day, unchanged
from harness.figures import Figure, Outcome, timed
from harness.parts import crew, serve, together
from harness.stand import Stand, cpu_seconds, open_in_part, stands
from harness.writing import fill_sql

from fstore import FeatureStore
from fstore.stack import EmbeddedServers, temporary_servers
from suites.load import growth, packed
from suites.partitions import segments

ROWS = (1_000, 100_000, 1_000_000)
PROCESSES = (1, 2, 4)
TRAINERS = 8
numbers = count()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say how large manifests are."""
    parser.add_argument("--rows", type=int, nargs="+", metavar="N", help=f"{' '.join(map(str, ROWS))} by default")
    parser.add_argument("--entries", type=int, metavar="N", help=f"real ones, packed; {packed.MANY} by default")


def measure(*, quick: bool, rows: Sequence[int] | None = None, entries: int | None = None) -> Outcome:
    """Measure each axis on servers of its own."""
    rows = rows or ((1_000, 10_000, 100_000) if quick else ROWS)
    with temporary_servers() as servers, stands(servers, len(rows)) as places:
        for place, size in zip(places, rows, strict=True):
            place.query(fill_sql(size))
            place.query("VACUUM ANALYZE manifest")
            place.worker()
        by_rows = side_by_side(places, rows, quick=quick)
        asked = growth.by_rows(places, rows, rounds=3 if quick else 15)
    with temporary_servers() as servers, stands(servers, len(PROCESSES)) as places:
        for place, processes in zip(places, PROCESSES, strict=True):
            place.worker(concurrency=processes)
        by_processes = side_by_side(places, PROCESSES, quick=quick)
        costs = server_costs(servers, places[1], seconds=1.0 if quick else 10.0)
    few, many = by_rows[str(rows[0])], by_rows[str(rows[-1])]
    one, most = by_processes[str(PROCESSES[0])], by_processes[str(PROCESSES[-1])]
    figures = [
        Figure(f"a hit at {rows[-1]:,} rows / at {rows[0]:,}", many["hit_ms"] / few["hit_ms"]),
        Figure(f"a miss at {rows[-1]:,} rows / at {rows[0]:,}", many["miss_ms"] / few["miss_ms"]),
        Figure(f"misses/s at {rows[-1]:,} rows / at {rows[0]:,}", many["misses_s"] / few["misses_s"], sense="at least"),
        Figure("misses/s with 4 worker processes / with 1", most["misses_s"] / one["misses_s"], sense="at least"),
    ]
    by_segments = segments.measure(quick=quick)
    by_entries = packed.measure(quick=quick, entries=entries)
    measured = {
        "by rows in the manifest": by_rows,
        "asked of rows, ms": asked,
        "by worker processes": by_processes,
        "server ms a request": costs,
        "by segments": by_segments.measured,
        "by packed entries": by_entries.measured,
    }
    return Outcome("scale", figures + by_segments.figures + by_entries.figures, measured)


def side_by_side(places: Sequence[Stand], names: Sequence[int], *, quick: bool) -> dict[str, dict[str, float]]:
    """Measure every store in turn; ``names`` say what differs."""
    rounds, seconds, turns = (10, 1.0, 1) if quick else (200, 4.0, 3)
    with ExitStack() as stack:
        stores = [stack.enter_context(place.trainer()) for place in places]
        spent: list[dict[str, list[float]]] = [{"hit_ms": [], "miss_ms": [], "select_ms": []} for _ in stores]
        for number in range(-3, rounds):
            for store, found in zip(stores, spent, strict=True):
                for name, way in ways_of(store).items():
                    seconds_taken = timed(way)
                    found[name] += [seconds_taken * 1000] if number >= 0 else []
    figures = [{name: round(statistics.median(times), 3) for name, times in found.items()} for found in spent]
    rates: list[list[float]] = [[] for _ in places]
    for _ in range(turns):
        for place, turn in zip(places, rates, strict=True):
            with crew("scale", 2 if quick else TRAINERS, place.child_environment()) as parts:
                together(parts, seconds=0.5)
                turn.append(sum(together(parts, seconds=seconds)) / seconds)
    return {
        str(name): {**one, "misses_s": round(statistics.median(rate), 1)}
        for name, one, rate in zip(names, figures, rates, strict=True)
    }


def server_costs(servers: EmbeddedServers, place: Stand, *, seconds: float) -> dict[str, dict[str, float]]:
    """Return the processor time that a hit and a miss take from each server, in milliseconds."""
    both = {"postgres": servers.postgres, "redis": servers.redis}
    with place.trainer() as store, crew("scale", TRAINERS, place.child_environment()) as parts:
        together(parts, seconds=0.5)
        before = {name: cpu_seconds(server.pid) for name, server in both.items()}
        misses = sum(together(parts, seconds=seconds))
        after_misses = {name: cpu_seconds(server.pid) for name, server in both.items()}
        raw = day(next(numbers))
        store.get_or_compute("BENCH", raw, {}, unchanged)
        began = {name: cpu_seconds(server.pid) for name, server in both.items()}
        ends_at, hits = time.monotonic() + seconds, 0
        while time.monotonic() < ends_at:
            store.get_or_compute("BENCH", raw, {}, unchanged)
            hits += 1
        ended = {name: cpu_seconds(server.pid) for name, server in both.items()}
    return {
        name: {
            "miss": round((after_misses[name] - before[name]) / misses * 1000, 3),
            "hit": round((ended[name] - began[name]) / hits * 1000, 3),
        }
        for name in both
    }


def ways_of(store: FeatureStore) -> dict[str, Callable[[], object]]:
    """Return what is timed of one store; the miss comes before the hit of what it computed."""
    raw = day(next(numbers))
    manifest = store.resources.manifest
    return {
        "miss_ms": lambda: store.get_or_compute("BENCH", raw, {}, unchanged),
        "hit_ms": lambda: store.get_or_compute("BENCH", raw, {}, unchanged),
        "select_ms": lambda: manifest.find_live("0" * 64),
    }


def be_part(number: int) -> int:
    """Be one of the trainers."""
    store, own = open_in_part(), count(time.time_ns() % 1_000_000_000 * 100 + number)

    def act(*, wait: Callable[[], None], seconds: float) -> Any:
        wait()
        ends_at, done = time.monotonic() + seconds, 0
        while time.monotonic() < ends_at:
            store.get_or_compute(f"T{number}", day(next(own)), {}, unchanged)
            done += time.monotonic() <= ends_at
        return done

    return serve(act)
