"""The byte streams that are hashed: one for each (column, block of rows), made of values alone.

A *leaf* is the BLAKE3 digest of the canonical stream of one column within one
block of ``BLOCK_ROWS`` rows. A stream holds no trace of layout: not the chunking,
the slicing offset, the bytes under nulls, the width of string offsets, the order
of a dictionary, nor whether an all-valid column carries a bitmap.

The stream of a node (a column, or a child of a nested column) is, in this order:

======================  ==================================================================
fixed width             the values as little-endian bytes, zero bytes under nulls; float
                        bits as they are, so -0.0 differs from 0.0 and every NaN from null
boolean                 bits, least significant first, zero under nulls
string, binary          the lengths (zero under nulls) as unsigned integers of the fewest
                        bytes that hold the longest, then all bytes run together
list, map               the lengths likewise, then the stream of the flattened child
fixed-size list         the stream of the flattened child
struct                  the streams of the children, null where the parent is
dictionary              the stream of the decoded values
any, if it has nulls    before the children: the validity bits
======================  ==================================================================

followed, once per leaf, by 17 bytes for every node: row count, null count, width of
the lengths. With the schema in the footer this can be read backwards without doubt,
so two different columns never share a stream. Changing any of this changes every
key: raise ``Fingerprint.FORMAT`` then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from fstore.frames import byte_width, is_listlike, is_text, plain_storage

BLOCK_ROWS = 131_072
SCRATCH_BYTES = 4 << 20
_COUNTS = struct.Struct("<QQB")  # rows, nulls, width of lengths

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[Any]


class LeafHash:
    """A BLAKE3 hasher that collects the nodes' counts and appends them at the end."""

    __slots__ = ("_counts", "_hash")

    def __init__(self) -> None:
        self._hash = blake3()
        self._counts: list[bytes] = []

    def values(self, data: Bytes) -> None:
        """Append value bytes, read in place; the interpreter lock is released while they are hashed."""
        self._hash.update(data.data)

    def bits(self, flags: Bools) -> None:
        self._hash.update(np.packbits(flags, bitorder="little").data)

    def node(self, rows: int, nulls: int, width: int = 0) -> None:
        self._counts.append(struct.pack("<QQB", rows, nulls, width))

    def digest(self) -> bytes:
        self._hash.update(b"".join(self._counts))
        return self._hash.digest()


def leaf_of_numbers(values: npt.NDArray[Any]) -> bytes:
    """Hash the rows of one block of numbers without nulls, given as one contiguous array."""
    hasher = blake3(values.view(np.uint8).data)
    hasher.update(struct.pack("<QQB", len(values), 0, 0))
    return hasher.digest()


def leaves_of_numbers(values: npt.NDArray[Any], blocks: Sequence[tuple[int, int]]) -> list[bytes]:
    """Do the same for many blocks of one contiguous array."""
    data, width, counts = values.view(np.uint8).data, values.itemsize, _COUNTS.pack
    found = []
    for start, stop in blocks:
        hasher = blake3(data[start * width : stop * width])
        hasher.update(counts(stop - start, 0, 0))
        found.append(hasher.digest())
    return found


def leaf(pieces: Sequence[pa.Array]) -> bytes:
    """Hash the rows of one block, given as consecutive arrays of one type."""
    into = LeafHash()
    feed(into, pieces)
    return into.digest()


def feed(into: LeafHash, pieces: Sequence[pa.Array]) -> None:
    """Append the canonical stream of consecutive arrays of one type.

    Reads Arrow buffers in place where it can.
    """
    pieces = [plain_storage(piece) for piece in pieces]
    if not pieces:
        return
    kind = pieces[0].type
    if is_text(kind):
        _feed_text(into, pieces)
    elif pa.types.is_dictionary(kind):
        _feed_dictionary(into, pieces)
    elif pa.types.is_struct(kind):
        _feed_validity(into, pieces)
        for children in zip(*(piece.flatten() for piece in pieces), strict=True):
            feed(into, children)
    elif pa.types.is_fixed_size_list(kind):
        _feed_validity(into, pieces)
        feed(into, [piece.flatten() for piece in pieces])
    elif is_listlike(kind):
        lengths = np.concatenate([_list_lengths(piece) for piece in pieces])
        _feed_validity(into, pieces, _feed_lengths(into, lengths))
        feed(into, [piece.flatten() for piece in pieces])
    elif pa.types.is_null(kind):
        rows = sum(map(len, pieces))
        into.node(rows, rows)
    elif pa.types.is_boolean(kind):
        into.bits(np.concatenate([_flags(piece) for piece in pieces]))
        _feed_validity(into, pieces)
    else:
        for piece in pieces:
            _feed_fixed(into, piece, byte_width(kind))
        _feed_validity(into, pieces)


def valid_mask(piece: pa.Array) -> Bools:
    """True where a value is present; reads the bitmap, whatever its offset."""
    bitmap = piece.buffers()[0]
    if bitmap is None:
        return np.ones(len(piece), dtype=np.bool_)
    return _unpack(bitmap, piece.offset, len(piece))


