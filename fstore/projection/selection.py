"""What a caller wants of a result: some columns, some of the time; and what must be read for it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.frames import NOTES_KEY, index_and_column_fields
from fstore.results import FRAME_KEY, MEANT_KEY, decode_result, encode_result

ARGUMENTS = ("columns", "between", "timeout", "returns", "errors", "progress")
_PER_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half-open: from ``start`` on, up to but without ``end``; None leaves a side open."""

    start: pd.Timestamp | None
    end: pd.Timestamp | None

    def ticks(self, unit: str, zone: Any) -> tuple[int | None, int | None]:
        """Return the bounds as data of this unit and zone count them.

        Times without zone are read by the data's clock.
        """
        return _ticks(self.start, unit, zone), _ticks(self.end, unit, zone)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some columns, in this order, of the rows of some time; None stands for all."""

    columns: tuple[str, ...] | None = None
    between: TimeRange | None = None

    def fields_of(self, schema: pa.Schema) -> list[str] | None:
        """Name the fields that it needs, in the order they are wanted.

        None if the result must be taken whole first. Raises ``InvalidRequest`` for what the result has not.
        """
        if len(set(schema.names)) < len(schema.names):
            raise InvalidRequest("columns", "the result has several columns of one name; take it whole")
        if not _is_selectable(schema) or (self.between is not None and _has_range_index(schema)):
            return None
        return list(schema.names) if self.columns is None else fields_of(schema, self.columns)

    def of(self, table: pa.Table) -> pa.Table:
        """Take the part out of a whole result, without a copy where that is possible."""
        names = self.fields_of(table.schema)
        if names is None:
            return encode_result(self._of_frame(table))
        if self.between is not None:
            table = rows_between(table, time_field_of(table.schema), self.between)
        return table.select(names)

    def _of_frame(self, table: pa.Table) -> pd.DataFrame | pd.Series[Any]:
        """Do the same to the frame that a table with notes stands for: notes would be wrong of a part."""
        frame = decode_result(table)
        if self.between is not None:
            rows = pa.table({"row": np.arange(table.num_rows)})
            field = time_field_of(table.schema)
            kept = rows_between(rows.append_column(field, table.column(field.name)), field, self.between)
            frame = frame.iloc[np.asarray(kept.column("row"))]
        return frame if self.columns is None else select_columns(frame, self.columns)


class Part(TypedDict, total=False):
    """How callers say which part of a result they want."""

    columns: Sequence[str] | None
    between: tuple[Any, Any] | None


def checked_selection(columns: Any = None, between: Any = None, **unknown: Any) -> Selection | None:
    """Take ``columns=`` and ``between=`` as given by a caller; None if all is wanted."""
    for name in unknown:
        near = difflib.get_close_matches(name, ARGUMENTS, 1)
        raise TypeError(f"there is no argument {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if columns is None and between is None:
        return None
    return Selection(
        None if columns is None else checked_columns(columns), None if between is None else checked_range(between)
    )


def checked_range(between: Any) -> TimeRange:
    """Take ``between=(start, end)`` as given by a caller; raises ``InvalidRequest`` for what is no range."""
    if not isinstance(between, (tuple, list)) or len(between) != 2:
        raise InvalidRequest("between", f"{between!r:.80} is no pair (start, end); leave a side open with None")
    start, end = (_stamp(bound) for bound in between)
    if start is not None and end is not None:
        if (start.tzinfo is None) != (end.tzinfo is None):
            raise InvalidRequest("between", "one bound has a time zone and the other has none; give both or neither")
        if end < start:
            raise InvalidRequest("between", f"it ends at {end}, before it starts at {start}")
    return TimeRange(start, end)


def checked_columns(columns: Any) -> tuple[str, ...]:
    """Take ``columns=[...]`` as given by a caller."""
    if isinstance(columns, (str, bytes)) or not isinstance(columns, Sequence):
        raise InvalidRequest("columns", f"{columns!r:.80} is no list of names; write columns=['spread']")
    if wrong := [name for name in columns if not isinstance(name, str)]:
        raise InvalidRequest("columns", f"{wrong[0]!r:.80} is no text; take such labels from the frame itself")
    if len(set(columns)) < len(columns):
        raise InvalidRequest("columns", "a name is there twice; name each column once")
    return tuple(columns)


def fields_of(schema: pa.Schema, columns: Sequence[str]) -> list[str] | None:
    """Name the fields of a stored result that a selection needs, its index last.

    None if all of it must be read first. That is where notes speak of fields by their position, or labels are no
    plain texts. Raises ``InvalidRequest`` for a name that the result has not.
    """
    if not _is_selectable(schema) or not _has_text_labels(schema):
        return None
    values, index = index_and_column_fields(schema)
    check_names(columns, [schema.field(i).name for i in values])
    return [*columns, *(schema.field(i).name for i in index)]


def check_names(columns: Sequence[str], known: Sequence[Any]) -> None:
    """Raise ``InvalidRequest``, with the nearest names, for a column that is not there."""
    for name in columns:
        if name not in known:
            texts = [each for each in known if isinstance(each, str)]
            near = difflib.get_close_matches(name, texts, n=3, cutoff=0.5) or texts[:8]
            raise InvalidRequest("columns", f"there is no {name!r}; there is {', '.join(map(repr, near)) or 'none'}")


def select_columns(frame: pd.DataFrame | pd.Series[Any], columns: Sequence[str]) -> pd.DataFrame | pd.Series[Any]:
    """Select from a frame or Series that had to be read whole.

    A Series of which nothing but its own name is asked stays one.
    """
    if isinstance(frame, pd.Series):
        if list(columns) == [frame.name]:
            return frame
        frame = frame.to_frame()
    check_names(columns, list(frame.columns))
    return frame[list(columns)]


def time_field_of(schema: pa.Schema) -> pa.Field:
    """Find the times of a result: its index, or else its first column of timestamps.

    Raises ``InvalidRequest`` if it has none.
    """
    values, index = index_and_column_fields(schema)
    for at in (*index, *values):
        if pa.types.is_timestamp(schema.field(at).type):
            return schema.field(at)
    raise InvalidRequest("between", "the result has no index and no column of times")


_NO_TIME = int(np.iinfo(np.int64).min)
_TEXT_LABELS = ("unicode", "string", "empty", "mixed")  # as pandas' metadata call them


def rows_between(table: pa.Table, field: pa.Field, wanted: TimeRange) -> pa.Table:
    """Keep the rows of a range, without a copy where times are in order."""
    start, end = wanted.ticks(field.type.unit, field.type.tz)
    column = table.column(field.name).cast(pa.int64())
    ticks: npt.NDArray[np.int64] = np.asarray(column.fill_null(_NO_TIME), dtype=np.int64)
    if start is None and end is not None:
        start = _NO_TIME + 1  # what has no time is before nothing
    if not len(ticks) or (ticks[1:] >= ticks[:-1]).all():
        first = 0 if start is None else int(np.searchsorted(ticks, start, side="left"))
        stop = len(ticks) if end is None else int(np.searchsorted(ticks, end, side="left"))
        return table.slice(first, max(stop - first, 0))
    kept = np.ones(len(ticks), dtype=bool)
    if start is not None:
        kept &= ticks >= start
    if end is not None:
        kept &= ticks < end
    return table.filter(pa.array(kept))


def _is_selectable(schema: pa.Schema) -> bool:
    metadata = schema.metadata or {}
    if any(key in metadata for key in (NOTES_KEY, FRAME_KEY, MEANT_KEY)):
        return False
    if b"pandas" not in metadata:
        return True
    try:
        said = json.loads(metadata[b"pandas"])
        index = [each for each in said["index_columns"] if isinstance(each, str)]
        labels = [each for each in said["columns"] if each["field_name"] not in index]
        return len(said["column_indexes"]) <= 1 and all(each["name"] == each["field_name"] for each in labels)
    except (ValueError, KeyError, TypeError):
        return False


def _has_text_labels(schema: pa.Schema) -> bool:
    """Tell labels that are texts from numbers, which fields are called after in text."""
    said = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("column_indexes", ())
    return all(each.get("pandas_type") in _TEXT_LABELS for each in said)


def _has_range_index(schema: pa.Schema) -> bool:
    """Does the table stand for a frame whose index is a range.

    It would be another one of some of the rows.
    """
    try:
        said = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", ())
        return any(isinstance(each, dict) for each in said)
    except (ValueError, AttributeError, TypeError):
        return True


def _stamp(bound: Any) -> pd.Timestamp | None:
    if bound is None:
        return None
    try:
        stamp = pd.Timestamp(bound)
    except (ValueError, TypeError, OverflowError) as exc:
        raise InvalidRequest("between", f"{bound!r:.80} is no time ({exc})") from exc
    if pd.isna(stamp) or isinstance(bound, (int, float)):
        raise InvalidRequest("between", f"{bound!r:.80} is no time; write '2024-01-02' or a Timestamp")
    return stamp


def _ticks(stamp: pd.Timestamp | None, unit: str, zone: Any) -> int | None:
    if stamp is None:
        return None
    if zone is None and stamp.tzinfo is not None:
        raise InvalidRequest("between", f"{stamp} has a time zone, and the times of the data have none")
    if zone is not None and stamp.tzinfo is None:
        try:
            stamp = stamp.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
        except ValueError as exc:  # at the end of what nanoseconds count
            raise InvalidRequest(
                "between", f"{stamp} is beyond all times by the clock of {zone}; leave the side open with None"
            ) from exc
    exact = int(stamp.asm8.view("i8")) * _PER_NS[stamp.unit]
    # Rounded up: what is at or after the bound is so in any unit.
    return -(-exact // _PER_NS[unit])
