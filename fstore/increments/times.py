"""The times of raw data, read from an index or a column.

They are in order and without gaps, or refused with the row named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames import index_and_column_fields, zone_name

Ints = npt.NDArray[np.int64]
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NAT = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Times:
    """One instant a row, counted in ``unit`` since 1970.

    Of UTC, or by a clock without zone if ``zone`` is None.
    """

    ticks: Ints
    unit: str
    zone: Any

    @property
    def per_second(self) -> int:
        """How many ticks a second has."""
        return PER_SECOND[self.unit]

    def shown(self, row: int) -> str:
        """Write a row's time as people read it."""
        stamp = pd.DatetimeIndex(self.ticks[row : row + 1].astype(f"datetime64[{self.unit}]"))
        return str((stamp if self.zone is None else stamp.tz_localize("UTC").tz_convert(self.zone))[0])


@dataclass(frozen=True, slots=True)
class TimeField:
    """Where in a table the times lie."""

    position: int
    unit: str
    zone: str | None


def times_of(raw: pd.DataFrame | pa.Table, column: str | None = None) -> Times:
    """Read the times of a frame's index, or of a ``column``; they never go back, and none is missing.

    Raises ``UnhashableInput``, naming the first row that is out of order or without time.
    """
    times = (
        _times_of_frame(raw, column) if isinstance(raw, pd.DataFrame) else times_in(raw, time_field(raw.schema, column))
    )
    check_order(times)
    return times


def time_field(schema: pa.Schema, column: str | None = None) -> TimeField:
    """Find the index of times that a schema stands for, or the ``column`` of times."""
    if column is None:
        index = index_and_column_fields(schema)[1]
        if len(index) != 1:
            raise _no_times()
        at = index[0]
    else:
        at = schema.get_field_index(column)
        if at < 0:
            raise UnhashableInput("raw_data", f"there is no column {column!r} of times, but {', '.join(schema.names)}")
    kind = schema.field(at).type
    if not pa.types.is_timestamp(kind):
        raise UnhashableInput("raw_data", f"{schema.field(at).name!r} holds {kind} and no timestamps; convert it")
    return TimeField(at, kind.unit, kind.tz)


def times_in(table: pa.Table | pa.RecordBatch, field: TimeField) -> Times:
    """Read the times of a table or batch as they stand there; a missing one is ``NaT``."""
    column = table.column(field.position).cast(pa.int64())
    ticks = column.fill_null(_NAT) if column.null_count else column
    return Times(np.asarray(ticks, dtype=np.int64), field.unit, field.zone)


def check_order(times: Times, *, first_row: int = 0, last: int | None = None) -> None:
    """Raise for the first row without a time or earlier than the one before.

    ``last`` is the tick before ``first_row``.
    """
    ticks = times.ticks
    if not len(ticks):
        return
    if last is None or ticks[0] >= last:
        wrong = int(np.argmax(ticks[1:] < ticks[:-1])) + 1 if len(ticks) > 1 else 0
        is_wrong = wrong > 0 and ticks[wrong] < ticks[wrong - 1]
        if not is_wrong and ticks[0] != _NAT:
            return
        at = 0 if ticks[0] == _NAT else wrong
    else:
        at = 0
    row = f"row {first_row + at:,}"
    if ticks[at] == _NAT:
        raise UnhashableInput("raw_data", f"{row} has no time (NaT); drop such rows, or fill their times")
    raise UnhashableInput(
        "raw_data",
        f"{row} ({times.shown(at)}) is earlier than the row before it; sort them, raw.sort_index(kind='stable')",
    )


def _times_of_frame(frame: pd.DataFrame, column: str | None) -> Times:
    index: Any = frame.index
    if column is not None and column != index.name:
        if column not in frame.columns:
            raise UnhashableInput("raw_data", f"there is no column {column!r} of times")
        values = frame[column]
        if not pd.api.types.is_datetime64_any_dtype(values.dtype):
            raise UnhashableInput("raw_data", f"{column!r} holds {values.dtype} and no timestamps; convert it")
        index = pd.DatetimeIndex(values)
    if not isinstance(index, pd.DatetimeIndex):
        raise _no_times()
    # By the name that tables have of it: other libraries' objects tell other times after 2037.
    zone = index.tz if index.tz is None else zone_name(index.tz) or index.tz
    return Times(np.asarray(index.asi8), index.unit, zone)


def _no_times() -> UnhashableInput:
    return UnhashableInput(
        "raw_data",
        "a feature with partitions needs one index of times: raw.set_index('time'), or time='<column>' in its declaration",
    )
