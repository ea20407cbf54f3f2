"""Frames of plain numbers, the usual raw data and features.

Built without pandas' and Arrow's general machinery. What a frame looks like without its values (labels, index) is
asked of Arrow once for each schema and then remembered. A table whose look is not simple enough, or whose values
need more than copying, is left to ``Table.to_pandas``. Nothing that is remembered is ever handed out itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.frames.plain_frames import plain_frame

_NUMBERS = {
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
}
_WIDEST = 2_000  # fields; beyond, remembering costs more memory than asking again costs time


@dataclass(frozen=True, slots=True)
class Template:
    """A frame without its values: columns of numbers, then its index.

    That is a time index or a range of start, stop, step and name.
    """

    labels: pd.Index
    dtypes: tuple[np.dtype[Any], ...]
    index: pd.DatetimeIndex | tuple[int, int, int, Any]


def number_frame(table: pa.Table) -> pd.DataFrame | None:
    """Return a frame with memory of its own, equal to ``table.to_pandas()``.

    None for a table that is not this simple.
    """
    template = _template_of(table)
    if template is None or len(set(template.dtypes)) > 1:
        return None
    values = _values(table, template)
    index = None if values is None else _index(template, table.column(table.num_columns - 1), table.num_rows, own=True)
    if index is None:
        return None
    return pd.DataFrame(values, index=index, columns=own_index(template.labels), copy=False)


def number_frame_over(table: pa.Table) -> pd.DataFrame | None:
    """Return a frame whose values all lie in the table's own memory, read-only.

    None where that cannot be. Frames made of it by ``copy(deep=False)`` copy what is written to, as long as this
    one lives.
    """
    template = _template_of(table)
    if template is None or any(column.num_chunks != 1 or column.null_count for column in table.columns):
        return None
    index = _index(template, table.column(table.num_columns - 1), table.num_rows, own=False)
    if index is None:
        return None
    numbers = table.select(range(len(template.dtypes)))
    frame: pd.DataFrame = numbers.to_pandas(ignore_metadata=True, split_blocks=True, use_threads=False)
    if any(np.asarray(frame[name].array).flags.writeable for name in frame):
        return None
    frame.index, frame.columns = index, own_index(template.labels)
    return frame


def own_index(index: pd.Index) -> pd.Index:
    """Return an equal index that shares no memory with this one: what is handed out, people write to.

    Only read-only memory is shared, for nobody can write to that.
    """
    if isinstance(index, pd.RangeIndex):
        return pd.RangeIndex(index.start, index.stop, index.step, name=index.name)  # a copy would share its cache
    if isinstance(index, pd.DatetimeIndex) and not index.asi8.flags.writeable:
        return index.copy()
    if isinstance(index.dtype, pd.StringDtype) and index.dtype.storage == "pyarrow":
        return index.copy()  # Arrow's memory cannot be written to
    return index.copy(deep=True)


def _template_of(table: pa.Table) -> Template | None:
    metadata = table.schema.metadata or {}
    if b"pandas" not in metadata or table.num_columns > _WIDEST:
        return None
    return _template(metadata[b"pandas"], tuple(table.schema.names), tuple(table.schema.types))


def _index(template: Template, last: pa.ChunkedArray, rows: int, *, own: bool) -> pd.Index | None:
    like = template.index
    if isinstance(like, tuple):
        start, stop, step, name = like
        index = pd.RangeIndex(start, stop, step, name=name)
        return index if len(index) == rows else None  # Arrow makes up another one then
    values = last.to_numpy()
    values = values.copy() if own else values
    if like.tz is None:
        times = pd.DatetimeIndex(values, name=like.name, copy=False)
    else:
        times = pd.DatetimeIndex(values.view("i8"), dtype=like.dtype, name=like.name, copy=False)
    return times if times.dtype == like.dtype else None


def _values(table: pa.Table, template: Template) -> np.ndarray[Any, Any] | None:
    """Copy columns into the one block that pandas would make of them.

    None if there are nulls, with which integers become floats.
    """
    width = len(template.dtypes)
    batches = table.to_batches()
    if len(batches) == 1:
        try:
            return batches[0].select(range(width)).to_tensor(row_major=False).to_numpy()  # type: ignore[no-any-return]
        except pa.ArrowException:
            return None
    columns = table.columns[:width]
    if any(column.null_count for column in columns):
        return None
    block = _memory(width * table.num_rows, template.dtypes[0]).reshape(width, table.num_rows)
    for row, column in zip(block, columns, strict=True):
        start = 0
        for chunk in column.chunks:
            row[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=True)
            start += len(chunk)
    return block.T


def _memory(cells: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return memory of Arrow's pool, whose pages a process that reads again and again has at hand.

    New ones cost as much as copying.
    """
    if not cells:
        return np.empty(0, dtype)
    return np.frombuffer(pa.allocate_buffer(cells * dtype.itemsize), dtype)


@lru_cache(maxsize=512)
def _template(described: bytes, names: tuple[str, ...], kinds: tuple[pa.DataType, ...]) -> Template | None:
    """Ask Arrow how a simple frame looks: numbers, then a time index or none."""
    try:
        said = json.loads(described)
        timed = _has_time_index(said, names, kinds)
        if timed is None:
            return None
        empty = pa.schema(list(zip(names, kinds, strict=True))).empty_table()
        shown = plain_frame(empty.replace_schema_metadata({b"pandas": described}))
        index = shown.index if timed else _range(said["index_columns"][0])
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError, NotImplementedError, SyntaxError):
        return None  # the general way says what is wrong
    dtypes = tuple(np.dtype(kind.to_pandas_dtype()) for kind in kinds[: len(kinds) - timed])
    if not shown.columns.is_unique or tuple(shown.dtypes.array) != dtypes:
        return None
    return Template(shown.columns, dtypes, index) if isinstance(index, pd.DatetimeIndex | tuple) else None


def _has_time_index(said: dict[str, Any], names: tuple[str, ...], kinds: tuple[pa.DataType, ...]) -> bool | None:
    """Tell whether the last field is a time index; None for a table that is not simple."""
    (index,) = said["index_columns"]
    timed = isinstance(index, str)
    numbers = kinds[: len(kinds) - timed]
    if said.get("attributes") or len(set(names)) < len(names) or not numbers or not _NUMBERS.issuperset(numbers):
        return None
    if timed and (index != names[-1] or not pa.types.is_timestamp(kinds[-1])):
        return None
    return timed


def _range(said: dict[str, Any]) -> tuple[int, int, int, Any]:
    if said["kind"] != "range":
        raise ValueError("an index of an unknown kind")
    return said["start"], said["stop"], said["step"], said["name"]
