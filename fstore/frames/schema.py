"""The Arrow schema from which a frame comes back as it was, or the reason why there is none."""

from __future__ import annotations

import json
import warnings
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames.arrow_types import type_name
from fstore.frames.description import (
    SchemaMemo,
    canonical_json,
    check_zone,
    describe,
    describe_frame,
    label,
    with_range,
)
from fstore.frames.dtypes import NOTES_KEY, dtype_name, missing_notes, restore
from fstore.frames.parts import Level, Part, is_text_or_none
from fstore.frames.plain_frames import label_levels
from fstore.frames.refused_dtypes import refused_part
from fstore.frames.texts import missing_marker, subclass_of_text

Outline = tuple[Hashable, ...]

MEMO_ENTRIES = 512
_PLAIN_KINDS = "biufmM"
_outlined: dict[Outline, pa.Schema] = {}
_memo: dict[str, pa.Schema] = {}
_ranged: SchemaMemo[pa.Schema] = SchemaMemo()


def schema_of(frame: pd.DataFrame, parts: list[Part | Level]) -> pa.Schema:
    """Find the schema of the table that restores a frame of plain zones and these parts, notes included.

    Raises ``UnhashableInput`` when there is none, so that nothing is ever computed
    from data that differ from what the caller holds.
    """
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UnhashableInput(repr(twice), "two columns carry this label; rename one of them")
    outline = _outline_of(frame, parts)
    schema = _outlined.get(outline) if outline else None
    is_kept = schema is not None
    if schema is None:
        schema, is_kept = _described(frame, parts)
        if outline and len(_outlined) < MEMO_ENTRIES:
            _outlined[outline] = schema
    index = frame.index
    if not isinstance(index, pd.RangeIndex):
        return schema
    if not is_kept:
        return _ranged_as(schema, index)
    name = (index.name,) if is_text_or_none(index.name) else canonical_json(label(index.name, "index name"))
    return _ranged.get(schema, (index.start, len(index), index.step, name), lambda: _ranged_as(schema, index))


def _ranged_as(schema: pa.Schema, index: pd.RangeIndex) -> pa.Schema:
    span = {"start": index.start, "step": index.step, "name": label(index.name, "index name")}
    return with_range(schema, span, len(index))


def _outline_of(frame: pd.DataFrame, parts: list[Part | Level]) -> Outline | None:
    """Say in little time what an everyday frame shows besides its values.

    None for one that must be looked at closely. Equal outlines have equal descriptions: a text is none but a text,
    and a dtype's mark at least as exact as its name.
    """
    labels, index = frame.columns, frame.index
    if frame.attrs or isinstance(index, pd.MultiIndex):
        return None
    if not (isinstance(labels.dtype, pd.StringDtype) and labels.dtype.storage == "pyarrow"):
        return None  # others may hold objects that only write themselves like texts
    if not (is_text_or_none(labels.name) and is_text_or_none(index.name)):
        return None
    marks = [_mark(part.dtype) for part in parts]
    if None in marks:
        return None
    # Names are as repr() writes them, which keeps texts, missing labels and the name of an index apart.
    return tuple([part.name for part in parts]), dtype_name(labels.dtype), labels.name, tuple(marks)


def _mark(dtype: Any) -> str | None:
    if isinstance(dtype, np.dtype):
        return dtype.str if dtype.kind in _PLAIN_KINDS else None
    return None if isinstance(dtype, pd.CategoricalDtype) else dtype_name(dtype)


def _described(frame: pd.DataFrame, parts: list[Part | Level]) -> tuple[pa.Schema, bool]:
    """Look at a frame closely; tells as well whether its schema was kept for others of its shape."""
    if isinstance(frame.columns, pd.MultiIndex) and frame.columns.nlevels == 1:
        raise UnhashableInput(
            "column labels",
            "Arrow keeps no labels of a single level as levels; use frame.columns = frame.columns.get_level_values(0)",
        )
    if any(isinstance(level.dtype, pd.CategoricalDtype) for level in label_levels(frame.columns)):
        raise UnhashableInput(
            "column labels", "labels of a category have no digest; use frame.columns = frame.columns.astype(str)"
        )
    if _is_range(frame) and isinstance(frame.index.name, tuple):
        raise UnhashableInput(f"index name {frame.index.name!r}", "Arrow keeps no tuple for it; rename it to a string")
    for name in () if _is_range(frame) else frame.index.names:
        if label(name, "index name")[0] not in ("none", "str"):
            raise _no_text(name)
    shown = describe_frame(frame)
    missing = [
        missing_marker(np.asarray(part.array(0, len(frame))), part.name) if part.dtype == np.dtype(object) else None
        for part in parts
    ]
    known = _memo_key(frame, parts, shown, missing)
    schema = _memo.get(known) if known else None
    if schema is None:
        schema = _find_schema(frame, parts, shown, missing)
        if known and len(_memo) < MEMO_ENTRIES:
            _memo[known] = schema
    return schema, known is not None


def _memo_key(
    frame: pd.DataFrame, parts: list[Part | Level], shown: dict[str, Any], missing: list[str | None]
) -> str | None:
    """Return by what the schema of a frame is remembered; frames of one shape have one schema.

    Attrs, and categories that may be of any kind, are left to be looked at each time.
    """
    categories = [part.dtype.categories for part in parts if isinstance(part.dtype, pd.CategoricalDtype)]
    if frame.attrs or any(found.dtype == np.dtype(object) for found in categories):
        return None
    kinds = [[dtype_name(found.dtype), len(found) > 0] for found in categories]
    return canonical_json([shown, missing, _is_range(frame), kinds])


