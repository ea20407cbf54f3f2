"""What pandas makes of an Arrow schema, and the notes that mend what plain ``to_pandas`` would lose.

Arrow's pandas metadata bring back most frames exactly. Six kinds of column or index
come back as another dtype: object columns of strings, strings of another storage,
``ArrowDtype`` strings, masked index levels and object categories. For these a *note*
is kept in the schema's metadata under ``NOTES_KEY``; ``restore`` applies it.
"""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.content.number_frames import number_frame

NOTES_KEY = b"fstore.dtypes"
_PARALLEL_FROM = 4 << 20  # below, starting threads costs more than they bring


def dtype_name(dtype: Any) -> str:
    """Name a pandas dtype so that two dtypes with different behaviour never share a name; categories are not part of it."""
    if isinstance(dtype, pd.StringDtype):
        return f"string[{dtype.storage}, {'NA' if dtype.na_value is pd.NA else 'nan'}]"
    if isinstance(dtype, pd.ArrowDtype):
        return f"arrow[{_exact_name(dtype.pyarrow_dtype)}]"
    if isinstance(dtype, pd.CategoricalDtype):
        return "category[ordered]" if dtype.ordered else "category[unordered]"
    if isinstance(dtype, pd.DatetimeTZDtype) and not _is_named_rightly(dtype):
        return f"{dtype} of {dtype.tz!r}"
    return str(dtype)


def _is_named_rightly(dtype: pd.DatetimeTZDtype) -> bool:
    """Tell whether the zone's name, all that Arrow keeps of it, stands for this zone: anybody may call an hour's offset UTC."""
    try:
        return dtype == pd.DatetimeTZDtype(dtype.unit, pa.lib.string_to_tzinfo(pa.lib.tzinfo_to_string(dtype.tz)))
    except (pa.ArrowException, ValueError, KeyError, TypeError):
        return True  # Arrow refuses it by itself


def _exact_name(kind: pa.DataType) -> str:
    """Name an Arrow type as pandas compares it: string and large_string differ, the name of a list's item does not count."""
    return re.sub(r"(?<=list<|view<)\w+: | \('\w+'\)", "", str(kind))


def note_for(dtype: Any, missing: str | None) -> str:
    """Say how ``restore`` gets this dtype back; ``missing`` is what stands for null in an object column."""
    if dtype == np.dtype(object):
        return f"object:{missing}"
    if isinstance(dtype, pd.CategoricalDtype):
        return "category:object"
    if isinstance(dtype, pd.ArrowDtype):
        return "arrow"
    return dtype_name(dtype) if isinstance(dtype, pd.StringDtype) else f"dtype:{dtype}"


def notes_of(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """Read the notes of a schema: by ``"columns"`` and ``"index"``, position to note."""
    text = (schema.metadata or {}).get(NOTES_KEY)
    found: dict[str, dict[str, str]] = json.loads(text) if text else {}
    return found


def restore(table: pa.Table) -> pd.DataFrame:
    """Convert to the frame the table stands for, with memory of its own: what ``to_pandas`` gives, with the notes applied."""
    if NOTES_KEY not in (table.schema.metadata or {}) and (simple := number_frame(table)) is not None:
        return simple
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame: pd.DataFrame = table.to_pandas(use_threads=table.nbytes > _PARALLEL_FROM)
    for at, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.CategoricalDtype):  # Arrow leaves the codes where they are, read-only
            frame.isetitem(at, frame.iloc[:, at].array.copy())
    notes = notes_of(table.schema)
    if not notes:
        return frame
    columns, index = index_and_column_fields(table.schema)
    for position, note in notes.get("columns", {}).items():
        at = int(position)
        frame.isetitem(at, _apply(frame.iloc[:, at], note, table.column(columns[at])))
    levels: dict[int, Any] = {}
    for position, note in notes.get("index", {}).items():
        at = int(position)
        levels[at] = _apply(frame.index.get_level_values(at), note, table.column(index[at]))
    if levels:
        arrays = [levels.get(i, frame.index.get_level_values(i)) for i in range(frame.index.nlevels)]
        names = list(frame.index.names)
        frame.index = arrays[0] if len(arrays) == 1 else pd.MultiIndex.from_arrays(arrays, names=names)
        frame.index.names = names
    if "labels" in notes:
        frame.columns = frame.columns.astype(object)
    return frame


def index_and_column_fields(schema: pa.Schema) -> tuple[list[int], list[int]]:
    """Split the fields of a schema into the frame's columns and its index levels, by position and in order."""
    described = schema.pandas_metadata or {}
    levels = [name for name in described.get("index_columns", []) if isinstance(name, str)]
    index = [schema.get_field_index(name) for name in levels]
    index = [position for position in index if position >= 0]
    return [i for i in range(len(schema)) if i not in index], index


def _apply(values: Any, note: str, column: pa.ChunkedArray) -> Any:
    if note.startswith("object:"):
        marker = {"None": None, "nan": np.nan, "NA": pd.NA}[note.removeprefix("object:")]
        objects = values.astype(object).to_numpy(copy=True)
        objects[pd.isna(objects)] = marker
        if isinstance(values, pd.Index):
            return pd.Index(objects, dtype=object, name=values.name)
        return pd.Series(objects, dtype=object, index=values.index, name=values.name)
    if note == "category:object":
        categorical = pd.Categorical(values)
        plain: Any = categorical.categories.astype(object)
        renamed = categorical.rename_categories(plain)
        return (
            pd.CategoricalIndex(renamed, name=values.name)
            if isinstance(values, pd.Index)
            else pd.Series(renamed, index=values.index)
        )
    if note == "arrow":
        exact: Any = pd.array(column, dtype=pd.ArrowDtype(column.type))
        return (
            pd.Index(exact, name=values.name) if isinstance(values, pd.Index) else pd.Series(exact, index=values.index)
        )
    if note.startswith("string["):
        storage: Any
        storage, na = note.removeprefix("string[").removesuffix("]").split(", ")
        return values.astype(pd.StringDtype(storage, na_value=np.nan if na == "nan" else pd.NA))
    return values.astype(note.removeprefix("dtype:"))
