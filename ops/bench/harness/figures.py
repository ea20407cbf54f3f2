"""Figures of a benchmark: ratios taken within one run, each with its limit, as a table or JSON."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One ratio or number; ``limit`` is what it should be ``at most`` or ``at least``, None where nothing was promised."""

    name: str
    value: float
    limit: float | None = None
    sense: str = "at most"
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether the figure is not what was promised."""
        if self.limit is None:
            return False
        return self.value > self.limit if self.sense == "at most" else self.value < self.limit

    def as_dict(self) -> dict[str, Any]:
        """Return the figure as JSON."""
        return {**asdict(self), "missed": self.missed}


@dataclass(slots=True)
class Outcome:
    """What a benchmark found: figures to judge, measurements to look at."""

    bench: str
    figures: list[Figure]
    measured: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON, with the machine it was taken on."""
        return {
            "bench": self.bench,
            "figures": [figure.as_dict() for figure in self.figures],
            "missed": [figure.name for figure in self.figures if figure.missed],
            "measured": self.measured,
            "machine": machine(),
        }


def machine() -> dict[str, Any]:
    """Name the machine and the versions that the figures depend on."""
    names = ("intraday-fstore", "celery", "redis", "pandas", "pyarrow", "psycopg2-binary", "joblib", "diskcache")
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}",
        "new_file_us": new_file_us(),
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in names},
    }


def new_file_us() -> float:
    """Return how long it takes to create a file where benchmarks put theirs.

    An ext4 without a journal passes over every i-node that was freed within minutes, so
    that this is thirty times as long where much was deleted.
    """
    with tempfile.TemporaryDirectory() as folder:
        spent = []
        for number in range(200):
            began = time.perf_counter()
            os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY, 0o600))
            spent.append(time.perf_counter() - began)
    return round(statistics.median(spent) * 1e6, 1)


def installed(name: str) -> str:
    """Return the version of a distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def table(outcome: Outcome) -> str:
    """Return the figures as aligned lines."""
    width = max((len(figure.name) for figure in outcome.figures), default=0)
    lines = [f"{outcome.bench} ({outcome.measured['seconds']} s)"]
    for figure in outcome.figures:
        wanted = "" if figure.limit is None else f"{figure.sense} {figure.limit:g}"
        verdict = "" if figure.limit is None else ("MISSED" if figure.missed else "ok")
        lines.append(
            f"  {figure.name:<{width}}  {figure.value:>12.4g}  {wanted:<16} {verdict:<6} {figure.note}".rstrip()
        )
    return "\n".join(lines)


def interleaved(ways: Mapping[str, Callable[[], object]], *, rounds: int, warm: int = 3) -> dict[str, float]:
    """Time several ways in turn, so that a noisy moment hits all of them; return the median seconds of each.

    Who goes first changes from round to round: a way that reads much leaves the
    processor's caches to the next as it found them. Giving the result back is not timed.
    """
    for _ in range(warm):
        for way in ways.values():
            way()
    spent: dict[str, list[float]] = {name: [] for name in ways}
    turns = deque(ways)
    for _ in range(rounds):
        for name in turns:
            spent[name].append(timed(ways[name]))
        turns.rotate(1)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def timed(way: Callable[[], object]) -> float:
    """Return the seconds one call takes."""
    began = time.perf_counter()
    result = way()
    seconds = time.perf_counter() - began
    del result
    return seconds


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the same in rounded milliseconds."""
    return {name: round(value * 1000, 3) for name, value in seconds.items()}
