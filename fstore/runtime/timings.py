"""How long things take, as plain counters: one for each bucket and one for the sum.

Counters are what trainers and workers hand over anyway, so a histogram of a whole
team costs no more than another field in a batch that is sent twice a second.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

BOUNDS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    math.inf,
)
TIMINGS: Mapping[str, str] = {
    "fingerprint_seconds": "taking the fingerprint of the raw data of one request",
    "hit_seconds": "answering a hit: manifest, file, every byte verified",
    "miss_seconds": "answering a miss, the wait for a worker included",
    "compute_seconds": "running a feature function in a worker",
    "lock_wait_seconds": "a publisher waiting for the lock of the manifest",
    "lock_hold_seconds": "a publisher holding the lock of the manifest, without the commit's write to disk",
    "dedup_hold_seconds": "a trainer holding the dedup lock of a key while it stages and registers",
}
_BUCKET, _SUM = "_le:", "_sum_us"
# Written out once: formatting numbers would cost a hit more than counting them.
_NAMES = {name: (tuple(f"{name}{_BUCKET}{bound:g}" for bound in BOUNDS_S), f"{name}{_SUM}") for name in TIMINGS}


@dataclass(frozen=True, slots=True)
class Histogram:
    """Cumulative counts by upper bound, as Prometheus wants them, and the sum in seconds."""

    buckets: tuple[tuple[float, int], ...]
    sum_s: float

    @property
    def count(self) -> int:
        """How many were timed."""
        return self.buckets[-1][1]


def counters_of(name: str, seconds: float) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return the two counters that one duration adds to."""
    buckets, total = _NAMES[name]
    return (buckets[bisect_left(BOUNDS_S, seconds)], 1), (total, int(seconds * 1_000_000))


def timing_of(counter: str) -> str | None:
    """Return which of ``TIMINGS`` a counter is a part of.

    None for other counters, and for timings of other versions.
    """
    name = counter.partition(_BUCKET)[0].removesuffix(_SUM)
    return name if name in TIMINGS else None


def is_timing(counter: str) -> bool:
    """Return whether a counter belongs to a histogram."""
    return _BUCKET in counter or counter.endswith(_SUM)


def histogram(name: str, counters: Mapping[str, int]) -> Histogram:
    """Put a histogram together again; what was never timed has zeros."""
    total, buckets = 0, []
    for bound in BOUNDS_S:
        total += counters.get(f"{name}{_BUCKET}{bound:g}", 0)
        buckets.append((bound, total))
    return Histogram(tuple(buckets), counters.get(f"{name}{_SUM}", 0) / 1_000_000)
