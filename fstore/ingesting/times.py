"""A column of times as the index of the frame that the data stand for."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fstore.content.dtypes import NOTES_KEY, index_and_column_fields, notes_of, restore
from fstore.errors import InvalidRequest


class TimeIndex:
    """Makes ``column`` the index and checks, batch after batch, that times are there and in order."""

    def __init__(self, schema: pa.Schema, column: str) -> None:
        self._column = column
        self._at = schema.get_field_index(column)
        kind = _time_type(schema.field(self._at).type, column)
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
        """Convert a batch, or raise ``InvalidRequest`` naming the first row that has no time or an earlier one."""
        times = batch.column(self._at)
        try:
            times = times.cast(self.schema.field(self._at).type)
        except pa.ArrowException as exc:
            raise InvalidRequest("time_column", f"{self._column!r} is not a time throughout: {exc}") from exc
        if times.null_count:
            row = self._rows + pc.index(times.is_null(), True).as_py()
            raise InvalidRequest("time_column", f"{self._column!r} is empty in row {row}; drop or mend such rows first")
        self._check_order(times)
        self._rows += len(times)
        columns = list(batch.columns)
        columns[self._at] = times
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

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


def _time_type(kind: pa.DataType, column: str) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return kind
    if pa.types.is_date(kind):
        return pa.timestamp("us")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.timestamp("ns")
    raise InvalidRequest(
        "time_column", f"{column!r} is {kind}: cast it to a timestamp first, its unit cannot be guessed"
    )
