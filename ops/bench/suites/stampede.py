"""Lets 200 callers in 20 processes ask for one thing at once, and times the hits of the demo.

    python ops/bench/stampede.py [--quick] [--json] [--check]

The feature takes a second. Callers are ten threads a process; the first stampede finds
processes that have opened the store and never asked, the later ones find them warm. The
demo is ``fstore demo --trainers 20 --requests 10`` on a stack of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.features import slow, ticks
from harness.figures import Figure, Outcome
from harness.parts import crew, serve, together
from harness.stand import Stand, open_in_part, stand

PROCESSES, THREADS, SECONDS = 20, 10, 1.0


def measure(*, quick: bool) -> Outcome:
    """Run the stampedes, then the demo."""
    processes, rounds = (3, 2) if quick else (PROCESSES, 4)
    with stand() as place:
        place.worker()
        # Twice as a crowd of new processes, so that one odd start is not the figure.
        crowds = [crowd(place, processes, rounds) for _ in range(1 if quick else 3)]
    cold, warm = [runs[0] for runs in crowds], [run for runs in crowds for run in runs[1:]]
    shown = demo(trainers=4 if quick else 20, requests=6 if quick else 10)
    size = f"{processes * THREADS} callers"
    figures = [
        Figure(f"{size}: computations of one key, most", max(run["computed"] for run in cold + warm), 1),
        Figure(f"{size}, new processes: last answer after the first, s", spread(cold), 0.2),
        Figure(f"{size}, warm processes: last answer after the first, s", spread(warm), 0.2),
        Figure(
            f"{size}, new processes: last answer after the start, s", statistics.median(run["last_s"] for run in cold)
        ),
        Figure(
            f"{size}, warm processes: last answer after the start, s", statistics.median(run["last_s"] for run in warm)
        ),
        Figure("hits of the demo, p50, ms", shown["hit_ms"]["p50"], 10),
        Figure("hits of the demo, p99, ms", shown["hit_ms"]["p99"], 50),
        *(
            Figure(f"hits of the demo / the same by joblib.Memory, {rank}", shown["hit_ms"][rank] / peer[rank])
            for rank in ("p50", "p99")
            if (peer := shown["joblib_hit_ms"])
        ),
    ]
    kept = (
        "trainers",
        "requests",
        "succeeded",
        "failed",
        "unique_keys",
        "computed",
        "hits",
        "coalesced",
        "hit_ms",
        "joblib_hit_ms",
        "miss_ms",
    )
    return Outcome("stampede", figures, {"crowds": crowds, "demo": {name: shown[name] for name in kept}})


def spread(runs: list[dict[str, float]]) -> float:
    """Return the median time between the first answer and the last."""
    return statistics.median(run["spread_s"] for run in runs)


def crowd(place: Stand, processes: int, rounds: int) -> list[dict[str, float]]:
    """Start processes, let all of them ask for the same new key at once, several times over."""
    runs = []
    with crew("stampede", processes, place.child_environment()) as parts:
        for _ in range(rounds):
            starts = tempfile.mkdtemp(dir=place.folder)
            found = together(parts, starts=starts)
            began, answers = min(part["began"] for part in found), [at for part in found for at in part["answered"]]
            runs.append(
                {
                    "computed": len([*Path(starts).iterdir()]),
                    "first_s": round(min(answers) - began, 3),
                    "last_s": round(max(answers) - began, 3),
                    "spread_s": round(max(answers) - min(answers), 3),
                }
            )
    return runs


def demo(*, trainers: int, requests: int) -> dict[str, Any]:
    """Run the demo and return its report."""
    command = ["demo", "--trainers", str(trainers), "--requests", str(requests), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "fstore.cli", *command], check=True, stdout=subprocess.PIPE, text=True, timeout=600
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def be_part(_: int) -> int:
    """Be one of the processes: every thread of it asks at the same moment."""
    store, raw = open_in_part(tier=True), ticks(rows=10_000)

    def act(*, wait: Callable[[], None], starts: str) -> dict[str, Any]:
        answered: list[float] = []
        ready = threading.Barrier(THREADS + 1)

        def ask() -> None:
            ready.wait()
            store.get_or_compute("BENCH", raw, {"seconds": SECONDS, "starts": starts}, slow)
            answered.append(time.monotonic())

        threads = [threading.Thread(target=ask) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        wait()
        began = time.monotonic()  # one clock for all processes of a machine
        ready.wait()
        for thread in threads:
            thread.join()
        assert len(answered) == THREADS
        return {"began": began, "answered": answered}

    return serve(act)