def _unpack(bitmap: pa.Buffer, offset: int, rows: int) -> Bools:
    whole = np.frombuffer(bitmap, dtype=np.uint8)[offset // 8 : (offset + rows + 7) // 8]
    return np.unpackbits(whole, bitorder="little")[offset % 8 : offset % 8 + rows].view(np.bool_)


def _feed_validity(into: LeafHash, pieces: Sequence[pa.Array], width: int = 0) -> None:
    nulls = sum(piece.null_count for piece in pieces)
    if nulls:
        into.bits(np.concatenate([valid_mask(piece) for piece in pieces]))
    into.node(sum(map(len, pieces)), nulls, width)


def _feed_fixed(into: LeafHash, piece: pa.Array, width: int) -> None:
    if not len(piece):
        return
    data = np.frombuffer(piece.buffers()[1], dtype=np.uint8)[piece.offset * width : (piece.offset + len(piece)) * width]
    if piece.null_count:
        data = data.reshape(len(piece), width).copy()
        data[~valid_mask(piece)] = 0
    into.values(data)


def _flags(piece: pa.Array) -> Bools:
    if not len(piece):
        return np.zeros(0, dtype=np.bool_)
    flags = _unpack(piece.buffers()[1], piece.offset, len(piece))
    return flags & valid_mask(piece) if piece.null_count else flags


def _feed_lengths(into: LeafHash, lengths: Ints) -> int:
    longest = int(lengths.max()) if len(lengths) else 0
    width = next(w for w in (1, 2, 4, 8) if longest < 1 << (8 * w))
    into.values(lengths.astype(f"<u{width}").view(np.uint8))
    return width


def _list_lengths(piece: pa.Array) -> Ints:
    lengths = pc.fill_null(pc.list_value_length(piece), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def _offsets(piece: pa.Array) -> Ints:
    wide = pa.types.is_large_string(piece.type) or pa.types.is_large_binary(piece.type)
    if not len(piece):
        return np.zeros(1, dtype=np.int64)
    offsets = np.frombuffer(piece.buffers()[1], dtype=np.int64 if wide else np.int32)
    return offsets[piece.offset : piece.offset + len(piece) + 1]


def _text_lengths(piece: pa.Array) -> Ints:
    lengths = np.diff(_offsets(piece))
    if piece.null_count:
        lengths *= valid_mask(piece)
    return lengths


def _feed_text(into: LeafHash, pieces: Sequence[pa.Array]) -> None:
    lengths = [_text_lengths(piece) for piece in pieces]
    width = _feed_lengths(into, lengths[0] if len(lengths) == 1 else np.concatenate(lengths))
    for piece, sizes in zip(pieces, lengths, strict=True):
        _feed_text_bytes(into, piece, sizes)
    _feed_validity(into, pieces, width)


def _feed_text_bytes(into: LeafHash, piece: pa.Array, lengths: Ints) -> None:
    offsets = _offsets(piece)
    first, last = int(offsets[0]), int(offsets[-1])
    if last - first == int(lengths.sum()):
        if last > first:
            into.values(np.frombuffer(piece.buffers()[2], dtype=np.uint8)[first:last])
        return
    # Bytes lie under nulls: squeeze them out, a bounded stretch of rows at a time.
    for start, stop in bounded_rows(np.diff(offsets)):
        dense = piece.slice(start, stop - start).drop_null()
        _feed_text_bytes(into, dense, _text_lengths(dense))


def _feed_dictionary(into: LeafHash, pieces: Sequence[pa.Array]) -> None:
    if not is_text(pieces[0].type.value_type):
        feed(into, [piece.dictionary_decode() for piece in pieces])
        return
    lengths: list[Ints] = []
    emit: list[Callable[[], None]] = []
    nulls: list[Bools] = []
    for piece in pieces:
        words = plain_storage(piece.dictionary)
        sizes = np.append(_text_lengths(words), 0)
        codes = pc.fill_null(piece.indices.cast(pa.int64()), len(words)).to_numpy(zero_copy_only=False)
        lengths.append(sizes[codes])
        nulls.append(np.append(valid_mask(words), False)[codes])

        def decoded(codes: Ints = codes, words: pa.Array = words, sizes: Ints = lengths[-1]) -> None:
            for start, stop in bounded_rows(sizes):
                rows = codes[start:stop]
                dense = words.take(pa.array(rows[rows < len(words)]))
                _feed_text_bytes(into, dense, _text_lengths(dense))

        emit.append(decoded)
    width = _feed_lengths(into, np.concatenate(lengths))
    for decoded_bytes in emit:
        decoded_bytes()
    valid = np.concatenate(nulls)
    missing = len(valid) - int(np.count_nonzero(valid))
    if missing:
        into.bits(valid)
    into.node(len(valid), missing, width)


def bounded_rows(lengths: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Cut rows into stretches of at most ``SCRATCH_BYTES``, each of at least one row."""
    if not len(lengths):
        return []
    steps = np.cumsum(lengths, dtype=np.int64) // SCRATCH_BYTES
    cuts = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), len(lengths)]
    return list(pairwise(cuts))
