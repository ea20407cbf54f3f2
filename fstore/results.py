"""Results as tables and back: what is read equals what the feature function returned."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fstore import fingerprint
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


def decode(table: pa.Table, *, shared: bool = False) -> pd.DataFrame:
    """Return the frame a table was made of: values, dtypes, column order, index with its name, freq and time zone.

    A ``shared`` frame lies over the table's memory where types allow: read-only.
    """
    frame = fingerprint.to_frame(table, shared=shared)
    if frequency := (table.schema.metadata or {}).get(_FREQUENCY):
        frame.index = _with_frequency(frame.index, frequency.decode())
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


def _with_frequency(index: pd.Index, name: str) -> pd.DatetimeIndex:
    if isinstance(pd.tseries.frequencies.to_offset(name), pd.offsets.Tick) and isinstance(
        index.dtype, pd.DatetimeTZDtype
    ):
        # Seconds are as long everywhere, and pandas checks a frequency in UTC in half the time.
        return pd.DatetimeIndex(index.tz_convert("UTC"), freq=name).tz_convert(index.tz)  # type: ignore[attr-defined]
    return pd.DatetimeIndex(index, freq=name)


def _table_of_anything(result: pd.DataFrame) -> pa.Table:
    """Convert columns that no key could be made of, lists for example; ``check_faithful`` has the last word."""
    try:
        return pa.Table.from_pandas(result)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UnstorableResult(f"the feature function returned a frame that Parquet cannot hold: {error}") from error


def _difference(result: pd.DataFrame, again: pd.DataFrame) -> str | None:
    if not (result.columns.equals(again.columns) and result.columns.names == again.columns.names):
        return "the column labels"
    same = result.equals(again)  # the dtypes of the columns too, but of the labels only the values
    for label, dtype, restored in () if same else zip(result.columns, result.dtypes, again.dtypes, strict=True):
        if dtype != restored:
            return f"column {label!r} of dtype {dtype}"
    if result.index.dtype != again.index.dtype or list(result.index.names) != list(again.index.names):
        return f"the index of dtype {result.index.dtype}"
    if not result.index.equals(again.index):
        return "the index"
    if not same:
        changed = next((label for label in result.columns if not result[label].equals(again[label])), "?")
        return f"the values of column {changed!r}"
    return None


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
