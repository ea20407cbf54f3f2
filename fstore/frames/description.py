"""What a schema says about the data: the part of a footer that is known before any value is read.

It names the Arrow types and what pandas makes of them, because both are what a feature
function sees. Layout, other schema metadata and library versions are left out, of the
description and of the *form*, the schema that functions are shown: schemas of one
description have one form.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames.arrow_types import check_list_views, form_of_type, readable, type_name
from fstore.frames.dtypes import (
    NOTES_KEY,
    dtype_name,
    index_and_column_fields,
    markers,
    missing_notes,
    notes_of,
    restore,
)
from fstore.frames.notes import metadata_of
from fstore.frames.parts import level_at
from fstore.frames.plain_frames import label_levels
from fstore.frames.refused_dtypes import no_unicode

_NOT_APPLICABLE = (
    pa.ArrowException,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    NotImplementedError,
    SyntaxError,
)
FRAME_METADATA = (b"pandas", NOTES_KEY)
MOST = 512
WIDEST = 2_000  # fields; beyond, remembering costs more memory than finding out again costs time
T = TypeVar("T")


class SchemaMemo(Generic[T]):
    """A bounded memo; an entry holds its schema, so that nothing else can have its identity meanwhile."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Hashable], tuple[pa.Schema, T]] = {}

    def get(self, schema: pa.Schema, about: Hashable, find: Callable[[], T]) -> T:
        """Return what ``find`` returned for this schema object and ``about`` before, or find it now."""
        if len(schema) > WIDEST:
            return find()
        mark = (id(schema), about)
        known = self._known.get(mark)
        if known is not None and known[0] is schema:
            return known[1]
        found = find()
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[mark] = (schema, found)
        return found


@dataclass(frozen=True, slots=True)
class Description:
    """What a schema describes, columns first and then ``levels`` index levels.

    ``order``: positions of fields; ``text``: canonical JSON; ``form``: what functions are shown, without a range.
    """

    order: tuple[int, ...]
    levels: int
    text: str
    form: pa.Schema


_descriptions: SchemaMemo[Description] = SchemaMemo()
_ranges: SchemaMemo[dict[str, Any] | None] = SchemaMemo()


def describe(schema: pa.Schema) -> Description:
    """Describe a schema, or raise ``UnhashableInput`` naming the column that has no digest."""
    return _descriptions.get(schema, None, lambda: _described_once(schema))


_by_text: dict[bytes, Description] = {}


def _described_once(schema: pa.Schema) -> Description:
    """Describe a schema, or find what was said of one that reads alike; each table has its own object."""
    if len(schema) > WIDEST:
        return _described(schema)
    text = schema.serialize().to_pybytes()
    found = _by_text.get(text)
    if found is None:
        found = _described(schema)
        if len(_by_text) >= MOST:
            _by_text.clear()
        _by_text[text] = found
    return found


def _described(schema: pa.Schema) -> Description:
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key in FRAME_METADATA}
    if any(_is_packed(field) for field in schema):
        schema = pa.ipc.read_schema(pa.py_buffer(schema.serialize().to_pybytes()))
    for field in schema:
        check_list_views(field.type, field.name)
    plain = pa.schema([pa.field(f.name, readable(f.type)) for f in schema], metadata=_without_range(metadata))
    return _describe(plain.serialize().to_pybytes())


def _is_packed(field: pa.Field) -> bool:
    """Was this read before fstore was imported, when nobody knew pandas' types yet."""
    return bool((field.metadata or {}).get(b"ARROW:extension:name", b"").startswith(b"pandas."))


def range_index(schema: pa.Schema, rows: int) -> dict[str, Any] | None:
    """Find the RangeIndex of the frame this schema stands for; None if the index is made of columns.

    As in pandas, metadata whose range does not have ``rows`` steps (a slice, a
    concatenation) are ignored in favour of the default.
    """
    return _ranges.get(schema, rows, lambda: _range_index(schema, rows))


def _range_index(schema: pa.Schema, rows: int) -> dict[str, Any] | None:
    described = schema.pandas_metadata or {}
    if index_and_column_fields(schema)[1]:
        return None
    for entry in described.get("index_columns", []):
        if isinstance(entry, dict) and entry.get("kind") == "range":
            start, step = int(entry["start"]), int(entry["step"])
            if len(range(start, int(entry["stop"]), step)) == rows:
                return {"start": start, "step": step, "name": label(entry["name"], "index name")}
    return {"start": 0, "step": 1, "name": label(None, "index name")}


def with_range(form: pa.Schema, span: dict[str, Any] | None, rows: int) -> pa.Schema:
    """Note the RangeIndex in a form, as pandas does; it ends right behind the last row."""
    if span is None:
        return form
    said = json.loads(form.metadata[b"pandas"])
    kind, name = span["name"][0], span["name"][-1]
    said["index_columns"] = [
        {
            "kind": "range",
            "name": None if kind == "none" else name,
            "start": span["start"],
            "stop": span["start"] + rows * span["step"],
            "step": span["step"],
        }
    ]
    return form.with_metadata({**form.metadata, b"pandas": json.dumps(said).encode()})