def _find_schema(
    frame: pd.DataFrame, parts: list[Part | Level], shown: dict[str, Any], missing: list[str | None]
) -> pa.Schema:
    schema = _arrow_schema(frame, parts)
    for field in schema:
        check_zone(field)
    notes = missing_notes(frame, restore(schema.empty_table()), missing)
    if notes:
        schema = schema.with_metadata({**schema.metadata, NOTES_KEY: json.dumps(notes).encode()})
    _check_categories(parts)
    form = describe(schema).form
    restored = restore(form.empty_table())
    _check_restored(shown, describe_frame(restored.reset_index(drop=True) if _is_range(frame) else restored))
    return form


def _is_range(frame: pd.DataFrame) -> bool:
    return isinstance(frame.index, pd.RangeIndex)


def _arrow_schema(frame: pd.DataFrame, parts: list[Part | Level]) -> pa.Schema:
    """Ask Arrow for the types of an empty slice; object columns are known to hold strings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            schema = pa.Table.from_pandas(frame.iloc[:0]).schema
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as exc:
            raise refused_part(parts, exc) from exc
    for i, part in enumerate(parts):
        if part.dtype == np.dtype(object):
            schema = schema.set(i, pa.field(schema.field(i).name, pa.large_string()))
    for kind, part in zip(schema.types, parts, strict=True):
        type_name(kind, part.name)  # refused here, the reason is told as the frame's owner sees it
    described = json.loads(schema.metadata[b"pandas"])
    for entry, part in zip(described["columns"], parts, strict=True):
        if isinstance(part.dtype, pd.ArrowDtype):
            # pandas cannot parse the names of nested types; the note "arrow" brings these dtypes back instead.
            entry["numpy_type"] = "object"
    return schema.with_metadata({**schema.metadata, b"pandas": json.dumps(described).encode()})


def _check_categories(parts: list[Part | Level]) -> None:
    for part in parts:
        if not isinstance(part.dtype, pd.CategoricalDtype) or _is_text(part.dtype.categories):
            continue
        is_object = part.dtype.categories.dtype == np.dtype(object)
        categories = part.dtype.categories if is_object else part.dtype.categories[:1]
        if len(categories) and not _are_restored(categories):
            raise UnhashableInput(
                part.name, f"categories of {categories.dtype} do not survive a passage through Arrow; make them strings"
            )


def _are_restored(categories: pd.Index) -> bool:
    try:
        values = pa.DictionaryArray.from_arrays(pa.nulls(1, pa.int8()), pa.array(categories))
        back = values.to_pandas().dtype.categories
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError):
        return False
    if dtype_name(back.dtype) != dtype_name(categories.dtype):
        return False
    # Objects of equal dtype need not be equal: 1.0 and 1.00, a date and a time of that day.
    return back.dtype != np.dtype(object) or list(map(repr, back)) == list(map(repr, categories))


def _is_text(categories: pd.Index) -> bool:
    """Is this text, whose dtype a note keeps; other objects Arrow would guess at."""
    if isinstance(categories.dtype, pd.StringDtype):
        return True
    return bool(
        categories.dtype == object
        and pd.api.types.infer_dtype(categories, skipna=False) in ("string", "empty")
        and subclass_of_text(categories) is None
    )


def _check_restored(shown: dict[str, Any], restored: dict[str, Any]) -> None:
    for aspect, wanted in shown.items():
        if wanted == restored[aspect]:
            continue
        raise _not_restored(aspect, wanted, restored[aspect], shown["labels"])


def _no_text(name: Any) -> UnhashableInput:
    return UnhashableInput(
        f"index name {name!r}",
        'Arrow keeps only texts as names of an index; give it one, frame.rename_axis("time") for example',
    )


def _plain_label(said: list[Any]) -> Any:
    return tuple(map(_plain_label, said[1])) if said[0] == "tuple" else said[-1] if said[1:] else None


def _not_restored(aspect: str, wanted: Any, found: Any, labels: list[Any]) -> UnhashableInput:
    if aspect == "dtypes" and len(wanted) == len(found):
        at = next(i for i, (one, other) in enumerate(zip(wanted, found, strict=True)) if one != other)
        return UnhashableInput(
            f"column {_plain_label(labels[at])!r}",
            f"{wanted[at]} would come back as {found[at]}; convert it to another dtype",
        )
    if aspect == "index":
        names = [name for (name, _), (other, _) in zip(wanted, found, strict=False) if name != other]
        if names:
            return _no_text(_plain_label(names[0]))
        return UnhashableInput(
            "index", f"its dtype {[d for _, d in wanted]} would come back as {[d for _, d in found]}; convert it first"
        )
    if aspect in ("labels", "label_dtypes", "label_names"):
        return UnhashableInput(
            "column labels" if aspect != "label_names" else "the name of the column labels",
            "Arrow keeps labels of one kind, all texts or all integers, and only texts as their name; use "
            "frame.columns = frame.columns.astype(str), or frame.rename_axis(columns=None)",
        )
    if aspect == "attrs":
        return UnhashableInput(
            "attrs",
            "only what JSON keeps has a digest: texts as keys, lists and no tuples; clear them with frame.attrs = {}",
        )
    return UnhashableInput(aspect, f"{wanted} would come back from Arrow as {found}; convert it first")
