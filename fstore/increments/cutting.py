"""Cutting time into partitions: bounds are instants, and rows of one time never part.

Bounds are made of dates of the calendar, to which the start of a session is added, and
which the zone's clock then makes instants. A partition is half-open, and one without
rows does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fstore.errors import ConfigurationError, InvalidRequest
from fstore.features import ALL, Sessions
from fstore.frames import instants_of_clock
from fstore.increments.times import Ints, Times

MOST_BOUNDS = 1 << 20
_HOUR, _DAY = 3_600, 86_400
_MARGIN = 2 * _DAY  # more than any clock is away from UTC, and than a session starts after its day
_NUMPY = {"month": "M", "quarter": "M", "year": "Y"}


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open time of a partition in seconds since 1970, and what the clock shows at its start."""

    start: int
    end: int
    clock: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Data cut into partitions that hold rows.

    Partition ``i`` has the rows ``rows[i]`` to ``rows[i + 1]``.
    """

    spans: tuple[Span, ...]
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.spans)


def cut_times(times: Times, by: Sessions, grid: Grid | None = None) -> Cut:
    """Cut rows that are in order of time.

    ``grid`` is the one of ``by`` and the data's zone, if it is known.
    """
    ticks = times.ticks
    if not len(ticks):
        return Cut((), (0,))
    grid = Grid(by, times.zone) if grid is None else grid
    spans = grid.spans(int(ticks[0]) // times.per_second, int(ticks[-1]) // times.per_second)
    starts = np.array([span.start for span in spans], dtype=np.int64) * times.per_second
    cuts = np.append(np.searchsorted(ticks, starts, side="left"), len(ticks))
    filled = np.flatnonzero(np.diff(cuts))
    return Cut(tuple(spans[i] for i in filled), (*(int(cuts[i]) for i in filled), len(ticks)))


class Grid:
    """The bounds of one declaration for data of one zone."""

    def __init__(self, by: Sessions, zone: Any) -> None:
        if zone is None and by.zone is not None:
            raise InvalidRequest(
                "raw_data",
                f"its times have no zone, so the start of a session in {by.zone} is unknown; localise them, "
                "raw.tz_localize('UTC') for example",
            )
        self._by = by
        self._zone = zone if by.zone is None else by.zone

    def spans(self, first: int, last: int) -> list[Span]:
        """List the partitions from the one that holds the second ``first`` to the one that holds ``last``."""
        # Both in the clock's own seconds, with a margin for the zone and the start of sessions.
        clock = self._clock_starts(first - _MARGIN, last + _MARGIN)
        if len(clock) > MOST_BOUNDS:
            raise InvalidRequest(
                "raw_data", f"it spans {len(clock):,} times a {self._by.every}; declare longer partitions"
            )
        instants = clock if self._zone is None else instants_of_clock(clock, self._zone)
        # Two starts in one gap of the clock are one instant: the earlier has no time of its own.
        kept = np.append(np.diff(instants) > 0, True)
        clock, instants = clock[kept], instants[kept]
        low = int(np.searchsorted(instants, first, side="right")) - 1
        high = int(np.searchsorted(instants, last, side="right"))
        pairs = zip(instants[low:high], instants[low + 1 : high + 1], clock[low:high], strict=True)
        return [Span(int(start), int(end), int(shown)) for start, end, shown in pairs]

    def _clock_starts(self, first: int, last: int) -> Ints:
        every, offset = self._by.every, 60 * self._by.minutes
        if every in ("hour", "day", "week"):
            step = {"hour": _HOUR, "day": _DAY, "week": 7 * _DAY}[every]
            origin = offset + (4 * _DAY if every == "week" else 0)  # 1970-01-05 was a Monday
            low, high = (first - origin) // step, (last - origin) // step + 1
            if high - low > MOST_BOUNDS:
                return np.zeros(high - low + 1, dtype=np.int64)  # refused by its length
            return np.arange(low, high + 1, dtype=np.int64) * step + origin
        unit = _NUMPY[every]
        ends = np.array([first - offset, last - offset]).astype("datetime64[s]").astype(f"datetime64[{unit}]")
        low, high = (int(each) for each in ends.astype(np.int64))
        step = 3 if every == "quarter" else 1
        numbers = np.arange(low // step, high // step + 2, dtype=np.int64) * step
        return numbers.astype(f"datetime64[{unit}]").astype("datetime64[s]").astype(np.int64) + offset


def label_of(span: Span, every: str) -> str:
    """Name a partition by what the clock shows at its start: 2024-03-02, 2024-03-02T14, 2024-03, 2024-Q1."""
    at = pd.Timestamp(span.clock, unit="s")
    if every == "hour":
        return f"{at:%Y-%m-%dT%H:%M}"
    return _period_name(at, every) if every != "week" else f"{at:%Y-%m-%d}"


def period_of(span: Span, segment: str) -> str:
    """Name the segment that a partition belongs to, by what the clock shows at its start."""
    return ALL if segment == ALL else _period_name(pd.Timestamp(span.clock, unit="s"), segment)


def overlapping(spans: Iterable[Span], between: tuple[int | None, int | None], per_second: int) -> list[int]:
    """Find the partitions that a half-open range of ticks overlaps, by position."""
    start, end = between
    return [
        i
        for i, span in enumerate(spans)
        if (start is None or span.end * per_second > start) and (end is None or span.start * per_second < end)
    ]


def _period_name(at: pd.Timestamp, every: str) -> str:
    if every == "day":
        return f"{at:%Y-%m-%d}"
    if every == "week":
        week = at.isocalendar()
        return f"{week.year}-W{week.week:02d}"
    if every == "month":
        return f"{at:%Y-%m}"
    if every == "quarter":
        return f"{at.year}-Q{at.quarter}"
    if every == "year":
        return f"{at.year}"
    raise ConfigurationError([f"{every!r} is no period"])
