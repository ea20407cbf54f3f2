"""Tables to frames as pandas does it where no option was ever set.

Text without a dtype is ``str``, labels included.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.frames.notes import STR, apply_note, text_name
from fstore.frames.parts import level_at

_PARALLEL_FROM = 4 << 20  # below, starting threads costs more than they bring


def plain_frame(table: pa.Table) -> pd.DataFrame:
    """Convert a table; whatever pandas and Arrow make by themselves of its types and of pandas' metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame: pd.DataFrame = table.to_pandas(use_threads=table.nbytes > _PARALLEL_FROM, types_mapper=_wanted_dtype)
    _use_pandas_utc(frame)
    levels = label_levels(frame.columns)
    if any(is_unmended(level.dtype) for level in levels):
        texts = {str(at): "str" for at, level in enumerate(levels) if is_all_text(level)}
        frame.columns = mended_labels(frame.columns, texts)
    return frame


def _use_pandas_utc(frame: pd.DataFrame) -> None:
    """Put pandas' own object for UTC in the place of the equal one that Arrow makes."""
    for at, dtype in enumerate(frame.dtypes):
        if _is_arrows_utc(dtype):
            frame.isetitem(at, frame.iloc[:, at].dt.tz_convert(UTC))
    index = frame.index
    if isinstance(index, pd.DatetimeIndex) and _is_arrows_utc(index.dtype):
        frame.index = index.tz_convert(UTC)
    elif isinstance(index, pd.MultiIndex):
        for at, level in enumerate(index.levels):
            if _is_arrows_utc(level.dtype):
                index = index.set_levels(level.tz_convert(UTC), level=at)  # type: ignore[attr-defined]
        frame.index = index


def _is_arrows_utc(dtype: object) -> bool:
    return isinstance(dtype, pd.DatetimeTZDtype) and isinstance(dtype.tz, ZoneInfo) and dtype.tz.key == "UTC"


def label_levels(labels: pd.Index) -> list[pd.Index]:
    """List the levels of column labels, each as long as the labels."""
    return [labels] if labels.nlevels == 1 else [level_at(labels, i) for i in range(labels.nlevels)]


def is_string(kind: pa.DataType) -> bool:
    """Is this one of Arrow's types of text."""
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _wanted_dtype(kind: pa.DataType) -> Any:
    if isinstance(kind, pa.BaseExtensionType):  # of an index Arrow would take the storage
        with suppress(NotImplementedError):
            return kind.to_pandas_dtype()
    return STR if is_string(kind) else None


def is_unmended(dtype: Any) -> bool:
    """May text be of this dtype only because of an option or of a note."""
    return bool(dtype == np.dtype(object) or (isinstance(dtype, pd.StringDtype) and text_name(dtype) != text_name(STR)))


def is_all_text(level: pd.Index) -> bool:
    """Are there labels, and nothing but texts."""
    return len(level) > 0 and all(isinstance(value, str) for value in level)


def mended_labels(labels: pd.Index, notes: Any) -> pd.Index:
    """Give label levels the dtypes of their notes, by position."""
    if notes == "object":  # as notes once were written
        notes = {"0": "object:None"}
    levels = label_levels(labels)
    for at, note in notes.items():
        level = levels[int(at)]
        levels[int(at)] = level.astype(STR) if note == "str" else apply_note(level, note, None)
    names = list(labels.names)
    mended = levels[0] if labels.nlevels == 1 else pd.MultiIndex.from_arrays(levels, names=names)
    mended.names = names
    return mended
