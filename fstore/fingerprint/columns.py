"""Where a column's blocks come from.

NumPy memory, Arrow memory or pandas extension arrays, read in place. Whatever cannot be hashed in place is
converted one block at a time, so the extra memory is a block per thread however large the data are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.fingerprint.canonical import LeafHash, leaf, leaf_of_numbers, leaves_of_numbers
from fstore.frames import (
    NUMPY_KINDS,
    FrameLook,
    Level,
    Part,
    categories_of,
    chunked,
    convert_rows,
    is_arrow,
    plain_storage,
)

_NUMBER_TYPES = {
    kind.id
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.timestamp("ns")),
    )
}


class Column(Protocol):
    """Rows of one column, hashed block by block from any thread."""

    @property
    def data_bytes(self) -> int: ...

    def leaf(self, start: int, stop: int) -> bytes:
        """Hash the rows from ``start`` to ``stop``; at most one block of them."""
        ...

    def values(self, start: int, stop: int) -> list[memoryview] | None:
        """Give the rows as they lie in memory, value by value.

        None if some are missing, or it has no such form.
        """
        ...

    def extra(self) -> pa.Array | None:
        """What the column holds besides its values, known once all leaves are hashed: its categories."""
        ...


class ArrowColumn:
    """A column in Arrow memory, in chunks of any length."""

    def __init__(self, chunks: pa.ChunkedArray) -> None:
        self._chunks = [chunk for chunk in chunks.chunks if len(chunk)]
        self._starts = [0]
        for chunk in self._chunks:
            self._starts.append(self._starts[-1] + len(chunk))
        self._is_dictionary = pa.types.is_dictionary(chunks.type)
        self._dictionaries = [chunk.dictionary for chunk in chunks.chunks] if self._is_dictionary else []
        self.data_bytes = int(chunks.nbytes)

    def leaf(self, start: int, stop: int) -> bytes:
        return leaf(self.pieces(start, stop))

    def values(self, start: int, stop: int) -> list[memoryview] | None:
        return plain_values(self.pieces(start, stop))

    def pieces(self, start: int, stop: int) -> list[pa.Array]:
        pieces = []
        at = bisect_right(self._starts, start) - 1
        while start < stop:
            chunk, offset = self._chunks[at], start - self._starts[at]
            piece = chunk.slice(offset, stop - start)
            pieces.append(piece)
            start, at = start + len(piece), at + 1
        if len(pieces) > 64 and not self._is_dictionary:
            return [pa.concat_arrays(pieces)]
        return pieces

    def extra(self) -> pa.Array | None:
        return union_of_categories(self._dictionaries) if self._is_dictionary else None


class NumpyColumn:
    """A numpy column; ``missing`` is the bit pattern that stands for null (NaT), if the dtype has one."""

    def __init__(self, values: npt.NDArray[Any], *, nat_is_null: bool = False) -> None:
        self._values = values
        self._nat_is_null = nat_is_null
        self._bytes: memoryview | None = None
        self._is_whole = False
        self.data_bytes = int(values.nbytes)

    def leaf(self, start: int, stop: int) -> bytes:
        block = np.ascontiguousarray(self._values[start:stop])
        if block.dtype != np.bool_ and not self._nat_is_null:
            return leaf_of_numbers(block)
        into = LeafHash()
        nulls = 0
        if block.dtype == np.bool_:
            into.bits(block)
        elif nulls := int(np.count_nonzero(is_nat := block == np.iinfo(np.int64).min)):
            into.values(np.where(is_nat, 0, block).view(np.uint8))
            into.bits(~is_nat)
        else:
            into.values(block.view(np.uint8))
        into.node(stop - start, nulls)
        return into.digest()

    def values(self, start: int, stop: int) -> list[memoryview] | None:
        if self._bytes is None:
            if self._values.dtype == np.bool_:
                return None
            self._values = np.ascontiguousarray(self._values)
            self._bytes = self._values.view(np.uint8).data
            self._is_whole = not self._nat_is_null or not bool((self._values == np.iinfo(np.int64).min).any())
        if not self._is_whole and bool((self._values[start:stop] == np.iinfo(np.int64).min).any()):
            return None
        width = self._values.itemsize
        return [self._bytes[start * width : stop * width]]

    def leaves(self, blocks: Sequence[tuple[int, int]]) -> list[bytes]:
        """Hash many blocks of rows, each at most one block of them, sooner than one by one."""
        values = self._values
        if values.dtype == np.bool_ or (self._nat_is_null and (values == np.iinfo(np.int64).min).any()):
            return [self.leaf(start, stop) for start, stop in blocks]
        return leaves_of_numbers(np.ascontiguousarray(values), blocks)

    def extra(self) -> pa.Array | None:
        return None


def has_plain_values(kind: pa.DataType) -> bool:
    """Have values of a type a fixed width and no second way to be written."""
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(is_number or pa.types.is_timestamp(kind) or pa.types.is_duration(kind))


def plain_values(pieces: Sequence[pa.Array]) -> list[memoryview] | None:
    """Give arrays of such a type as their values lie in memory, None if some are missing."""
    found = []
    for piece in pieces:
        if piece.null_count or not has_plain_values(piece.type):
            return None
        if len(piece):
            width = piece.type.bit_width // 8
            found.append(memoryview(piece.buffers()[1])[piece.offset * width : (piece.offset + len(piece)) * width])
    return found


def arrow_column(chunks: pa.ChunkedArray) -> Column:
    """Return a column in Arrow memory.

    Numbers and times in one piece and without nulls are read as numpy would.
    """
    if chunks.type.id in _NUMBER_TYPES and chunks.num_chunks == 1 and not chunks.null_count:
        return NumpyColumn(chunks.chunk(0).to_numpy(zero_copy_only=True))
    return ArrowColumn(chunks)


class ConvertedColumn:
    """A pandas array that becomes Arrow one block at a time."""

    def __init__(
        self, convert: Callable[[int, int], pa.Array], data_bytes: int, categories: pa.Array | None = None
    ) -> None:
        self._convert = convert
        self._categories = categories
        self.data_bytes = data_bytes

    def leaf(self, start: int, stop: int) -> bytes:
        return leaf([self._convert(start, stop)])

    def values(self, start: int, stop: int) -> list[memoryview] | None:
        return plain_values([self._convert(start, stop)])

    def extra(self) -> pa.Array | None:
        return self._categories


def columns_of(look: FrameLook) -> list[Column]:
    """Return the columns, then the index levels, in the order of the schema's fields."""
    return [_column(part, kind, look.rows) for part, kind in zip(look.parts, look.schema.types, strict=True)]


