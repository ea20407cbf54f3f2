"""How a feature may be computed piece by piece.

Where time is cut, and how far a piece looks to both sides. A feature that declares a partition *is* the
concatenation of its per-partition results, each computed from exactly the rows of [start - lookback, end +
lookahead). ``lookback`` is the history that a window needs, and has nothing to do with rows that come late: what is
computed anew follows from the content of the data alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from fstore.errors import ConfigurationError, InvalidRequest

PERIODS = ("hour", "day", "week", "month", "quarter", "year")
ALL = "all"
MOST_IN_A_SEGMENT = 366
_NEXT = {"hour": "day", "day": "month", "week": "quarter", "month": "year", "quarter": "year", "year": ALL}
_FITTING = {
    "hour": ("day", "week"),
    "day": ("day", "week", "month", "quarter", "year"),
    "week": ("week", "month", "quarter", "year"),
    "month": ("month", "quarter", "year"),
    "quarter": ("quarter", "year"),
    "year": ("year",),
}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_SPAN = re.compile(r"\s*\d+(\.\d+)?\s*[a-zA-Zµ]+(\s*\d+(\.\d+)?\s*[a-zA-Zµ]+)*\s*", re.ASCII)
_MOST = 1 << 53


@dataclass(frozen=True, slots=True)
class Sessions:
    """Stretches of time that begin ``minutes`` past the start of every hour, day, week ...

    The clock is that of ``zone``. Without a zone it is that of the data. A beginning that the clock shows twice is
    the first one, one that it skips is the first instant after the gap.
    """

    every: str
    minutes: int = 0
    zone: str | None = None

    @property
    def text(self) -> str:
        """The canonical form, which enters names and lies in files."""
        return _canonical({"every": self.every, "minutes": self.minutes, "zone": self.zone})


@dataclass(frozen=True, slots=True)
class PartitionCount:
    """So many partitions before or after, of those that hold rows."""

    count: int


class ReachKind(StrEnum):
    """What a reach is counted in."""

    ROWS = "rows"
    TIME = "time"
    PARTITIONS = "partitions"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a window goes beyond its partition: rows, nanoseconds, or partitions that hold rows."""

    kind: ReachKind
    amount: int

    def __bool__(self) -> bool:
        return self.amount > 0


@dataclass(frozen=True, slots=True)
class Declaration:
    """A partitioning for one config: nothing in it has to be evaluated any more."""

    cut: Sessions
    lookback: Reach
    lookahead: Reach
    segment: str
    time: str | None = None

    @property
    def text(self) -> str:
        """What of it enters the name of a partition, and so every key; which file holds a result does not."""
        return _canonical(
            {
                "cut": self.cut.text,
                "lookahead": [self.lookahead.kind.value, self.lookahead.amount],
                "lookback": [self.lookback.kind.value, self.lookback.amount],
                "time": self.time,
            }
        )


@dataclass(frozen=True, slots=True)
class Partitioning:
    """What a feature declares; a reach may be a callable of the config."""

    cut: Sessions
    lookback: Any = 0
    lookahead: Any = 0
    segment: str = ""
    time: str | None = None

    def evaluated(self, config: Mapping[str, Any]) -> Declaration:
        """Work the reach out for a config as functions are given it.

        Raises ``InvalidRequest`` for one that makes none.
        """
        return Declaration(
            self.cut,
            _evaluated(self.lookback, config, "lookback"),
            _evaluated(self.lookahead, config, "lookahead"),
            self.segment,
            self.time,
        )


def sessions(every: str = "day", *, start: str = "00:00", tz: str | None = None) -> Sessions:
    """Cut at ``start`` ("HH:MM") by the clock of ``tz``, or of the data.

    Of hours ``start`` is the minute ("00:30").
    """
    faults = []
    if every not in PERIODS:
        faults.append(f"partition: {every!r:.40} is no period; choose one of {', '.join(PERIODS)}")
    clock = _CLOCK.fullmatch(start) if isinstance(start, str) else None
    if clock is None:
        faults.append(f"partition: start is {start!r:.40}; write it as 'HH:MM'")
    minutes = 60 * int(clock[1]) + int(clock[2]) if clock else 0
    if every == "hour" and minutes >= 60:
        faults.append(f"partition: an hour starts within its 60 minutes, not at {start}")
    if tz is not None and not _is_zone(tz):
        faults.append(f"partition: no time zone is called {tz!r:.60} here; write 'America/New_York' for example")
    if faults:
        raise ConfigurationError(faults)
    return Sessions(every, minutes, tz)


