"""Results of partitions: trimmed to their time, checked, and put together.

No day changes another by that. A partition's result is what the function returned for its window, from its start up
to its end. All partitions of a feature must return one schema, to the dtype, the category and the note: nothing is
promoted, for then a day's dtype would depend on other days.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.frames import index_and_column_fields
from fstore.increments.cutting import Span
from fstore.increments.times import PER_SECOND, Ints
from fstore.results import FREQUENCY_KEY, UnstorableResult, encode_result


def trimmed(result: object, span: Span, label: str, *, is_zoned: bool, time: str | None = None) -> pa.Table:
    """Return, as it is stored, what a function returned for a partition's window.

    Without the rows around the partition. Raises ``UnstorableResult``, naming the partition, for a result without
    times, or whose times go back, or have a zone where the raw data have none.
    """
    try:
        if isinstance(result, pd.DataFrame | pd.Series):
            return encode_result(_trimmed_frame(result, span, is_zoned=is_zoned))
        return _trimmed_table(encode_result(result), span, is_zoned=is_zoned, time=time)
    except UnstorableResult as error:
        raise UnstorableResult(f"partition {label}: {error}") from error


def joined(tables: Sequence[pa.Table], labels: Sequence[str]) -> pa.Table:
    """Put results together in the order given.

    Raises ``UnstorableResult`` naming the two that do not fit each other.
    """
    first = tables[0]
    for table, label in zip(tables[1:], labels[1:], strict=True):
        if fault := _difference(first, table):
            raise UnstorableResult(
                f"{labels[0]} and {label} do not fit together: {fault}; a feature with partitions returns the same "
                "columns, dtypes and categories for each of them: convert them in the function, whatever its rows hold"
            )
    return first if len(tables) == 1 else pa.concat_tables(tables)


def _trimmed_frame(frame: Any, span: Span, *, is_zoned: bool) -> Any:
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        raise UnstorableResult(
            f"it has an index of {type(index).__name__} and no times, so nobody can tell which rows are of the partition; "
            "return the index of the raw data"
        )
    start, stop = _core(np.asarray(index.asi8), index.unit, index.tz is not None, span, is_zoned=is_zoned)
    part = frame.iloc[start:stop]
    # A frequency is said of a whole, which this is not; whoever wants one gives it to the frame that comes out.
    if index.freq is not None:
        own: Any = index[start:stop]
        own.freq = None
        part = part.set_axis(own)
    return part


def _trimmed_table(table: pa.Table, span: Span, *, is_zoned: bool, time: str | None) -> pa.Table:
    at = table.schema.get_field_index(time) if time is not None else -1
    if at < 0:
        index = index_and_column_fields(table.schema)[1]
        at = index[0] if len(index) == 1 else -1
    if at < 0 or not pa.types.is_timestamp(table.schema.field(at).type):
        raise UnstorableResult(
            "it has no times, so nobody can tell which rows are of the partition; return the column of times that "
            "time= of the declaration names"
        )
    kind, column = table.schema.field(at).type, table.column(at)
    if column.null_count:
        raise UnstorableResult(f"{column.null_count} rows have no time")
    ticks = np.asarray(column.cast(pa.int64()), dtype=np.int64)
    start, stop = _core(ticks, kind.unit, kind.tz is not None, span, is_zoned=is_zoned)
    return _rangeless(table.slice(start, stop - start))


def _rangeless(table: pa.Table) -> pa.Table:
    """Drop the note of a RangeIndex, which a table takes along from the window it was made of."""
    metadata = dict(table.schema.metadata or {})
    if b"pandas" not in metadata:
        return table
    said = json.loads(metadata[b"pandas"])
    kept = [each for each in said.get("index_columns", []) if not isinstance(each, dict)]
    if kept == said.get("index_columns"):
        return table
    return table.replace_schema_metadata({**metadata, b"pandas": json.dumps({**said, "index_columns": kept}).encode()})


def _core(ticks: Ints, unit: str, has_zone: bool, span: Span, *, is_zoned: bool) -> tuple[int, int]:
    if has_zone != is_zoned:
        have, lack = ("its times", "those of the raw data") if has_zone else ("the raw data's times", "its own")
        raise UnstorableResult(f"{have} have a zone and {lack} have none; keep the raw data's index")
    if len(ticks) and (ticks[0] == np.iinfo(np.int64).min or (ticks[1:] < ticks[:-1]).any()):
        raise UnstorableResult("its times go back, or some are missing; return them in order of time")
    per_second = PER_SECOND[unit]
    bounds = np.array([span.start * per_second, span.end * per_second], dtype=np.int64)
    start, stop = np.searchsorted(ticks, bounds, side="left").tolist()
    return start, stop


def _difference(one: pa.Table, other: pa.Table) -> str | None:
    mine, others = one.schema, other.schema
    if mine.names != others.names:
        only = [name for name in (*mine.names, *others.names) if (name in mine.names) != (name in others.names)]
        return f"column {only[0]!r} is in one of them alone" if only else "their columns are in another order"
    for a, b in zip(mine, others, strict=True):
        if str(a.type) != str(b.type) or a.nullable != b.nullable:
            return f"column {a.name!r} is {a.type} in one and {b.type} in the other"
        if pa.types.is_dictionary(a.type) and not _categories(one, a.name).equals(_categories(other, b.name)):
            return f"column {a.name!r} has other categories"
    if _metadata(mine) != _metadata(others):
        return "what pandas makes of their columns differs (dtypes, labels, attrs, or what stands for a missing text)"
    return None


def _categories(table: pa.Table, name: str) -> Any:
    chunks = table.column(name).unify_dictionaries().chunks
    return chunks[0].dictionary if chunks else pa.nulls(0)


def _metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    return {key: value for key, value in (schema.metadata or {}).items() if key != FREQUENCY_KEY}
