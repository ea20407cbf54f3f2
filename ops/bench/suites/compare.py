"""Times hits and misses of this checkout and of another one, call by call in turn within one run.

    python ops/bench/compare.py OTHER [--quick] [--json] [--check]

``OTHER`` is a checkout of another commit with an environment of its own in ``.venv``. Each
has its servers, its worker and its trainer; they take turns of a few calls, so that a
noisy moment hits both. Figures are this checkout's processor time in the trainer, and
time on the clock, as shares of the other's; medians over all calls.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from harness.figures import Figure, Outcome
from harness.side import WAYS

HERE = Path(__file__).resolve().parents[3]
AT_MOST = 1.1  # what two runs of one and the same commit differed by at most here


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the other checkout."""
    parser.add_argument("other", metavar="OTHER", type=Path, help="a checkout of another commit, with its .venv")


def measure(*, quick: bool, other: Path) -> Outcome:
    """Let both take turns."""
    rounds, spent = (4 if quick else 25), {}
    with ExitStack() as stack:
        sides = {"this": stack.enter_context(_side(HERE)), "other": stack.enter_context(_side(other.resolve()))}
        for way in WAYS:
            calls = 10 if "390" in way else 3
            samples: dict[str, list[list[float]]] = {name: [] for name in sides}
            for turn in range(rounds + 1):
                for name in sorted(sides, reverse=turn % 2 == 0):
                    told = sides[name]([way, calls])
                    samples[name] += told if turn else []  # the first turn warms up
            spent[way] = {
                name: [statistics.median(column) * 1e3 for column in zip(*told, strict=True)]
                for name, told in samples.items()
            }
    figures = []
    for way, told in spent.items():
        figures += [
            Figure(f"{way}: processor time, this / other", told["this"][0] / told["other"][0], AT_MOST),
            Figure(f"{way}: time, this / other", told["this"][1] / told["other"][1]),
        ]
    return Outcome("compare", figures, {"milliseconds, processor and clock": spent})


@contextmanager
def _side(checkout: Path) -> Iterator[Callable[[list[Any]], list[list[float]]]]:
    """Start the trainer of a checkout; it answers each request with processor and clock seconds of each call."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FEATURE_STORE")}
    words = [str(checkout / ".venv/bin/python"), str(HERE / "ops/bench/harness/side.py"), str(checkout / "ops/bench")]
    with subprocess.Popen(
        words, cwd=checkout, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as trainer:
        assert trainer.stdin is not None
        assert trainer.stdout is not None
        asks, tells = trainer.stdin, trainer.stdout

        def ask(words: list[Any]) -> list[list[float]]:
            asks.write(json.dumps(words) + "\n")
            asks.flush()
            for line in tells:  # whatever else is printed there
                if line.startswith("[["):
                    return json.loads(line)  # type: ignore[no-any-return]
            raise RuntimeError(f"the trainer of {checkout} ended with {trainer.wait(60)}")

        try:
            yield ask
        finally:
            asks.close()
            trainer.wait(120)