def label(value: Any, where: str) -> list[Any]:
    """Encode a column label or index name so that equal texts of different types stay apart."""
    if value is None:
        return ["none"]
    if isinstance(value, str):
        _check_unicode(value, where)
        return ["str", str(value)]
    if isinstance(value, tuple):
        return ["tuple", [label(part, where) for part in value]]
    try:
        if not isinstance(value, bool):
            return ["int", operator.index(value)]
    except TypeError:
        pass
    raise UnhashableInput(f"{where} {value!r}", "labels may be str, int or tuples of them; rename it to a string")


def _check_unicode(value: str, where: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise no_unicode(f"{where} {value!r}") from exc


def describe_frame(frame: pd.DataFrame) -> dict[str, Any]:
    """List what a frame shows besides values, range and categories."""
    labels = frame.columns
    levels = (
        [] if isinstance(frame.index, pd.RangeIndex) else [level_at(frame.index, i) for i in range(frame.index.nlevels)]
    )
    return {
        "labels": [label(name, "column") for name in labels],
        "label_dtypes": [dtype_name(level.dtype) for level in label_levels(labels)],
        "label_names": [label(name, "columns' name") for name in labels.names],
        "dtypes": [dtype_name(dtype) for dtype in frame.dtypes],
        "index": [[label(level.name, "index name"), dtype_name(level.dtype)] for level in levels],
        "index_kind": "levels" if isinstance(frame.index, pd.MultiIndex) else "plain",
        "attrs": frame.attrs,
    }


def canonical_json(value: Any) -> str:
    """Write JSON in the one form that is hashed: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _without_range(metadata: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Drop what is no part of a description, so that equal schemas are described once and remembered."""
    if b"pandas" not in metadata:
        return metadata
    try:
        described = json.loads(metadata[b"pandas"])
        described["index_columns"] = [name for name in described["index_columns"] if isinstance(name, str)]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise _bad_metadata(exc) from exc
    described.pop("creator", None)
    described.pop("pandas_version", None)
    return {**metadata, b"pandas": json.dumps(described).encode()}


@lru_cache(maxsize=512)
def _describe(serialized: bytes) -> Description:
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    if len(set(schema.names)) < len(schema):
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        raise UnhashableInput(twice[0], "two columns carry this name; rename one of them")
    for field in schema:
        check_zone(field)
    kinds = [type_name(field.type, field.name) for field in schema]
    try:
        columns, index = index_and_column_fields(schema)
        restored = restore(schema.empty_table())
    except _NOT_APPLICABLE as exc:
        raise _bad_metadata(exc) from exc
    if len(restored.columns) != len(columns) or (index and restored.index.nlevels != len(index)):
        raise _bad_metadata("they do not match the columns")
    order = (*columns, *index)
    restored = restored if index else restored.reset_index(drop=True)
    shown = describe_frame(restored)
    try:
        # In the order of its keys: a function sees that as well.
        shown["attrs"] = json.dumps(shown["attrs"], ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise UnhashableInput(
            "attrs", f"only JSON values have a digest ({exc}); clear them with frame.attrs = {{}}"
        ) from exc
    form = _form(schema, order, restored, len(index))
    if not _is_shown_by(form, shown):
        form = pa.schema(list(form), metadata=schema.metadata)
        shown["metadata"] = schema.metadata[b"pandas"].decode()
    shown["notes"] = notes_of(form)
    fields = [[schema.field(i).name, kinds[i]] for i in order]
    return Description(order, len(index), canonical_json({"fields": fields, "frame": shown}), form)


def check_zone(field: pa.Field) -> None:
    """Raise ``UnhashableInput`` for a column of a zone that nobody here knows."""
    zone = field.type.tz if pa.types.is_timestamp(field.type) else None
    try:
        if zone is not None:
            pa.lib.string_to_tzinfo(zone)
    except Exception as exc:  # of pytz, zoneinfo or Arrow, whichever looks
        raise UnhashableInput(
            field.name, f"no time zone is called {zone!r} here; cast it, as to pa.timestamp({field.type.unit!r}, 'UTC')"
        ) from exc


def _form(schema: pa.Schema, order: tuple[int, ...], restored: pd.DataFrame, levels: int) -> pa.Schema:
    dtypes = [*restored.dtypes, *(level_at(restored.index, i).dtype for i in range(levels))]
    for i, dtype in zip(order, dtypes, strict=True):
        if isinstance(dtype, pd.ArrowDtype) and "dictionary<" in str(dtype.pyarrow_dtype)[1:]:
            raise UnhashableInput(
                schema.field(i).name, f"{dtype} nests a dictionary, whose order nothing counts; cast it to plain values"
            )
    fields = [
        pa.field(schema.field(i).name, form_of_type(schema.field(i).type, exact=isinstance(dtype, pd.ArrowDtype)))
        for i, dtype in zip(order, dtypes, strict=True)
    ]
    said = metadata_of(restored, [field.name for field in fields], levels)
    form = pa.schema(fields, metadata={b"pandas": said})
    notes = missing_notes(restored, restore(form.empty_table()), markers(schema), kept=notes_of(schema))
    return form.with_metadata({b"pandas": said, NOTES_KEY: canonical_json(notes).encode()}) if notes else form


def _is_shown_by(form: pa.Schema, shown: dict[str, Any]) -> bool:
    again = describe_frame(restore(form.empty_table()))
    again["attrs"] = json.dumps(again["attrs"], ensure_ascii=True)
    return again == shown


def _bad_metadata(detail: object) -> UnhashableInput:
    return UnhashableInput(
        "pandas metadata", f"they cannot be applied ({detail}); drop them with table.replace_schema_metadata(None)"
    )
