"""Options of the built-in features.

Each has one meaning, and what has none or two raises ``ValueError``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fstore.intraday.bars import KNOWN_NAMES

MOST_ROWS = 1 << 53
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_NUMBER = r"(\d+(\.\d*)?|\.\d+)"
# pandas also reads "20" as nanoseconds, "1 2min" as 12 minutes and "P5M" as 5 minutes.
_SPAN = re.compile(
    rf"\s*[+-]?\s*({_NUMBER}\s*[a-zA-Zµ]+[\s,]*)+(\d+:\d\d:\d\d(\.\d+)?)?\s*|\s*[+-]?\d+:\d\d:\d\d(\.\d+)?\s*"
    rf"|P(\d+D)?(T(\d+H)?(\d+M)?({_NUMBER}S)?)?",
    re.ASCII,
)


def check_options(config: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Raise ``ValueError`` for a misspelt option, and for shared ones.

    A misspelt one would otherwise be a silent default.
    """
    unknown = sorted(map(str, set(config) - set(allowed)))
    if unknown:
        raise ValueError(f"unknown config option {unknown[0]!r}; known here: {', '.join(sorted(allowed))}")
    columns = config.get("columns", {})
    if not isinstance(columns, Mapping) or set(columns) - set(KNOWN_NAMES):
        raise ValueError(
            f"config['columns'] maps roles to column names; roles: {', '.join(KNOWN_NAMES)}; got {columns!r}"
        )
    actions = config.get("trade_actions")
    if actions is not None and (not listed(actions, "trade_actions") or not all(map(_is_action, actions))):
        raise ValueError(f"trade_actions is {actions!r}; it must be a list of the actions that are trades")
    session_start(config)
    zone = config.get("session_tz")
    if zone is not None and not isinstance(zone, str):
        raise ValueError(f"session_tz is {zone!r}; write the name of a zone, 'America/New_York'")


def session_start(config: Mapping[str, Any]) -> int:
    """Return the minutes from midnight to the start of a session."""
    start = config.get("session_start", "00:00")
    clock = _CLOCK.fullmatch(start) if isinstance(start, str) else None
    if clock is None:
        raise ValueError(f"session_start is {start!r}; write it as 'HH:MM'")
    return 60 * int(clock[1]) + int(clock[2])


def span_ns(text: str, option: str) -> int:
    """Return a positive duration like ``"5min"`` in nanoseconds."""
    advice = f"{option} is {text!r}; write a number of rows, or a duration such as '5min' or '30s'"
    if text.strip().replace(".", "", 1).isdecimal():
        raise ValueError(f"{advice}: {text.strip()} without quotes, or with a unit, '{text.strip()}s'")
    if not _SPAN.fullmatch(text):
        raise ValueError(advice)
    try:
        span = pd.Timedelta(text)
    except ValueError as exc:
        raise ValueError(f"{advice} ({exc})") from exc
    if pd.isna(span) or span <= pd.Timedelta(0):
        raise ValueError(f"{option} is {text!r}; it must be longer than nothing")
    return int(span.as_unit("ns").value)


def positive_int(value: Any, option: str) -> int:
    """Return ``value`` as an integer of at least 1."""
    if not _is_number(value) or not 1 <= value <= MOST_ROWS or value != int(value):
        raise ValueError(f"{option} is {value!r}; it must be a whole number of at least 1")
    return int(value)


def positive(value: Any, option: str) -> float:
    """Return ``value`` as a float above zero."""
    if not _is_number(value) or not 0 < value <= sys.float_info.max:
        raise ValueError(f"{option} holds {value!r}; it must be a number above 0")
    return float(value)


def distance(value: Any, option: str) -> float:
    """Return ``value`` as a float of at least zero."""
    if not _is_number(value) or not 0 <= value <= sys.float_info.max:
        raise ValueError(f"{option} is {value!r}; it must be a number of at least 0")
    return float(value)


def flag(config: Mapping[str, Any], option: str) -> bool:
    """Return a yes or no, by default no; a text like "false" is neither."""
    value = config.get(option)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{option} is {value!r}; it must be true or false")
    return bool(value)


def listed(value: Any, option: str) -> Sequence[Any]:
    """Return ``value`` if it is a list."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ValueError(f"{option} is {value!r}; it must be a list")  # noqa: TRY004 - a wrong config value is one error type
    return value


def band_name(k: float) -> str:
    """Write a number in six digits, or in as many as tell it from all others: 1, 2.5, 1.0000001."""
    short = f"{k:g}"
    return short if float(short) == k else repr(k)


def add_column(columns: dict[str, Any], name: str, values: Any, option: str) -> None:
    """Add a column of the result; raises ``ValueError`` when an option asks for it twice."""
    if name in columns:
        raise ValueError(f"{option} asks for the column {name!r} twice; leave one out")
    columns[name] = values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer) and not isinstance(value, bool)


def _is_action(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