def _column(part: Part | Level, kind: pa.DataType, rows: int) -> Column:
    dtype = part.dtype
    data_bytes = rows * 8
    if isinstance(part, Part):
        if isinstance(part.values, np.ndarray) and part.values.dtype.kind in NUMPY_KINDS:
            return NumpyColumn(part.values)
        whole = part.array(0, rows)
        if isinstance(dtype, np.dtype) and dtype.kind in NUMPY_KINDS:
            return NumpyColumn(np.asarray(whole))
        if isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)) or (
            isinstance(dtype, np.dtype) and dtype.kind in "mM"
        ):
            return NumpyColumn(whole.view("i8"), nat_is_null=True)
        if is_arrow(dtype):
            return ArrowColumn(chunked(whole.__arrow_array__()))
        data_bytes = int(whole.nbytes)
    categories = categories_of(part, kind)
    return ConvertedColumn(
        lambda start, stop: convert_rows(part, kind, categories, start, stop), data_bytes, categories
    )


def union_of_categories(dictionaries: list[pa.Array]) -> pa.Array:
    """Merge the dictionaries of a column's chunks, in the order of first appearance.

    Without nulls and repetitions.
    """
    kinds = {dictionary.type for dictionary in dictionaries}
    if not dictionaries:
        return pa.nulls(0)
    if len(kinds) > 1:
        raise UnhashableInput("dictionary", f"chunks disagree about the value type: {sorted(map(str, kinds))}")
    distinct: list[pa.Array] = []
    for dictionary in dictionaries:
        if not any(dictionary is known or dictionary.equals(known) for known in distinct):
            distinct.append(dictionary)
    return _unique(distinct[0] if len(distinct) == 1 else pa.concat_arrays(distinct))


def _unique(values: pa.Array) -> pa.Array:
    values = values.drop_null() if values.null_count else values
    try:
        once = plain_storage(values).unique()
    except pa.ArrowNotImplementedError:
        return values  # nested ones, of which Arrow cannot tell whether they are equal
    return values if len(once) == len(values) else once
