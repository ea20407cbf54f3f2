"""A trainer of some checkout, for ``suites/compare.py``: a script, since it runs with the other's harness, of either layout."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from itertools import count
from typing import Any

WAYS = ("hit 390 x 50", "hit 100,000 x 20", "hit 100,000 x 20, tier", "miss, 390 x 10")


def be_trainer(bench: str) -> None:
    """Answer requests from standard input with the checkout whose ``ops/bench`` is named, of either layout."""
    sys.path[0] = bench  # instead of this folder
    try:
        place_of, features = import_module("harness.stand").stand, import_module("harness.features")
    except ModuleNotFoundError:
        place_of, features = import_module("stand").stand, import_module("bench_features")
    with place_of() as place, ExitStack() as stack:
        place.worker()
        opened = getattr(place, "trainer", None) or place.open
        plain, tiered = stack.enter_context(opened()), stack.enter_context(opened(tier=True))
        raw, days = features.ticks(), count(os.getpid() * 1000)

        def hit(store: Any, rows: int, columns: int) -> Callable[[], object]:
            return lambda: store.get_or_compute("BENCH", raw, {"rows": rows, "columns": columns}, features.wide)

        ways = dict(
            zip(
                WAYS,
                (
                    hit(plain, 390, 50),
                    hit(plain, 100_000, 20),
                    hit(tiered, 100_000, 20),
                    lambda: plain.get_or_compute("BENCH", features.day(next(days)), {}, features.unchanged),
                ),
                strict=True,
            )
        )
        for line in sys.stdin:
            way, calls = json.loads(line)
            print(json.dumps([_timed(ways[way]) for _ in range(calls)]), flush=True)


def _timed(way: Callable[[], object]) -> list[float]:
    cpu, clock = time.process_time(), time.perf_counter()
    way()
    return [time.process_time() - cpu, time.perf_counter() - clock]


if __name__ == "__main__":
    be_trainer(sys.argv[1])
