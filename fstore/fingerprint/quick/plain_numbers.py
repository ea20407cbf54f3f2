"""The quick way to the digest of an everyday frame.

One of columns of numbers under text labels, over a range or a time index. The text of a footer is put together as
``fstore.fingerprint.footer`` does it, and nothing here decides what it says: the first frame of a shape is
described there, and later ones of the same shape differ in digests alone. What one cannot be sure of in little time
goes the long way.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from blake3 import blake3

from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.footer import PARALLEL_BYTES, footer_ends
from fstore.fingerprint.quick.texts import column_texts, counts_of
from fstore.frames import look_at, plain_index, plain_numbers, text_labels

_MOST_SHAPES, _MOST_LABELS = 512, 8


@dataclass(slots=True)
class _Shape:
    """What frames of one shape have in common: their labels, and the text around their digests."""

    labels: pa.ChunkedArray
    schema: pa.Schema
    opening: str
    closing: str


_shapes: dict[Hashable, list[_Shape]] = {}


def plain_numbers_digest(frame: pd.DataFrame) -> tuple[str, int, pa.Schema] | None:
    """Return content digest, size in memory and schema of a small frame of plain numbers.

    None for any other.
    """
    found = _shaped(frame)
    if found is None:
        return None
    shape, data, times = found
    counts, bounds = counts_of(len(frame)), ""
    if times is not None:
        bounds = f'["{_value_digest(times[0])}","{_value_digest(times[-1])}"]'
    footer = f'{shape.opening}{bounds}],"columns":[{",".join(column_texts(data, counts))}],{shape.closing}'
    return blake3(footer.encode()).hexdigest(), sum(map(len, data)), shape.schema


def plain_numbers_table(frame: pd.DataFrame) -> pa.Table | None:
    """Return such a frame as the one table that stands for it, over the frame's own memory.

    None for any other.
    """
    found = _shaped(frame)
    if found is None:
        return None
    shape, data, _ = found
    rows, schema = len(frame), shape.schema
    arrays = [
        pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(values)])
        for kind, values in zip(schema.types, data, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _shaped(frame: pd.DataFrame) -> tuple[_Shape, list[memoryview], npt.NDArray[np.int64] | None] | None:
    """Return what is known of a frame of this shape, and its values.

    These are the bytes of each of its fields, and the times of its index if it has any.
    """
    rows = len(frame)
    if type(frame) is not pd.DataFrame or frame.attrs or not 0 < rows <= BLOCK_ROWS:
        return None
    labels, indexed = text_labels(frame.columns), plain_index(frame.index)
    if labels is None or indexed is None or (found := plain_numbers(frame)) is None:
        return None
    numbers, marks = found
    data = _bytes_of_columns(numbers, rows)
    if data is None:
        return None
    shape = _shape_of(frame, labels[0], (marks, rows, labels[1], indexed[0]))
    if shape is None:
        return None
    times = indexed[1]
    if times is not None:
        data.append(_bytes_of(times))
    return shape, data, times


def _bytes_of(values: npt.NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(values)).cast("B")  # type: ignore[arg-type]  # mypy knows no array as a buffer


def _value_digest(value: np.int64) -> str:
    return blake3(value.tobytes() + counts_of(1)).hexdigest()


def _bytes_of_columns(numbers: list[npt.NDArray[Any]] | npt.NDArray[Any], rows: int) -> list[memoryview] | None:
    """Return the bytes of each column; None for so many that threads digest them sooner."""
    if isinstance(numbers, list):
        if sum([array.nbytes for array in numbers]) >= PARALLEL_BYTES:
            return None
        return [_bytes_of(array) for array in numbers]
    if numbers.nbytes >= PARALLEL_BYTES:
        return None
    data, width = _bytes_of(numbers), rows * numbers.itemsize
    return [data[at : at + width] for at in range(0, len(data), width)]


def _shape_of(frame: pd.DataFrame, labels: pa.ChunkedArray, mark: Hashable) -> _Shape | None:
    """Find what was said of an earlier frame of this shape and these labels, or have this one described."""
    known = _shapes.get(mark, [])
    for shape in known:
        if shape.labels.equals(labels):
            return shape
    look = look_at(frame)  # refuses a frame that has no digest, and says why
    description, fields = look.description, len(look.schema)
    if description.order != tuple(range(fields)) or fields != len(look.parts):
        return None
    opening, closing = footer_ends(description.text, look.rows, look.span_text)
    shape = _Shape(pa.chunked_array([pa.array(labels.to_pylist(), labels.type)]), look.schema, opening, closing)
    if len(_shapes) >= _MOST_SHAPES:
        _shapes.clear()
    _shapes[mark] = [shape, *known[: _MOST_LABELS - 1]]
    return shape
