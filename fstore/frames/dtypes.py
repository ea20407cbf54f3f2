"""What pandas makes of an Arrow schema.

The same in every process, whatever its options and its history. Arrow's pandas metadata bring back most frames
exactly, and notes (``fstore.frames.notes``) the rest. pandas decides some things by its options: what text without
a dtype becomes, which storage it has. Here nothing is left to them. Its two Arrow types, of periods and intervals,
are known to Arrow only after pandas used one; it does so below.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fstore.frames.notes import NOTES_KEY, STR, apply_note, marker_in, note_for, notes_of, text_name, without
from fstore.frames.number_frames import number_frame
from fstore.frames.parts import level_at
from fstore.frames.plain_frames import is_all_text, is_string, is_unmended, label_levels, mended_labels, plain_frame
from fstore.frames.zones import zone_name

__all__ = ["NOTES_KEY", "dtype_name", "index_and_column_fields", "missing_notes", "notes_of", "restore"]

_TEXTS: dict[str, Any] = {
    "str": STR,
    "string": pd.StringDtype("pyarrow"),
    "string[pyarrow]": pd.StringDtype("pyarrow"),
    "string[python]": pd.StringDtype("python"),
}

pa.array(pd.PeriodIndex([], dtype="period[D]").array)  # makes pandas register both of its types


def dtype_name(dtype: Any) -> str:
    """Name a pandas dtype so that two dtypes with different behaviour never share a name.

    Categories are not part of it.
    """
    if isinstance(dtype, pd.StringDtype):
        return text_name(dtype)
    if isinstance(dtype, pd.ArrowDtype):
        return f"arrow[{_exact_name(dtype.pyarrow_dtype)}]"
    if isinstance(dtype, pd.CategoricalDtype):
        return "category[ordered]" if dtype.ordered else "category[unordered]"
    if isinstance(dtype, pd.IntervalDtype) and isinstance(dtype.subtype, pd.DatetimeTZDtype):
        return f"interval[{dtype_name(dtype.subtype)}, {dtype.closed}]"
    if isinstance(dtype, pd.DatetimeTZDtype) and zone_name(dtype.tz) is None:
        return f"{dtype} of {dtype.tz!r}"
    return str(dtype)


def _exact_name(kind: pa.DataType) -> str:
    """Name an Arrow type as pandas compares it.

    string and large_string differ, the name of a list's item does not count.
    """
    return re.sub(r"(?<=list<|view<)\w+: | \('\w+'\)", "", str(kind))


def restore(table: pa.Table) -> pd.DataFrame:
    """Convert to the frame the table stands for, with memory of its own.

    What ``to_pandas`` gives, with the notes applied.
    """
    if NOTES_KEY not in (table.schema.metadata or {}) and (simple := number_frame(table)) is not None:
        return simple
    frame = plain_frame(table)
    columns, index = index_and_column_fields(table.schema)
    _mend_columns(frame, table, columns)
    notes = notes_of(table.schema)
    for position, note in notes.get("columns", {}).items():
        at = int(position)
        frame.isetitem(at, apply_note(frame.iloc[:, at], note, table.column(columns[at])))
    _mend_index(frame, table, index, notes)
    if "labels" in notes:
        frame.columns = mended_labels(frame.columns, notes["labels"])
    return frame


def index_and_column_fields(schema: pa.Schema) -> tuple[list[int], list[int]]:
    """Split the fields of a schema into the frame's columns and its index levels.

    By position and in order.
    """
    described = schema.pandas_metadata or {}
    levels = [name for name in described.get("index_columns", []) if isinstance(name, str)]
    index = [schema.get_field_index(name) for name in levels]
    index = [position for position in index if position >= 0]
    return [i for i in range(len(schema)) if i not in index], index


def missing_notes(
    frame: pd.DataFrame, restored: pd.DataFrame, missing: list[str | None], *, kept: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Find the notes that ``restored`` needs to become ``frame``.

    ``missing`` says what stands for null, by column and level. Of ``kept`` the notes on categories are taken over:
    a frame without rows does not show its own.
    """
    notes: dict[str, Any] = {}
    for part in ("columns", "index"):
        said = {at: note for at, note in (kept or {}).get(part, {}).items() if note.startswith("category:")}
        if said:
            notes[part] = said
    for i, dtype in enumerate(frame.dtypes):
        if _differ(dtype, restored.dtypes.iloc[i]):
            notes.setdefault("columns", {})[str(i)] = note_for(dtype, missing[i])
    if not isinstance(frame.index, pd.RangeIndex):
        if isinstance(frame.index, pd.MultiIndex) and frame.index.nlevels == 1:
            notes["levels"] = "1"
        for i in range(frame.index.nlevels):
            dtype = level_at(frame.index, i)[:0].dtype
            if _differ(dtype, level_at(restored.index, i).dtype):
                notes.setdefault("index", {})[str(i)] = note_for(dtype, missing[len(frame.columns) + i])
    for i, level in enumerate(label_levels(frame.columns)):
        if len(level) and is_unmended(level.dtype) and is_all_text(level):
            notes.setdefault("labels", {})[str(i)] = note_for(level.dtype, "None")
    return notes


