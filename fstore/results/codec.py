"""Results as tables and back: what is read equals what the feature function returned."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import UnhashableInput
from fstore.frames import NOTES_KEY, number_frame_over, own_index, refuse_objects
from fstore.results.frame_notes import has_simple_notes, table_to_frame, with_simple_notes
from fstore.results.likeness import frame_difference, series_difference, table_difference
from fstore.results.plain_results import is_surely_same, plain_table, remember_same, remember_table
from fstore.results.stored_frames import frame_to_table
from fstore.results.stored_series import SERIES_KEY, is_series, series_to_table, table_to_series
from fstore.results.stored_tables import UnstorableResult

__all__ = [
    "UnstorableResult",
    "check_faithful",
    "decode_result",
    "encode_result",
    "hand_out_frame",
    "map_result",
    "time_bounds",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def encode_result(result: object) -> pa.Table:
    """Turn what a feature function returned into a table.

    ``decode_result`` turns it back into an equal frame. Takes a pandas DataFrame, a named Series, a pyarrow Table,
    or anything with ``__arrow_c_stream__``, which is read. Raises ``UnstorableResult``, naming the column, for
    anything else and for frames that would come back changed.
    """
    if isinstance(result, pa.Table):
        return result
    if isinstance(result, pd.Series):
        return series_to_table(result)
    if not isinstance(result, pd.DataFrame):
        return _table_of_stream(result)
    if (quick := plain_table(result)) is not None:
        return quick
    if not result.columns.is_unique:
        twice = sorted({str(name) for name in result.columns[result.columns.duplicated()]})
        raise UnstorableResult(f"the feature function returned duplicate column names: {', '.join(twice)}; rename them")
    table = frame_to_table(result)
    remember_table(result, table)
    return table


def decode_result(table: pa.Table) -> Any:
    """Return the frame or Series a table was made of.

    Values, dtypes, labels, index with its names, freq and time zone, attrs.
    """
    return table_to_series(table) if is_series(table) else table_to_frame(table)


def map_result(table: pa.Table) -> pd.DataFrame | None:
    """Return the same frame over the table's own memory, read-only.

    None where not all of it can lie there.
    """
    is_plain = {SERIES_KEY, NOTES_KEY}.isdisjoint(table.schema.metadata or {})
    simple = is_plain and has_simple_notes(table)
    frame = number_frame_over(table) if simple else None
    return None if frame is None else with_simple_notes(frame, table)


def hand_out_frame(base: pd.DataFrame, *, deep: bool = False) -> pd.DataFrame:
    """Return a frame that copies what is written to, for as long as ``base`` lives.

    Or one with values of its own. Its index and labels are its own in any case.
    """
    frame = base.copy(deep=deep)
    frame.index, frame.columns = own_index(base.index), own_index(base.columns)
    return frame


def check_faithful(result: object, restored: pa.Table) -> None:
    """Raise ``UnstorableResult`` unless ``restored`` stands for the very result that was returned.

    It was read back from disk; the result is a frame or table.
    """
    try:
        if isinstance(result, pd.DataFrame):
            if is_surely_same(result, restored):
                return
            what, fault = "frame", frame_difference(result, decode_result(restored))
            if not fault:
                remember_same(result, restored)
        elif isinstance(result, pd.Series):
            what, fault = "Series", series_difference(result, decode_result(restored))
        else:
            what, fault = "table", table_difference(encode_result(result), restored)
            if not fault:
                decode_result(restored)  # whoever wants pandas must get a frame of it
    except (UnstorableResult, MemoryError):
        raise
    except UnhashableInput as refusal:
        raise UnstorableResult(
            f"no frame can be made of what the feature function returned: {refusal.where}: {refusal.reason}"
        ) from refusal
    except Exception as error:  # whatever it is, the function's author is told, and nothing is stored
        raise UnstorableResult(
            f"what the feature function returned cannot be read back as it was ({type(error).__name__}: {error}); "
            "convert its columns and index to plain dtypes"
        ) from error
    if fault:
        raise UnstorableResult(
            f"the returned {what} would come back changed: {fault}; convert that column or index to a plain dtype"
        )


def time_bounds(table: pa.Table) -> tuple[datetime | None, datetime | None]:
    """Return the first and last instant of a table's time index.

    Naive times count as UTC; without one its first timestamp column is taken. A bound outside the years 1 to 9999
    is left out, for no ``datetime`` can hold it.
    """
    column = next((table.column(i) for i in _time_candidates(table)), None)
    if column is None or len(column) == 0:
        return None, None
    counts = pc.min_max(column.cast(pa.int64()))
    per_second = _PER_SECOND[column.type.unit]
    return _instant(counts["min"].as_py(), per_second), _instant(counts["max"].as_py(), per_second)


def _table_of_stream(result: Any) -> pa.Table:
    if isinstance(result, type):  # it has the methods of its instances
        raise UnstorableResult(f"the feature function returned the class {result.__name__}; return an object of it")
    try:
        refuse_objects(result)
    except UnhashableInput as refusal:
        raise UnstorableResult(f"column {refusal.where}: {refusal.reason}") from None
    if hasattr(result, "__arrow_c_stream__"):
        try:
            return pa.table(result)
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
            raise UnstorableResult(
                f"the feature function returned {type(result).__name__}, of which Arrow makes no table: {error}"
            ) from error
    raise UnstorableResult(
        f"the feature function returned {type(result).__name__}; return a pandas DataFrame, a named Series or a pyarrow Table"
    )


def _time_candidates(table: pa.Table) -> list[int]:
    if not any(map(pa.types.is_timestamp, table.schema.types)):
        return []
    try:
        described = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", ())
    except (ValueError, AttributeError):  # a table may carry anything
        described = ()
    indexes = [table.schema.get_field_index(name) for name in described if isinstance(name, str)]
    order = [*indexes, *range(table.num_columns)]
    return [i for i in order if i >= 0 and pa.types.is_timestamp(table.schema.field(i).type)]


def _instant(count: int | None, per_second: int) -> datetime | None:
    if count is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=count * 10**6 // per_second)
    except OverflowError:
        return None