def partitions(count: int) -> PartitionCount:
    """Reach ``count`` partitions that hold rows before or after: from a Monday one reaches Friday."""
    if not _is_count(count):
        raise ConfigurationError([f"partitions({count!r:.40}): a whole number of partitions, 0 or more, is needed"])
    return PartitionCount(int(count))


def checked_partitioning(
    name: str,
    partition: Any,
    *,
    lookback: Any = 0,
    lookahead: Any = 0,
    segment: str | None = None,
    time: str | None = None,
    input: str = "",
) -> Partitioning | None:
    """Return what a feature declares, None if it declares nothing.

    Raises ``ConfigurationError`` with all faults.
    """
    if partition is None:
        given = [("lookback", lookback != 0), ("lookahead", lookahead != 0)]
        given += [("segment", segment is not None), ("time", time is not None)]
        if wrong := [option for option, is_given in given if is_given]:
            raise ConfigurationError([f"{name}: {wrong[0]} means nothing without partition=; add partition='day' say"])
        return None
    faults: list[str] = []
    cut = partition
    if isinstance(partition, str):
        try:
            cut = sessions(partition)
        except ConfigurationError as exc:
            faults += exc.faults
    elif not isinstance(partition, Sessions):
        faults.append(f"partition is {partition!r:.60}; give a period, such as 'day', or fstore.sessions('day', ...)")
    for option, reach in (("lookback", lookback), ("lookahead", lookahead)):
        if not callable(reach) and isinstance(found := _reach(reach, option), str):
            faults.append(found)
    if isinstance(cut, Sessions):
        segment = segment if segment is not None else _NEXT[cut.every]
        fitting = (*_FITTING[cut.every], ALL)
        if segment not in fitting:
            faults.append(
                f"segment: {segment!r:.40} holds no whole partitions by the {cut.every}, or too many; {fitting}"
            )
    if time is not None and not (isinstance(time, str) and time):
        faults.append(f"time is {time!r:.40}; name the column that holds the times")
    elif time is not None and input == "pandas":
        faults.append(f"time={time!r:.40} names a column of tables (input='arrow'); frames are cut by their index")
    if faults:
        raise ConfigurationError([f"{name}: {fault}" for fault in faults])
    return Partitioning(cut, lookback, lookahead, str(segment), time)


def _evaluated(reach: Any, config: Mapping[str, Any], option: str) -> Reach:
    if callable(reach):
        reach = _called(reach, config, option)
    found = _reach(reach, option)
    if isinstance(found, str):
        raise InvalidRequest("config", f"of this config the feature's {found}")
    return found


def _called(reach: Callable[[Mapping[str, Any]], Any], config: Mapping[str, Any], option: str) -> Any:
    try:
        return reach(config)
    except Exception as exc:  # it is the feature's code: whatever it raises, the caller is told which part did
        raise InvalidRequest("config", f"the feature's {option} cannot be worked out: {exc!r}") from exc


def _reach(value: Any, option: str) -> Reach | str:
    """Return the reach, or what is wrong with it."""
    if isinstance(value, PartitionCount):
        return Reach(ReachKind.PARTITIONS, value.count)
    if _is_count(value):
        return Reach(ReachKind.ROWS, int(value))
    advice = f"{option} is {value!r:.60}; give rows (20), time ('30min') or fstore.partitions(1), none of them below 0"
    if isinstance(value, str) and not _SPAN.fullmatch(value):
        return advice
    if not isinstance(value, (str, pd.Timedelta, np.timedelta64)):
        return advice
    try:
        span = pd.Timedelta(value)
        amount = int(span.as_unit("ns").value) if not pd.isna(span) else -1
    except (ValueError, OverflowError):
        return advice
    return Reach(ReachKind.TIME, amount) if amount >= 0 else advice


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 <= int(value) <= _MOST


def _is_zone(name: Any) -> bool:
    try:
        return isinstance(name, str) and bool(ZoneInfo(name))
    except (LookupError, ValueError, OSError):
        return False


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
