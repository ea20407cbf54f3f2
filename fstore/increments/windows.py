"""Windows: which rows a partition is computed from, and which partitions those rows lie in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fstore.features import Declaration, Reach, ReachKind
from fstore.increments.cutting import Cut
from fstore.increments.times import Ints, Times

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Window:
    """Rows ``first`` to ``stop`` of the data, for partition ``at``; they lie in the partitions ``low`` to ``high``, both included."""

    at: int
    first: int
    stop: int
    low: int
    high: int


def windows_of(times: Times, cut: Cut, declared: Declaration) -> list[Window]:
    """Find the windows of all partitions."""
    count = len(cut)
    if not count:
        return []
    rows, at = np.array(cut.rows, dtype=np.int64), np.arange(count)
    first, stop = _first_rows(times, cut, rows, declared.lookback), _stop_rows(times, cut, rows, declared.lookahead)
    low = np.minimum(np.searchsorted(rows, first, side="right") - 1, at)
    high = np.maximum(np.searchsorted(rows, stop, side="left") - 1, at)
    found = zip(at.tolist(), first.tolist(), stop.tolist(), low.tolist(), high.tolist(), strict=True)
    return [Window(*each) for each in found]


def touching(windows: Iterable[Window], changed: int) -> list[int]:
    """Find the partitions whose windows hold rows of the partition ``changed``: what a change there makes new."""
    return [window.at for window in windows if window.low <= changed <= window.high]


def _first_rows(times: Times, cut: Cut, rows: Ints, reach: Reach) -> Ints:
    own = rows[:-1]
    if reach.kind is ReachKind.ROWS:
        return np.maximum(own - reach.amount, 0)
    if reach.kind is ReachKind.PARTITIONS:
        return rows[np.maximum(np.arange(len(own)) - reach.amount, 0)]
    return np.minimum(_rows_from(times, [span.start for span in cut.spans], -reach.amount), own)


def _stop_rows(times: Times, cut: Cut, rows: Ints, reach: Reach) -> Ints:
    own = rows[1:]
    if reach.kind is ReachKind.ROWS:
        return np.minimum(own + reach.amount, int(rows[-1]))
    if reach.kind is ReachKind.PARTITIONS:
        return rows[np.minimum(np.arange(1, len(rows)) + reach.amount, len(own))]
    return np.maximum(_rows_from(times, [span.end for span in cut.spans], reach.amount), own)


def _rows_from(times: Times, seconds: Iterable[int], span_ns: int) -> Ints:
    """Find the first row at or after ``span_ns`` from each second, exactly in whatever unit the data count."""
    per_tick = 10**9 // times.per_second
    bounds = [-(-(second * 10**9 + span_ns) // per_tick) for second in seconds]  # Python's integers do not overflow
    ticks = np.array([max(min(bound, _INT64.max), _INT64.min) for bound in bounds], dtype=np.int64)
    found: Ints = np.searchsorted(times.ticks, ticks, side="left").astype(np.int64, copy=False)
    return found
