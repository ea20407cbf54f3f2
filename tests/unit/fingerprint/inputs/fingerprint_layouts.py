"""The content of a table in other layouts."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tests.unit.fingerprint.inputs.fingerprint_cases import KINDS, Column


def layouts(rng: random.Random, columns: list[Column]) -> Iterator[tuple[str, pa.Table]]:
    """Build the same content in other layouts, each named."""
    arrays = {column.name: column.array() for column in columns}
    rows = len(columns[0].values)
    cut = rng.randint(0, rows)
    yield "chunks", pa.table({n: pa.chunked_array([a.slice(0, cut), a.slice(cut)]) for n, a in arrays.items()})
    before = rng.choice([1, 3, 8, 11])
    yield (
        "offset",
        pa.table({n: pa.concat_arrays([*([a] * before), a]).slice(rows * before) for n, a in arrays.items()}),
    )
    yield "slack under nulls", pa.table({n: slacken(rng, a) for n, a in arrays.items()})
    yield "bitmap", pa.table({n: with_bitmap(a) for n, a in arrays.items()})
    yield "dictionary width", pa.table({n: other_codes(rng, a) for n, a in arrays.items()})
    yield "offset widths", pa.table({n: other_width(a) for n, a in arrays.items()})


def slacken(rng: random.Random, array: pa.Array) -> pa.Array:
    """Put other values under the nulls."""
    kind = array.type
    valid = [value.is_valid for value in array]
    if (
        all(valid)
        or pa.types.is_nested(kind)
        or pa.types.is_dictionary(kind)
        or kind in (pa.string_view(), pa.binary_view())
    ):
        return array
    column = Column("", kind, tuple(array.to_pylist())) if not pa.types.is_temporal(kind) else None
    make = next(make for known, make in KINDS if known == kind)
    filler = [make(rng) for _ in valid]
    full = pa.array(filler, kind)
    if column is None or not pa.types.is_primitive(kind):
        merged = [v if ok else f for v, ok, f in zip(array, valid, full, strict=True)]
        full = (
            pa.array([m.as_py() for m in merged], kind)
            if not pa.types.is_temporal(kind)
            else _merge_fixed(array, full, valid)
        )
    else:
        full = _merge_fixed(array, full, valid)
    bitmap = pa.array(valid).buffers()[1]
    return pa.Array.from_buffers(kind, len(valid), [bitmap, *full.buffers()[1:]])


def _merge_fixed(array: pa.Array, filler: pa.Array, valid: list[bool]) -> pa.Array:
    if pa.types.is_boolean(array.type):
        return pa.array([bool(v.as_py()) if ok else f.as_py() for v, ok, f in zip(array, valid, filler, strict=True)])
    width = array.type.bit_width // 8
    data = np.frombuffer(array.buffers()[1], np.uint8)[: len(valid) * width].reshape(-1, width).copy()
    other = np.frombuffer(filler.buffers()[1], np.uint8)[: len(valid) * width].reshape(-1, width)
    mask = ~np.array(valid)
    data[mask] = other[mask]
    return pa.Array.from_buffers(array.type, len(valid), [None, pa.py_buffer(data.tobytes())])


def with_bitmap(array: pa.Array) -> pa.Array:
    """Carry an explicit bitmap even if all values are there."""
    buffers = array.buffers()
    if (
        array.null_count
        or pa.types.is_nested(array.type)
        or pa.types.is_dictionary(array.type)
        or buffers[0] is not None
    ):
        return array
    bitmap = pa.py_buffer(b"\xff" * (len(array) // 8 + 1))
    return pa.Array.from_buffers(array.type, len(array), [bitmap, *buffers[1:]])


def other_codes(rng: random.Random, array: pa.Array) -> pa.Array:
    """Repeat and interleave nulls in a dictionary whose order stays, and number its values otherwise."""
    if not pa.types.is_dictionary(array.type) or not len(array.dictionary):
        return array
    order = [*range(len(array.dictionary)), rng.randrange(len(array.dictionary))]
    values = pa.concat_arrays([array.dictionary.take(pa.array(order)), pa.nulls(1, array.dictionary.type)])
    twice = {order[-1]: len(order) - 1}
    codes = [
        rng.choice([None, len(order)]) if code is None else rng.choice([code, twice.get(code, code)])
        for code in array.indices.to_pylist()
    ]
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), values, ordered=array.type.ordered)


def other_width(array: pa.Array) -> pa.Array:
    others = {
        pa.string(): pa.large_string(), pa.large_string(): pa.string_view(), pa.string_view(): pa.string(),
        pa.binary(): pa.large_binary(), pa.large_binary(): pa.binary_view(), pa.binary_view(): pa.binary(),
    }  # fmt: skip
    kind = others.get(array.type)
    if kind is None and pa.types.is_list(array.type):
        kind = pa.large_list(array.type.value_type)
    return array if kind is None else array.cast(kind)
