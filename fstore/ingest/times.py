"""A column of times as the index of the frame that the data stand for."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest
from fstore.frames import NOTES_KEY, index_and_column_fields, notes_of, restore
from fstore.ingest.rows.zones import NAIVE, UTC_NS, check_zone, in_utc, why_not
from fstore.ingest.time_texts import check_format, check_unit, format_type, from_format, from_unit, is_text


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """Which column holds the times, and in what form; ``date`` names a column of days to put before it.

    Naive times are those of the clocks of ``zone``, if one is said, and become UTC.
    """

    name: str
    unit: str | None = None
    format: str | None = None
    date: str | None = None
    zone: str | None = None

    def __post_init__(self) -> None:
        if self.zone is not None:
            check_zone(self.zone)
        if self.unit is not None and (self.format is not None or self.date is not None):
            raise InvalidRequest("time_unit", "numbers since 1970 have no format and no column of dates")
        if self.unit is not None:
            check_unit(self.unit)
        if self.format is not None:
            check_format(self.format)

    @property
    def as_text(self) -> tuple[str, ...]:
        """The columns that must be read as they are written."""
        if self.date is not None:
            return (self.date, self.name)
        return (self.name,) if self.unit or self.format else ()


class TimeIndex:
    """Makes a column the index and checks, batch after batch, that times are there and in order."""

    def __init__(self, schema: pa.Schema, time: TimeColumn) -> None:
        column = time.name
        self._time = time
        self._column = column
        self._at = schema.get_field_index(column)
        self._plain = kind = _time_type(schema, time)
        if time.zone is not None and time.zone != NAIVE:
            if kind.tz is not None:
                raise InvalidRequest("tz", f"the times of {column!r} say which instants they are; leave out --tz (tz=)")
            kind = UTC_NS
        plain = schema.set(self._at, pa.field(column, kind))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = restore(plain.empty_table())
            if column in frame.columns:
                frame = frame.set_index(column)
            indexed = pa.Table.from_pandas(frame).schema
        # The order of the fields stays; only the metadata say which of them is the index.
        self.schema = _moved_notes(plain, plain.with_metadata({b"pandas": indexed.metadata[b"pandas"]}))
        self._rows = 0
        self._latest: Any = None

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert a batch.

        Raises ``InvalidRequest`` naming the first row that has no time or an earlier one.
        """
        times = batch.column(self._at)
        missing = pc.equal(times.cast(pa.string()), "") if is_text(times.type) else times.is_null()
        if times.null_count or pc.any(missing).as_py():
            row = self._rows + pc.index(pc.fill_null(missing, True), True).as_py()
            raise InvalidRequest("time_column", f"{self._column!r} is empty in row {row}; drop or mend such rows first")
        times = self._in_zone(self._read(batch, times))
        self._check_order(times)
        self._rows += len(times)
        columns = list(batch.columns)
        columns[self._at] = times
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _read(self, batch: pa.RecordBatch, times: pa.Array) -> pa.Array:
        if self._time.date is not None:
            days = batch.column(batch.schema.get_field_index(self._time.date)).cast(pa.string())
            times = pc.binary_join_element_wise(days, times.cast(pa.string()), " ")
            if times.null_count:
                raise InvalidRequest("date_column", f"{self._time.date!r} is empty in some rows; mend them first")
        if self._time.unit is not None:
            return from_unit(times, self._time.unit, self._column)
        if self._time.format is not None:
            return from_format(times, self._time.format, self._column)
        try:
            return times.cast(self._plain)
        except pa.ArrowException as exc:
            raise InvalidRequest(
                "time_column",
                f"{self._column!r} is not a time throughout: {exc}; name its form (time_format) if it is not ISO",
            ) from exc

    def _in_zone(self, times: pa.Array) -> pa.Array:
        zone = self._time.zone
        if zone is None or zone == NAIVE:
            return times
        instants = in_utc(times.cast(pa.timestamp("ns")), zone)
        at = pc.index(instants.bad, True).as_py()
        if at >= 0:
            raise InvalidRequest(
                "time_column",
                f"{self._column!r} in row {self._rows + at}, {times[at].cast(pa.string()).as_py()}, is not {why_not(zone)}",
            )
        return instants.values

    def _check_order(self, times: pa.Array) -> None:
        if not len(times):
            return
        ticks = times.view(pa.int64())
        before = pa.concat_arrays(
            [pa.array([self._latest if self._rows else ticks[0].as_py()], pa.int64()), ticks[:-1]]
        )
        back = pc.index(pc.less(ticks, before), True).as_py()
        if back >= 0:
            raise InvalidRequest(
                "time_column",
                f"{self._column!r} goes back in row {self._rows + back}, to {times[back].cast(pa.string()).as_py()}; "
                "sort the data by time first",
            )
        self._latest = ticks[-1].as_py()


def _moved_notes(before: pa.Schema, after: pa.Schema) -> pa.Schema:
    """Carry the notes on dtypes over to the places the columns have now."""
    notes = notes_of(before)
    by_field: dict[int, str] = {}
    for part, fields in zip(("columns", "index"), index_and_column_fields(before), strict=True):
        by_field |= {fields[int(at)]: note for at, note in notes.get(part, {}).items()}
    moved: dict[str, Any] = {"labels": notes["labels"]} if "labels" in notes else {}
    for part, fields in zip(("columns", "index"), index_and_column_fields(after), strict=True):
        if found := {str(at): by_field[field] for at, field in enumerate(fields) if field in by_field}:
            moved[part] = found
    return after.with_metadata({**after.metadata, NOTES_KEY: json.dumps(moved).encode()}) if moved else after


def _time_type(schema: pa.Schema, time: TimeColumn) -> pa.DataType:
    kind = schema.field(time.name).type
    as_written = is_text(kind) or pa.types.is_integer(kind)
    if time.unit is not None:
        if as_written:
            return pa.timestamp("ns", tz="UTC")
        raise InvalidRequest("time_unit", f"{time.name!r} is {kind}, not whole numbers or text; cast it first")
    if time.format is not None or time.date is not None:
        if as_written:
            return format_type(time.format or "")
        raise InvalidRequest("time_format", f"{time.name!r} is {kind}, not text")
    if pa.types.is_timestamp(kind):
        return kind
    if pa.types.is_date(kind):
        return pa.timestamp("us")
    if is_text(kind):
        return pa.timestamp("ns")
    raise InvalidRequest(
        "time_column",
        f"{time.name!r} is {kind}: cast it to a timestamp first, or name its unit (time_unit) or form "
        "(time_format), which cannot be guessed",
    )
