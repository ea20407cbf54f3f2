"""A schema's metadata: pandas' own, written in one way, and notes.

Notes mend what they would lose of a frame's dtypes. The notes lie under ``NOTES_KEY`` as JSON: by ``"columns"``,
``"index"`` and ``"labels"``, position to note. A note says how to get a dtype back: ``object:<what stands for
null>``, ``category:<dtype of text categories>``, ``arrow``, ``string[...]`` or ``dtype:<name>``. ``"levels": "1"``
marks a MultiIndex of one level.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.frames.parts import level_at

NOTES_KEY = b"fstore.dtypes"
STR: Any = pd.StringDtype(
    "pyarrow", na_value=np.nan
)  # what text is if nothing else is said, whatever pandas' options say


def note_for(dtype: Any, missing: str | None) -> str:
    """Say how ``apply_note`` gets this dtype back.

    ``missing`` is what stands for null in an object column.
    """
    if dtype == np.dtype(object):
        return f"object:{missing}"
    if isinstance(dtype, pd.CategoricalDtype):
        kind = dtype.categories.dtype
        return f"category:{text_name(kind) if isinstance(kind, pd.StringDtype) else 'object'}"
    if isinstance(dtype, pd.ArrowDtype):
        return "arrow"
    return text_name(dtype) if isinstance(dtype, pd.StringDtype) else f"dtype:{dtype}"


def notes_of(schema: pa.Schema) -> dict[str, Any]:
    """Read the notes of a schema."""
    text = (schema.metadata or {}).get(NOTES_KEY)
    found: dict[str, Any] = json.loads(text) if text else {}
    return found


def marker_in(note: str | None) -> str:
    """Read from the note of an object column what stands for null."""
    return note.removeprefix("object:") if note and note.startswith("object:") else "None"


def without(
    schema: pa.Schema, positions: tuple[Sequence[int], Sequence[int]], gone: Collection[int]
) -> dict[bytes, bytes]:
    """Return the schema's metadata without the notes on the fields ``gone``.

    ``positions`` are the fields of columns and index.
    """
    notes = notes_of(schema)
    for part, fields in zip(("columns", "index"), positions, strict=True):
        if part in notes:
            notes[part] = {at: note for at, note in notes[part].items() if fields[int(at)] not in gone}
    return {**(schema.metadata or {}), NOTES_KEY: json.dumps(notes).encode()} if notes else dict(schema.metadata or {})


def text_name(dtype: Any) -> str:
    """Name a dtype of text by storage and missing value, which its own name leaves out."""
    return f"string[{dtype.storage}, {'NA' if dtype.na_value is pd.NA else 'nan'}]"


def text_dtype(name: str) -> Any:
    """Do the reverse of ``text_name``."""
    storage: Any
    storage, na = name.removeprefix("string[").removesuffix("]").split(", ")
    return pd.StringDtype(storage, na_value=np.nan if na == "nan" else pd.NA)


def apply_note(values: Any, note: str, column: pa.ChunkedArray | None) -> Any:
    """Convert a series or an index to the dtype of its note.

    ``column`` is the Arrow column it came from, if any.
    """
    if note.startswith("object:"):
        marker = {"None": None, "nan": np.nan, "NA": pd.NA}[note.removeprefix("object:")]
        objects = values.astype(object).to_numpy(copy=True)
        objects[pd.isna(objects)] = marker
        return _like(values, objects, object)
    if note.startswith("category:"):
        wanted = note.removeprefix("category:")
        categorical = pd.Categorical(values)
        plain: Any = categorical.categories.astype(object if wanted == "object" else text_dtype(wanted))
        return _like(values, categorical.rename_categories(plain), None)
    if note == "arrow" and column is not None:
        return _like(values, pd.array(column, dtype=pd.ArrowDtype(column.type)), None)
    if note.startswith("string["):
        return values.astype(text_dtype(note))
    return values.astype(note.removeprefix("dtype:"))


def _like(values: Any, converted: Any, dtype: Any) -> Any:
    if isinstance(values, pd.Index):
        return pd.Index(converted, dtype=dtype, name=values.name)
    return pd.Series(converted, dtype=dtype, index=values.index, name=values.name)


def metadata_of(empty: pd.DataFrame, fields: list[str], levels: int) -> bytes:
    """Write pandas' own metadata anew, in one way.

    They are those of a frame without rows whose columns and index levels are these fields. Other writers put there
    what varies, and functions see it. A range is left out, and so are the names of the libraries that wrote them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = json.loads(pa.Table.from_pandas(empty).schema.metadata[b"pandas"])
    dtypes = [*empty.dtypes, *(level_at(empty.index, i).dtype for i in range(levels))]
    for entry, field, dtype in zip(said["columns"], fields, dtypes, strict=True):
        entry["field_name"] = field
        if isinstance(dtype, pd.ArrowDtype):
            # pandas cannot parse the names of nested types; the note "arrow" brings these dtypes back instead.
            entry["numpy_type"] = "object"
    said["index_columns"] = fields[len(fields) - levels :] if levels else []
    said.pop("creator", None)
    said.pop("pandas_version", None)
    return json.dumps(said).encode()
