"""Times misses before and after an operator asks a worker about itself, as a click in Flower does.

    python ops/bench/control.py [--quick] [--json] [--check]

120 misses one after the other, so that the worker replaces its child, then one
``inspect stats``, then 50 misses more. An answer that cannot be sent once made each of
the latter take 20 to 50 s.
"""

from __future__ import annotations

from typing import Any

from harness.features import day, unchanged
from harness.figures import Figure, Outcome, percentile, timed
from harness.stand import Stand, celery_client, stand

BEFORE, AFTER = 120, 50


def measure(*, quick: bool) -> Outcome:
    """Time both rows of misses on one worker of one child."""
    with stand() as place:
        place.worker(concurrency=1)
        found = rows(place, before=10 if quick else BEFORE, after=5 if quick else AFTER)
    figures = [
        Figure("slowest miss after inspect stats, s", found["after inspect stats"]["slowest_s"], 1.0),
        Figure("workers that answered inspect stats", found["answers"], 1, "at least"),
    ]
    return Outcome("control", figures, found)


def rows(place: Stand, *, before: int, after: int) -> dict[str, Any]:
    """Return the times of misses, and how many workers answered."""
    app = celery_client(place.settings)
    with place.trainer(tier=True) as store:

        def miss(n: int) -> float:
            return timed(lambda: store.get_or_compute("S", day(n), {}, unchanged))

        first = [miss(n) for n in range(before)]
        answers = app.control.inspect(timeout=5).stats() or {}
        second = [miss(before + n) for n in range(after)]
    return {"before": summary(first), "after inspect stats": summary(second), "answers": len(answers)}


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median and worst."""
    return {"p50_s": percentile(seconds, 0.5), "slowest_s": max(seconds), "misses": len(seconds)}
