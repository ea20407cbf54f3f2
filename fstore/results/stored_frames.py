"""Frames as tables that pandas opens, with notes on what Arrow's pandas metadata leave out.

A frame is first made *plain*: labels, categories and objects that the conversion of raw
data does not take are replaced by texts or by nothing, and noted. The plain frame is
converted as raw data are, so that its values are kept to the bit. Indexes, be they
labels or categories, are noted as the table that stands for a frame with that index.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.fingerprint import to_table
from fstore.frames import dtypes_of, level_at
from fstore.results.frame_notes import FRAME_KEY, FREQUENCY_KEY, Notes, unpacked_index
from fstore.results.frequencies import frequency_to_json, is_told_by_its_name
from fstore.results.likeness import index_difference, label_at
from fstore.results.object_cells import cells_to_arrow, holds_texts
from fstore.results.python_values import is_deep, same, to_json
from fstore.results.stored_tables import UnstorableResult, with_metadata

_ARROW_FAULTS = (
    pa.ArrowException,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RecursionError,
)


def frame_to_table(frame: pd.DataFrame) -> pa.Table:
    """Convert a frame with unique labels; raises ``UnstorableResult`` naming the part that cannot be."""
    if frame.attrs and is_deep(frame.attrs):
        raise UnstorableResult("attrs: they nest too deeply; leave them out or make them flat")
    notes: Notes = {}
    cells: dict[int, pa.ChunkedArray] = {}
    plain = frame.copy(deep=False)
    plain = _with_plain_labels(frame, plain, notes)
    _plain_attrs(plain, notes)
    _plain_columns(frame, plain, notes, cells)
    _plain_index(plain, notes, cells)
    table = _converted(plain)
    for at, column in cells.items():
        table = table.set_column(at, pa.field(table.schema.field(at).name, column.type), column)
    if not notes.keys() <= {"range"}:
        notes["fields"] = table.schema.names
    added = {FRAME_KEY: json.dumps(notes).encode()} if notes else {}
    freq = getattr(frame.index, "freq", None)
    if isinstance(frame.index, pd.DatetimeIndex) and freq is not None and "freq" not in notes:
        added[FREQUENCY_KEY] = freq.freqstr.encode()
    return with_metadata(table, {**(table.schema.metadata or {}), **added}) if added else table


def _with_plain_labels(frame: pd.DataFrame, plain: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    labels = frame.columns
    if not frame.flags.allows_duplicate_labels:
        notes["unique_labels"] = True
        plain = plain.set_flags(allows_duplicate_labels=True)
    if isinstance(labels, pd.RangeIndex):
        notes["range"] = [labels.start, labels.stop, labels.step, _json_of("the name of the columns", labels.name)]
        plain.columns = pd.RangeIndex(labels.start, labels.stop, labels.step)
    elif not (len(labels) and _are_plain_labels(labels)):
        notes["labels"] = _packed_index(labels, "the column labels")
        plain.columns = pd.Index(_distinct_texts(labels), dtype="str")
    return plain


def _are_plain_labels(labels: pd.Index) -> bool:
    if not all(name is None or type(name) is str for name in labels.names):
        return False
    if isinstance(labels, pd.MultiIndex):
        return (
            labels.nlevels > 1
            and all(map(_are_plain_labels, labels.levels))
            and not any((codes < 0).any() for codes in labels.codes)
        )
    if type(labels) is not pd.Index:
        return False
    if labels.dtype == object:
        return all(type(label) is str for label in labels)
    is_text = labels.dtype == pd.StringDtype("pyarrow", na_value=np.nan) and not labels.hasnans
    return is_text or labels.dtype == np.dtype("int64")


def _distinct_texts(values: pd.Index) -> list[str]:
    texts: dict[str, None] = {}
    for value in values:
        text = start = str(value).encode("utf-8", "backslashreplace").decode()
        number = 1
        while text in texts:
            number += 1
            text = f"{start} ({number})"
        texts[text] = None
    return list(texts)


def _plain_attrs(plain: pd.DataFrame, notes: Notes) -> None:
    attrs = dict(plain.attrs)
    if not attrs or _is_plain_json(attrs):
        return
    notes["attrs"] = _json_of("attrs", attrs)
    plain.attrs = {}


def _is_plain_json(value: Any) -> bool:
    try:
        return same(json.loads(json.dumps(value)), value)
    except (TypeError, ValueError, RecursionError):
        return False


def _plain_columns(frame: pd.DataFrame, plain: pd.DataFrame, notes: Notes, cells: dict[int, pa.ChunkedArray]) -> None:
    for at, dtype in enumerate(dtypes_of(frame)):
        if not _may_be_odd(dtype):
            continue
        where = f"column {label_at(frame, at)!r}"
        found = _plain_values(frame.iloc[:, at].array, where)
        if found is not None:
            stand_in, note, column = found
            series: Any = pd.Series(stand_in, index=plain.index, dtype=stand_in.dtype)
            plain.isetitem(at, series)
            notes.setdefault("columns", {})[str(at)] = note
            if column is not None:
                cells[at] = column


def _plain_index(plain: pd.DataFrame, notes: Notes, cells: dict[int, pa.ChunkedArray]) -> None:
    index = plain.index
    freq = getattr(index, "freq", None)
    is_timed = freq is not None and isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex))
    if is_timed and not (isinstance(index, pd.DatetimeIndex) and is_told_by_its_name(freq)):
        notes["freq"] = _frequency(freq)
    if not all(name is None or type(name) is str for name in index.names):
        notes["names"] = _json_of("the name of the index", list(index.names))
        index = index.set_names([None] * index.nlevels)
    if isinstance(index, pd.MultiIndex) and index.nlevels == 1:
        notes["is_multi"] = True
    if isinstance(index, pd.MultiIndex) or _may_be_odd(index.dtype):
        levels: list[Any] = [level_at(index, i) for i in range(index.nlevels)]
        for i, level in enumerate(levels):
            found = _plain_values(level.array, f"index level {index.names[i]!r}") if _may_be_odd(level.dtype) else None
            if found is None:
                continue
            levels[i], note, column = pd.Index(found[0], dtype=found[0].dtype), found[1], found[2]
            notes.setdefault("index", {})[str(i)] = note
            if column is not None:
                cells[plain.shape[1] + i] = column
        if len(levels) == 1:
            index = levels[0].rename(index.names[0])
        elif "index" in notes:
            index = pd.MultiIndex.from_arrays(levels, names=index.names)
    if index is not plain.index:
        plain.index = index


def _may_be_odd(dtype: Any) -> bool:
    return isinstance(dtype, pd.CategoricalDtype) or dtype == np.dtype(object)


def _plain_values(values: Any, where: str) -> tuple[Any, Notes, pa.ChunkedArray | None] | None:
    """Return what stands in for values, the note that brings them back and their cells.

    None for what needs no note.
    """
    if isinstance(values, pd.Categorical):
        categories = values.categories
        if _are_plain_categories(categories):
            return None
        if isinstance(categories, pd.RangeIndex):  # which no table has columns for
            categories = pd.Index(categories.to_numpy(), name=categories.name)
        note = {"categories": _packed_index(categories, f"the categories of {where}"), "ordered": values.ordered}
        texts = pd.Index(_distinct_texts(categories), dtype="str")
        return pd.Categorical.from_codes(values.codes, texts, ordered=values.ordered), note, None
    objects = values.to_numpy(dtype=object)
    if holds_texts(objects):
        return None
    try:
        column, note = cells_to_arrow(objects)
    except _ARROW_FAULTS as error:
        raise UnstorableResult(
            f"the feature function returned a frame whose {where} of objects cannot be stored: {error}; "
            "convert it to a plain dtype"
        ) from error
    return np.full(len(objects), None, dtype=object), note, column


def _are_plain_categories(categories: pd.Index) -> bool:
    if categories.name is not None:  # of which Arrow knows nothing
        return False
    if not len(categories):
        return categories.dtype == object or categories.dtype == pd.StringDtype("pyarrow", na_value=np.nan)
    if categories.dtype == object:
        return all(type(value) is str for value in categories)
    kind = categories.dtype.kind if isinstance(categories.dtype, np.dtype) else ""
    return kind in ("i", "u", "f") or categories.dtype == pd.StringDtype("pyarrow", na_value=np.nan)


def _packed_index(index: pd.Index, where: str) -> Notes:
    try:
        packed = _said_of_index(index)
        fault = index_difference(index, unpacked_index(packed))
    except (*_ARROW_FAULTS, UnhashableInput) as error:
        raise UnstorableResult(
            f"the feature function returned a frame with {where} of dtype {index.dtype}, which cannot be stored "
            f"({error}); make them strings"
        ) from error
    if fault:
        raise UnstorableResult(
            f"the feature function returned a frame with {where} that would come back changed: {fault}; make them strings"
        )
    return packed


def _said_of_index(index: pd.Index) -> Notes:
    if isinstance(index, pd.MultiIndex):
        levels = [level_at(index, i).rename(None) for i in range(index.nlevels)]
        return {"levels": list(map(_said_of_index, levels)), "names": to_json(list(index.names))}
    if isinstance(index, pd.IntervalIndex):
        ends = {"left": _said_of_index(index.left), "right": _said_of_index(index.right)}
        return {**ends, "closed": index.closed, "name": to_json(index.name)}
    if index.dtype == object:
        return {"objects": to_json(index.tolist()), "name": to_json(index.name)}
    table = frame_to_table(pd.DataFrame(index=index))
    batch = table.combine_chunks().to_batches()[0] if len(index) else _no_rows(table)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_batch(batch)
    return {"table": base64.b64encode(sink.getvalue().to_pybytes()).decode()}


def _no_rows(table: pa.Table) -> pa.RecordBatch:
    empty = [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in table.columns]
    return pa.RecordBatch.from_arrays(empty, schema=table.schema)


def _frequency(freq: Any) -> Any:
    try:
        return frequency_to_json(freq)
    except (TypeError, ValueError) as error:
        raise UnstorableResult(
            f"the frequency of the index, {freq!r}, cannot be stored ({error}); drop it: result.index.freq = None"
        ) from error


def _json_of(where: str, value: Any) -> Any:
    try:
        found = to_json(value)
        json.dumps(found)  # Python writes no int of thousands of digits
        return found
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableResult(f"{where}: {error}; leave it out or make it plain values") from error


def _converted(plain: pd.DataFrame) -> pa.Table:
    try:
        return to_table(plain)
    except UnhashableInput as refusal:
        try:
            return pa.Table.from_pandas(plain)  # the comparison with what was returned has the last word
        except _ARROW_FAULTS:
            reason = f"{refusal.where}: {refusal.reason}"
            raise UnstorableResult(
                f"the feature function returned a frame that cannot be stored: {reason}"
            ) from refusal
    except _ARROW_FAULTS as error:
        raise UnstorableResult(
            f"the feature function returned a frame that cannot be stored: {_culprit(plain)}: {error}; "
            "convert it to a plain dtype"
        ) from error


def _culprit(plain: pd.DataFrame) -> str:
    for at in range(plain.shape[1]):
        try:
            to_table(plain.iloc[:, [at]].reset_index(drop=True))
        except (*_ARROW_FAULTS, UnhashableInput):
            return f"column {label_at(plain, at)!r} of dtype {plain.dtypes.iloc[at]}"
    return f"the index of dtype {plain.index.dtype}"
