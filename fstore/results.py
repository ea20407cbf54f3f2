"""Results as tables and back: what is read equals what the feature function returned."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.tseries.frequencies import to_offset

from fstore import fingerprint
from fstore.content.dtypes import NOTES_KEY
from fstore.content.number_frames import number_frame_over, own_index
from fstore.errors import UnhashableInput

_FREQUENCY = b"fstore.index_freq"


class UnstorableResult(TypeError):
    """A feature function returned something that cannot be stored and read back unchanged."""


def encode(result: object) -> pa.Table:
    """Turn what a feature function returned into a table that ``decode`` turns back into an equal frame.

    Takes a pandas DataFrame, a pyarrow Table, or anything with ``__arrow_c_stream__``.
    Raises ``UnstorableResult`` for anything else and for frames that would come
    back changed.
    """
    if isinstance(result, pa.Table):
        return result
    if not isinstance(result, pd.DataFrame):
        if hasattr(result, "__arrow_c_stream__") and not isinstance(result, pd.Series):
            return pa.table(result)
        raise UnstorableResult(
            f"the feature function returned {type(result).__name__}; return a pandas DataFrame or a pyarrow Table"
            + (" (result.to_frame() makes one of a Series)" if isinstance(result, pd.Series) else "")
        )
    if not result.columns.is_unique:
        twice = sorted({str(name) for name in result.columns[result.columns.duplicated()]})
        raise UnstorableResult(f"the feature function returned duplicate column names: {', '.join(twice)}; rename them")
    try:
        table = fingerprint.to_table(result)
    except UnhashableInput:
        table = _table_of_anything(result)
    frequency = getattr(result.index, "freqstr", None) if isinstance(result.index, pd.DatetimeIndex) else None
    if frequency:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _FREQUENCY: frequency.encode()})
    return table


def decode(table: pa.Table) -> pd.DataFrame:
    """Return the frame a table was made of: values, dtypes, column order, index with its name, freq and time zone."""
    return _with_frequency(fingerprint.to_frame(table), table)


def decode_over(table: pa.Table) -> pd.DataFrame | None:
    """Return the same frame over the table's own memory, read-only, or None where not all of it can lie there."""
    frame = None if NOTES_KEY in (table.schema.metadata or {}) else number_frame_over(table)
    return None if frame is None else _with_frequency(frame, table)


def hand_out(base: pd.DataFrame, *, deep: bool = False) -> pd.DataFrame:
    """Return a frame that copies what is written to, for as long as ``base`` lives, or one with values of its own.

    Its index and labels are its own in any case.
    """
    frame = base.copy(deep=deep)
    frame.index, frame.columns = own_index(base.index), own_index(base.columns)
    return frame


def check_faithful(result: object, restored: pa.Table) -> None:
    """Raise ``UnstorableResult`` unless ``restored``, read back from disk, decodes to the very frame that was returned."""
    if not isinstance(result, pd.DataFrame):
        return
    if fault := _difference(result, decode(restored)):
        raise UnstorableResult(
            f"the returned frame would come back changed: {fault}; convert that column or index to a plain dtype"
        )


def time_bounds(table: pa.Table) -> tuple[datetime | None, datetime | None]:
    """Return the first and last instant of a table's time index (naive times count as UTC), or of its first timestamp column."""
    column = next((table.column(i) for i in _time_candidates(table)), None)
    if column is None or len(column) == 0:
        return None, None
    bounds = pc.min_max(column)
    return _instant(bounds["min"]), _instant(bounds["max"])


def _with_frequency(frame: pd.DataFrame, table: pa.Table) -> pd.DataFrame:
    if frequency := (table.schema.metadata or {}).get(_FREQUENCY):
        index: Any = frame.index
        name = frequency.decode()
        if isinstance(to_offset(name), pd.offsets.Tick) and index.tz is not None:
            # Seconds are as long everywhere, and pandas checks a frequency in UTC in half the time.
            frame.index = pd.DatetimeIndex(index.tz_convert("UTC"), freq=name, copy=False).tz_convert(index.tz)
        else:
            frame.index = pd.DatetimeIndex(index, freq=name, copy=False)
    return frame


def _table_of_anything(result: pd.DataFrame) -> pa.Table:
    """Convert columns that no key could be made of, lists for example; ``check_faithful`` has the last word."""
    try:
        return pa.Table.from_pandas(result)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UnstorableResult(f"the feature function returned a frame that Parquet cannot hold: {error}") from error


def _difference(result: pd.DataFrame, again: pd.DataFrame) -> str | None:
    labels, index = result.columns, result.index
    if not (labels.equals(again.columns) and labels.names == again.columns.names):
        return "the column labels"
    if labels.dtype != again.columns.dtype:
        return f"the column labels of dtype {labels.dtype}"
    if index.dtype != again.index.dtype or list(index.names) != list(again.index.names):
        return f"the index of dtype {index.dtype}"
    if not index.equals(again.index):
        return "the index"
    return None if result.equals(again) else _changed_column(result, again)


def _changed_column(result: pd.DataFrame, again: pd.DataFrame) -> str:
    for at, (label, dtype) in enumerate(zip(result.columns, result.dtypes, strict=True)):
        if dtype != again.dtypes.iloc[at]:
            return f"column {label!r} of dtype {dtype}"
        if not result.iloc[:, at].equals(again.iloc[:, at]):
            return f"the values of column {label!r}"
    return "its values"


def _time_candidates(table: pa.Table) -> list[int]:
    described = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    indexes = [
        table.schema.get_field_index(name) for name in described.get("index_columns", ()) if isinstance(name, str)
    ]
    order = [*indexes, *range(table.num_columns)]
    return [i for i in order if i >= 0 and pa.types.is_timestamp(table.schema.field(i).type)]


def _instant(scalar: Any) -> datetime | None:
    if not scalar.is_valid:
        return None
    stamp = pd.Timestamp(scalar.cast(pa.timestamp("us", scalar.type.tz), safe=False).as_py())
    aware = stamp.tz_localize(UTC) if stamp.tzinfo is None else stamp.tz_convert(UTC)
    return aware.to_pydatetime()
