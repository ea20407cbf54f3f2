"""Series as frames of one column that say what they stand for."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.results.frame_notes import table_to_frame
from fstore.results.stored_frames import frame_to_table
from fstore.results.stored_tables import UnstorableResult, with_metadata

SERIES_KEY = b"fstore.series"


def series_to_table(series: pd.Series[Any]) -> pa.Table:
    """Convert a Series that has a name.

    Raises ``UnstorableResult`` for others, and naming the part that cannot be kept.
    """
    if series.name is None:
        raise UnstorableResult(
            "the feature function returned a Series without a name; name it (result.rename('x')), or return result.to_frame()"
        )
    table = frame_to_table(as_frame(series))
    # The columns that stand for it: a table of others made from this one stands for a frame.
    note = json.dumps(table.schema.names).encode()
    return with_metadata(table, {**(table.schema.metadata or {}), SERIES_KEY: note})


def is_series(table: pa.Table) -> bool:
    """Tell whether a table stands for a Series."""
    note = (table.schema.metadata or {}).get(SERIES_KEY)
    return note is not None and json.loads(note) == table.schema.names


def table_to_series(table: pa.Table) -> pd.Series[Any]:
    """Make the Series again that ``series_to_table`` was given."""
    frame = table_to_frame(table)
    series: pd.Series[Any] = frame.iloc[:, 0]
    series.name = frame.columns[:1].tolist()[0]  # as its owner wrote it: 0 and no np.int64(0)
    series.attrs = frame.attrs
    return series.set_flags(allows_duplicate_labels=frame.flags.allows_duplicate_labels)


def as_frame(series: pd.Series[Any]) -> pd.DataFrame:
    """Return the frame of its one column, with all that a Series has beside its values."""
    frame = pd.DataFrame(series)  # of a subclass, too
    frame.columns = pd.Index([series.name], tupleize_cols=False)
    frame.attrs = series.attrs
    return frame.set_flags(allows_duplicate_labels=series.flags.allows_duplicate_labels)