def markers(schema: pa.Schema) -> list[str | None]:
    """List what stands for null in the columns, then the index levels, by the notes of a schema."""
    notes = notes_of(schema)
    return [
        marker_in(notes.get(part, {}).get(str(at)))
        for part, fields in zip(("columns", "index"), index_and_column_fields(schema), strict=True)
        for at in range(len(fields))
    ]


def without_notes(schema: pa.Schema, gone: list[int]) -> dict[bytes, bytes]:
    """Return a schema's metadata without the notes on these fields."""
    return without(schema, index_and_column_fields(schema), gone)


def _differ(wanted: Any, found: Any) -> bool:
    if dtype_name(wanted) != dtype_name(found):
        return True
    if not isinstance(wanted, pd.CategoricalDtype):
        return False
    one, other = wanted.categories.dtype, found.categories.dtype
    return len(wanted.categories) > 0 and one != other and (one == np.dtype(object) or isinstance(one, pd.StringDtype))


def _mend_columns(frame: pd.DataFrame, table: pa.Table, columns: list[int]) -> None:
    texts = _texts_said((table.schema.metadata or {}).get(b"pandas", b""))
    for at, dtype in enumerate(frame.dtypes):
        field = table.schema.field(columns[at])
        if isinstance(dtype, pd.CategoricalDtype):  # Arrow leaves the codes where they are, read-only
            frame.isetitem(at, _mended_category(frame.iloc[:, at].array.copy(), field.type))
        elif isinstance(dtype, (pd.Float32Dtype, pd.Float64Dtype)):
            frame.isetitem(at, _masked(table.column(columns[at]), dtype))
        elif (text := texts.get(field.name)) and dtype_name(dtype) != dtype_name(text):
            converted: Any = frame.iloc[:, at].astype(text)
            frame.isetitem(at, converted)


@lru_cache(maxsize=512)
def _texts_said(described: bytes) -> dict[str, Any]:
    """Read which columns pandas' metadata call text, and of which dtype.

    By an option it would choose the storage.
    """
    said = json.loads(described)["columns"] if described else []
    return {e.get("field_name", e["name"]): _TEXTS[e["numpy_type"]] for e in said if e["numpy_type"] in _TEXTS}


def _mended_category(values: Any, kind: pa.DataType) -> Any:
    """Give categories of text the dtype ``str``."""
    if not pa.types.is_dictionary(kind) or not is_string(kind.value_type):
        return values
    return values.rename_categories(values.categories.astype(STR)) if values.categories.dtype != STR else values


def _masked(column: pa.ChunkedArray, dtype: Any) -> Any:
    """Build masked numbers of values and mask: by itself pandas takes NaN for missing."""
    values = pc.fill_null(column, 0).to_numpy().astype(dtype.numpy_dtype, copy=True)
    made = pd.array(values, dtype=dtype)
    return type(made)(values, np.array(pc.is_null(column).to_numpy(), dtype=bool))


def _mend_index(frame: pd.DataFrame, table: pa.Table, fields: list[int], notes: dict[str, Any]) -> None:
    if not fields:
        return
    levels: dict[int, Any] = {}
    for at, field in enumerate(fields):
        level: Any = level_at(frame.index, at)
        if isinstance(level.dtype, pd.CategoricalDtype) and level.categories.dtype != STR:
            mended = _mended_category(level.array, table.schema.field(field).type)
            if mended is not level.array:
                levels[at] = pd.CategoricalIndex(mended, name=level.name)
    for position, note in notes.get("index", {}).items():
        at = int(position)
        before = levels.get(at, level_at(frame.index, at))
        levels[at] = apply_note(before, note, table.column(fields[at]))
    for at, level in levels.items():
        if isinstance(level.dtype, (pd.Float32Dtype, pd.Float64Dtype)):
            levels[at] = pd.Index(_masked(table.column(fields[at]), level.dtype), name=level.name)
    if levels or "levels" in notes:
        arrays = [levels.get(i, level_at(frame.index, i)) for i in range(frame.index.nlevels)]
        names = list(frame.index.names)
        is_plain = len(arrays) == 1 and "levels" not in notes
        frame.index = arrays[0] if is_plain else pd.MultiIndex.from_arrays(arrays, names=names)
        frame.index.names = names
