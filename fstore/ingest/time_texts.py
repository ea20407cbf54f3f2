"""Times that are no timestamps yet.

Counts since 1970 in a unit, and text in a format, both as the caller says.
"""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest

UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NUMBER = r"^-?\d+(\.\d+)?$"


def check_unit(unit: str) -> None:
    """Raise ``InvalidRequest`` for a unit that is none."""
    if unit not in UNITS:
        raise InvalidRequest("time_unit", f"{unit!r} is none of {', '.join(UNITS)}")


def check_format(pattern: str) -> None:
    """Raise ``InvalidRequest`` for a format that does not give a whole date, or names zones."""
    moment = dt.datetime(2001, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    try:
        back = pd.to_datetime(moment.strftime(pattern), format=pattern)
    except ValueError as exc:
        raise InvalidRequest("time_format", f"{pattern!r} is no format of strptime ({exc})") from exc
    if "%Z" in pattern or back.date() != moment.date():
        raise InvalidRequest("time_format", f"{pattern!r} must give year, month and day, and offsets as %z")


def is_text(kind: pa.DataType) -> bool:
    """Tell whether values of this type are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def from_unit(values: pa.Array, unit: str, column: str) -> pa.Array:
    """Return counts of ``unit`` since 1970-01-01 UTC as times of that zone.

    Exact to the nanosecond or refused.
    """
    if is_text(values.type):
        values = values.cast(pa.string())
        strange = pc.index(pc.match_substring_regex(values, _NUMBER), False).as_py()
        if strange >= 0:
            raise InvalidRequest("time_column", f"{column!r} holds {values[strange].as_py()!r}, no number of {unit}")
    try:
        factor = pa.scalar(UNITS[unit])
        if is_text(values.type):
            exact = values.cast(pa.decimal256(40, 18))
            ticks = pc.multiply(exact, factor.cast(pa.decimal256(19, 0))).cast(pa.int64())
        else:
            ticks = pc.multiply_checked(values.cast(pa.int64()), factor)
    except pa.ArrowException as exc:
        raise InvalidRequest(
            "time_column", f"{column!r} in {unit} is beyond what nanoseconds hold, or finer ({exc}); is that the unit?"
        ) from exc
    return ticks.cast(pa.timestamp("ns", tz="UTC"))


def from_format(values: pa.Array, pattern: str, column: str) -> pa.Array:
    """Return text in the form of ``pattern`` as times, in UTC if it has offsets, exact or refused."""
    texts = values.cast(pa.string())
    # pandas takes "now" and "today" for a time, whatever the format.
    strange = pc.index(pc.match_substring_regex(texts, r"\d"), False).as_py()
    if strange >= 0:
        raise InvalidRequest("time_column", f"{column!r} holds {texts[strange].as_py()!r}, not a time like {pattern!r}")
    try:
        moments = pd.to_datetime(texts.to_pandas(), format=pattern, utc="%z" in pattern).dt.as_unit("ns")
    except ValueError as exc:
        raise InvalidRequest(
            "time_column", f"{column!r} is not like {pattern!r} throughout: {str(exc).split('. ')[0]}"
        ) from exc
    return pa.Array.from_pandas(moments, type=format_type(pattern))


def format_type(pattern: str) -> pa.DataType:
    """Return the type of times in this form."""
    return pa.timestamp("ns", tz="UTC" if "%z" in pattern else None)
