"""Windows: which rows a partition is computed from, and which partitions those rows lie in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fstore.features import Declaration, Reach, ReachKind
from fstore.increments.cutting import Cut
from fstore.increments.times import Ints, Times

_INT64 = np.iinfo(np.int64)
_NS = 10**9


@dataclass(frozen=True, slots=True)
class Touched:
    """The partitions that the window of partition ``at`` reaches into.

    They are ``low`` to ``high``, both included. It follows from their bounds and rows alone: of a file's table one
    knows it without its times. Of a reach in time that is each partition whose time it reaches into, whether or not
    it has rows there.
    """

    at: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Window(Touched):
    """Rows ``first`` to ``stop`` of the data, which lie in the partitions it reaches into."""

    first: int
    stop: int


def touched_by(cut: Cut, declared: Declaration) -> list[Touched]:
    """Find the partitions that each partition's window reaches into."""
    low, high = _touched(cut, declared)
    return [Touched(*each) for each in zip(range(len(cut)), low.tolist(), high.tolist(), strict=True)]


def windows_of(times: Times, cut: Cut, declared: Declaration) -> list[Window]:
    """Find the windows of all partitions."""
    if not len(cut):
        return []
    rows = np.array(cut.rows, dtype=np.int64)
    first, stop = _first_rows(times, cut, rows, declared.lookback), _stop_rows(times, cut, rows, declared.lookahead)
    low, high = _touched(cut, declared)
    found = zip(range(len(cut)), low.tolist(), high.tolist(), first.tolist(), stop.tolist(), strict=True)
    return [Window(*each) for each in found]


def touching(windows: Iterable[Touched], changed: int) -> list[int]:
    """Find the partitions whose windows reach into the partition ``changed``.

    That is what a change there makes new.
    """
    return [window.at for window in windows if window.low <= changed <= window.high]


def _touched(cut: Cut, declared: Declaration) -> tuple[Ints, Ints]:
    rows, at = np.array(cut.rows, dtype=np.int64), np.arange(len(cut))
    starts = np.array([span.start for span in cut.spans], dtype=np.int64)
    ends = np.array([span.end for span in cut.spans], dtype=np.int64)
    back, ahead = declared.lookback, declared.lookahead
    if back.kind is ReachKind.ROWS:
        low = np.searchsorted(rows, np.maximum(rows[:-1] - back.amount, 0), side="right") - 1
    elif back.kind is ReachKind.PARTITIONS:
        low = np.maximum(at - back.amount, 0)
    else:
        low = np.searchsorted(ends, starts + (-back.amount // _NS), side="right")
    if ahead.kind is ReachKind.ROWS:
        high = np.searchsorted(rows, np.minimum(rows[1:] + ahead.amount, rows[-1]), side="left") - 1
    elif ahead.kind is ReachKind.PARTITIONS:
        high = np.minimum(at + ahead.amount, len(cut) - 1)
    else:
        high = np.searchsorted(starts, ends - (-ahead.amount // _NS), side="left") - 1
    return np.minimum(low, at), np.maximum(high, at)


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
    """Find the first row at or after ``span_ns`` from each second.

    Exactly, in whatever unit the data count.
    """
    per_tick = 10**9 // times.per_second
    bounds = [-(-(second * 10**9 + span_ns) // per_tick) for second in seconds]  # Python's integers do not overflow
    ticks = np.array([max(min(bound, _INT64.max), _INT64.min) for bound in bounds], dtype=np.int64)
    found: Ints = np.searchsorted(times.ticks, ticks, side="left").astype(np.int64, copy=False)
    return found
