"""Times misses before and after an operator asks a worker about itself, as a click in Flower does.

    python ops/bench/control.py [--quick] [--json] [--check]

120 misses one after the other, in which the worker replaces its child, one ``inspect stats``, 50 misses more; then another
child is replaced, the worker is asked once more, and 50 misses follow. An answer that cannot be sent once made each of the
latter take 20 to 50 s.
"""

from __future__ import annotations

from itertools import count, pairwise
from typing import Any

import psutil
from harness.features import day, unchanged
from harness.figures import Figure, Outcome, percentile, timed
from harness.stand import Stand, celery_client, stand

BEFORE, AFTER, A_CHILD = 120, 50, 100


def measure(*, quick: bool) -> Outcome:
    """Time all rows of misses on one worker of one child."""
    before, after, child = (10, 5, 8) if quick else (BEFORE, AFTER, A_CHILD)
    with stand() as place:
        worker = place.start_worker(
            "--loglevel", "WARNING", concurrency=1, FEATURE_STORE_WORKER_MAX_TASKS_PER_CHILD=str(child)
        )
        found = rows(place, psutil.Process(worker.pid), before=before, after=after, child=child)
    asked = ("after inspect stats", "after another child and inspect stats")
    figures = [
        Figure(f"slowest of {after} misses {row}, s", found[row]["slowest_s"], 1.0) for row in asked
    ] + [
        Figure("answers to inspect stats, of two", found["answers"], 2, "at least"),
        Figure("children replaced before each, fewest", min(found["children replaced"]), 1, "at least"),
    ]  # fmt: skip
    return Outcome("control", figures, found)


def rows(place: Stand, worker: psutil.Process, *, before: int, after: int, child: int) -> dict[str, Any]:
    """Return the times of misses, how many questions were answered, and how many children went before each."""
    app, numbers = celery_client(place.settings), count()
    lived: list[set[int]] = []
    with place.trainer(tier=True) as store:

        def misses(many: int) -> list[float]:
            return [timed(lambda: store.get_or_compute("S", day(next(numbers)), {}, unchanged)) for _ in range(many)]

        def children() -> None:
            lived.append({process.pid for process in worker.children()})

        def asked() -> int:
            children()
            return len(app.control.inspect(timeout=5).stats() or {})

        children()
        first = misses(before)
        answers = asked()
        second = misses(after)
        between = misses(child)
        answers += asked()
        third = misses(after)
    return {
        "before": summary(first),
        "after inspect stats": summary(second),
        "while another child is replaced": summary(between),
        "after another child and inspect stats": summary(third),
        "answers": answers,
        "children replaced": [len(old - new) for old, new in pairwise(lived)],
    }


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median and worst."""
    return {"p50_s": percentile(seconds, 0.5), "slowest_s": max(seconds), "misses": len(seconds)}
