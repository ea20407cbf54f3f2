"""Times misses of a feature that does nothing against Celery's own round trip, in turn on one worker.

    python ops/bench/misses.py [--quick] [--json] [--check]

A miss stages its raw data (390 x 10, new for each miss, or the same for all of
them), registers a job, is computed by a worker, written durably, published, and read
back. The bare round trip is ``delay().get()`` of a task that does nothing on the same
broker and worker. Throughput is that of eight processes at a time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from harness.features import day, unchanged
from harness.figures import Figure, Outcome, percentile, timed
from harness.miss_steps import measure_steps
from harness.parts import crew, run_alone, serve, together
from harness.stand import NOOP, Stand, celery_client, open_in_part, stand

from fstore import FeatureStore
from suites.load.miss_timeline import measure_timeline

CLIENTS = 8
BARE, FRESH, SHARED = "bare round trip", "miss, new raw data", "miss, raw data staged before"


def measure(*, quick: bool) -> Outcome:
    """Time single misses, then crowds of them."""
    with stand() as place:
        place.worker()
        single = one_client(place, rounds=15 if quick else 200)
        rates = many_clients(
            place, clients=2 if quick else CLIENTS, seconds=1.0 if quick else 5.0, rounds=1 if quick else 5
        )
    figures = [
        Figure("miss / bare Celery round trip, p50", single[FRESH]["p50_ms"] / single[BARE]["p50_ms"], 2.5),
        Figure("the same, raw data staged before", single[SHARED]["p50_ms"] / single[BARE]["p50_ms"]),
        Figure(
            "misses of 8 trainers / bare Celery of 8 clients, throughput", rates[FRESH] / rates[BARE], 0.5, "at least"
        ),
        Figure("the same, raw data staged before", rates[SHARED] / rates[BARE]),
    ]
    found = run_alone("misses", "steps", "30" if quick else "300")
    steps, servers = found["steps"], found["servers"]
    timeline = run_alone("misses", "timeline", "10" if quick else "200")
    figures.append(Figure("processor time of a miss, Celery's share left out, ms", sum(steps.values())))
    figures.append(Figure("processor time of a miss in Postgres and Redis, ms", sum(servers.values())))
    measured = {"one client": single, "per second": rates, "steps": steps, "servers": servers, "timeline": timeline}
    return Outcome("misses", figures, measured)


def alone(what: str, rounds: str) -> dict[str, Any]:
    """Measure the steps of a miss, or when each is done, in a process of their own."""
    return measure_timeline(int(rounds)) if what == "timeline" else measure_steps(int(rounds))


def one_client(place: Stand, *, rounds: int) -> dict[str, dict[str, float]]:
    """Time each way from one process, one call after the other, in turn."""
    with place.trainer(tier=True) as store:
        ways = ways_of(store, part=99)
        for name in [*ways] * 3:
            ways[name]()
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                spent[name].append(timed(way))
    return {
        name: {
            "p50_ms": round(statistics.median(seconds) * 1000, 3),
            "p99_ms": round(percentile(seconds, 0.99) * 1000, 3),
        }
        for name, seconds in spent.items()
    }


def ways_of(store: FeatureStore, *, part: int) -> dict[str, Callable[[], object]]:
    """Return what is timed; every call of a miss asks for a key that nobody has asked for."""
    app = celery_client(store.settings)
    numbers, same = count(part * 1_000_000), day(-1)
    upcoming = [day(next(numbers)) for _ in range(8)]

    def miss_fresh() -> object:
        raw = upcoming.pop() if upcoming else day(next(numbers))
        return store.get_or_compute("BENCH", raw, {}, unchanged)

    return {
        BARE: lambda: app.send_task(NOOP).get(timeout=60),
        FRESH: miss_fresh,
        SHARED: lambda: store.get_or_compute("BENCH", same, {"n": next(numbers)}, unchanged),
    }


def many_clients(place: Stand, *, clients: int, seconds: float, rounds: int) -> dict[str, float]:
    """Return the answers a second that a crowd of processes gets, each way in turn."""
    rates: dict[str, list[float]] = {BARE: [], FRESH: [], SHARED: []}
    with crew("misses", clients, place.child_environment()) as parts:
        for way in rates:
            together(parts, way=way, seconds=0.5)
        for _ in range(rounds):
            for way, found in rates.items():
                found.append(sum(together(parts, way=way, seconds=seconds)) / seconds)
    return {way: round(statistics.median(found), 1) for way, found in rates.items()}


def be_part(number: int) -> int:
    """Be one of the crowd."""
    store = open_in_part(tier=True)
    ways = ways_of(store, part=number)

    def act(*, wait: Callable[[], None], way: str, seconds: float) -> Any:
        wait()
        ends_at, done = time.monotonic() + seconds, 0
        while time.monotonic() < ends_at:
            ways[way]()
            done += time.monotonic() <= ends_at  # what is answered too late counts for nobody
        return done

    return serve(act)
