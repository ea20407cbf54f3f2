"""Digests of partitions in one pass over a frame, a table, or batches as they come.

Whatever its rows lie in, and whatever is before and behind them, a partition's digest is
that of a frame that has these rows alone. It is the BLAKE3 of

=================  =============================================================================
schema             32 bytes: digest of the description and of all categories
rows               8 bytes
blocks             32 bytes for each 131,072 rows, counted from the first
=================  =============================================================================

and that of a block the BLAKE3 of its columns, in the order of the description, and of one
byte for each that says in which of two forms it is there: 0, the values as little-endian
bytes, for numbers, times and durations of which none is missing; 1, the leaf
(``fstore.fingerprint.canonical``), for all else. Rows and forms tell how long each is, so two different blocks share no
stream. Small partitions are hashed in one piece, which takes a fraction of what a hash for
each column of each of them takes: BLAKE3 is fast from 16 kB on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from blake3 import blake3

from fstore.errors import UnhashableInput
from fstore.features import Sessions
from fstore.fingerprint import (
    BLOCK_ROWS,
    PARALLEL_BYTES,
    ArrowColumn,
    Column,
    arrow_column,
    categories_digest,
    columns_of,
    has_plain_values,
    union_of_categories,
)
from fstore.frames import Description, canonical_json, describe, look_at, range_index
from fstore.increments.cutting import Cut, Grid, Span, cut_times
from fstore.increments.table import Partition, PartitionTable
from fstore.increments.times import Times, check_order, time_field, times_in, times_of

FLUSH_BYTES = 32 << 20
_SMALL_BLOCK = 1 << 20  # bytes; below, threads wait for each other more than they hash
_ONE_PIECE = 1 << 20  # bytes of a block that are copied together to be hashed at once
_LARGE_PIECE = 64 << 10  # bytes of a column that are hashed where they lie
Progress = Callable[[int], None]


def partition_table(
    raw: pd.DataFrame | pa.Table, by: Sessions, time: str | None = None, progress: Progress | None = None
) -> PartitionTable:
    """Digest the partitions of data in memory.

    Raises ``UnhashableInput`` where they cannot be cut or hashed.
    """
    times = times_of(raw, time)
    return digested(raw, times, cut_times(times, by), by, time, progress)


def digested(
    raw: pd.DataFrame | pa.Table,
    times: Times,
    cut: Cut,
    by: Sessions,
    time: str | None = None,
    progress: Progress | None = None,
) -> PartitionTable:
    """Digest the partitions of data whose times were read and cut already."""
    if isinstance(raw, pd.DataFrame):
        look = look_at(raw)
        schema, columns = look.schema, columns_of(look)
    else:
        schema, columns = raw.schema, [arrow_column(column) for column in raw.columns]
    about = describe(schema)
    ordered = [columns[i] for i in about.order]
    hashed = _hashed(ordered, about, list(zip(cut.rows, cut.rows[1:], strict=False)), progress)
    return _Composer(about, [column.extra() for column in ordered]).table(cut.spans, hashed, by, time)


@dataclass(slots=True)
class _Hashed:
    """What is known of a partition's rows: how many, and digests of their blocks."""

    rows: int
    blocks: bytes


class PartitionHasher:
    """Digests record batches of one schema as they come, cut into partitions.

    The table is that of the whole data. Holds the rows of one partition at a time, or of a few blocks of a large
    one.
    """

    def __init__(
        self, schema: pa.Schema, by: Sessions, time: str | None = None, progress: Progress | None = None
    ) -> None:
        self._schema = schema
        self._about = describe(schema)
        self._by, self._time = by, time
        self._field = time_field(schema, time)
        self._grid = Grid(by, self._field.zone)
        self._progress = progress
        self._span: Span | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0
        self._current = self._fresh()
        self._done: list[tuple[Span, _Hashed]] = []
        self._dictionaries: list[list[pa.Array]] = [[] for _ in schema]
        self._last: int | None = None
        self._rows = 0

    def update(self, batch: pa.RecordBatch) -> list[tuple[Span, pa.RecordBatch]]:
        """Append rows; returns them cut where a partition ends, each piece with its partition."""
        if batch.schema.names != self._schema.names or batch.schema.types != self._schema.types:
            raise UnhashableInput("batch", f"its columns {batch.schema} are not those of the first batch")
        for i, field in enumerate(self._schema):
            if pa.types.is_dictionary(field.type):
                self._dictionaries[i] = [union_of_categories([*self._dictionaries[i], batch.column(i).dictionary])]
        if not batch.num_rows:
            return []
        times = times_in(batch, self._field)
        check_order(times, first_row=self._rows, last=self._last)
        self._last, self._rows = int(times.ticks[-1]), self._rows + batch.num_rows
        pieces = []
        cut = self._cut(times)
        for span, start, stop in zip(cut.spans, cut.rows, cut.rows[1:], strict=False):
            if span != self._span:
                self._end_partition()
                self._span = span
            piece = batch.slice(start, stop - start)
            pieces.append((span, piece))
            self._append(piece)
        return pieces

    def table(self) -> PartitionTable:
        """Digest what is pending; no further batch may follow."""
        self._end_partition()
        known = [
            union_of_categories(self._dictionaries[i]) if pa.types.is_dictionary(self._schema.field(i).type) else None
            for i in self._about.order
        ]
        spans, hashed = [span for span, _ in self._done], [each for _, each in self._done]
        return _Composer(self._about, known).table(spans, hashed, self._by, self._time)

    def _cut(self, times: Times) -> Cut:
        first, last = (int(times.ticks[at]) for at in (0, -1))
        span = self._span
        if span is not None and span.start * times.per_second <= first and last < span.end * times.per_second:
            return Cut((span,), (0, len(times.ticks)))  # as most batches of large partitions
        return cut_times(times, self._by, self._grid)

    def _append(self, piece: pa.RecordBatch) -> None:
        self._pending.append(piece)
        self._pending_rows += piece.num_rows
        self._pending_bytes += int(piece.nbytes)
        if self._pending_rows >= BLOCK_ROWS and self._pending_bytes >= FLUSH_BYTES:
            self._flush(self._pending_rows // BLOCK_ROWS * BLOCK_ROWS)

    def _flush(self, rows: int) -> None:
        if not rows:
            return
        table = pa.Table.from_batches(self._pending)
        columns: list[Column] = [ArrowColumn(table.column(i)) for i in self._about.order]
        found = _hashed(columns, self._about, [(0, rows)], self._progress)[0]
        into = self._current
        into.blocks += found.blocks
        into.rows += rows
        rest = table.slice(rows)
        self._pending = rest.to_batches() if rest.num_rows else []
        self._pending_rows = rest.num_rows
        self._pending_bytes = int(rest.nbytes) if rest.num_rows else 0

    def _end_partition(self) -> None:
        self._flush(self._pending_rows)
        if self._span is not None and self._current.rows:
            self._done.append((self._span, self._current))
        self._current, self._span = self._fresh(), None

    def _fresh(self) -> _Hashed:
        return _Hashed(0, b"")


class _Composer:
    """Puts digests of rows together with what all partitions share."""

    def __init__(self, about: Description, categories: Sequence[pa.Array | None]) -> None:
        shared = blake3(about.text.encode())
        for known in categories:
            shared.update(b"-" if known is None else categories_digest(known).encode())
        # A partition starts to count at 0: a RangeIndex of the whole would tell where it lies in the data.
        shared.update(canonical_json(range_index(about.form, -1)).encode())
        self._schema = shared.digest()

    def table(self, spans: Iterable[Span], hashed: Iterable[_Hashed], by: Sessions, time: str | None) -> PartitionTable:
        found = [Partition(span, one.rows, self._digest(one)) for span, one in zip(spans, hashed, strict=True)]
        return PartitionTable(by, time, self._schema, tuple(found))

    def _digest(self, one: _Hashed) -> bytes:
        return blake3(self._schema + one.rows.to_bytes(8, "little") + one.blocks).digest()


def _hashed(
    ordered: Sequence[Column], about: Description, stretches: Sequence[tuple[int, int]], progress: Progress | None
) -> list[_Hashed]:
    """Hash stretches of rows, all blocks of all of them in one go."""
    blocks = [
        (first, min(first + BLOCK_ROWS, stop)) for start, stop in stretches for first in range(start, stop, BLOCK_ROWS)
    ]
    digests = iter(_block_digests(ordered, about, blocks, progress))
    return [
        _Hashed(stop - start, b"".join(next(digests) for _ in range(start, stop, BLOCK_ROWS)))
        for start, stop in stretches
    ]


def _block_digests(
    ordered: Sequence[Column], about: Description, blocks: Sequence[tuple[int, int]], progress: Progress | None
) -> list[bytes]:
    plain = [has_plain_values(about.form.field(i).type) for i in range(len(ordered))]
    data_bytes = sum(column.data_bytes for column in ordered)
    cells = sum(stop - start for start, stop in blocks) or 1

    def digest(block: tuple[int, int]) -> bytes:
        found = _block_digest(ordered, plain, *block)
        if progress:
            progress(data_bytes * (block[1] - block[0]) // cells)
        return found

    if not progress and (quick := _small_digests(ordered, plain, blocks, data_bytes)) is not None:
        return quick
    threads = min(os.cpu_count() or 1, 8, len(blocks))
    if threads < 2 or data_bytes < max(PARALLEL_BYTES, _SMALL_BLOCK * len(blocks)):
        return [digest(block) for block in blocks]
    with ThreadPoolExecutor(threads, thread_name_prefix="fstore-hash") as pool:
        return list(pool.map(digest, blocks))


def _small_digests(
    ordered: Sequence[Column], plain: Sequence[bool], blocks: Sequence[tuple[int, int]], data_bytes: int
) -> list[bytes] | None:
    """Do the same for many small blocks of numbers in one piece each; None for all others.

    None of the numbers may be missing.
    """
    if len(blocks) < 2 or data_bytes > _ONE_PIECE // 2 * len(blocks) or not all(plain):
        return None
    first, last = min(start for start, _ in blocks), max(stop for _, stop in blocks)
    rows, views = last - first, []
    for column in ordered:
        values = column.values(first, last)
        if values is None or len(values) != 1:
            return None
        views.append((values[0], len(values[0]) // rows))
    forms = bytes(len(ordered))
    found = []
    for start, stop in blocks:
        low, high = start - first, stop - first
        pieces: list[bytes | memoryview] = [view[low * width : high * width] for view, width in views]
        pieces.append(forms)
        found.append(blake3(b"".join(pieces)).digest())
    return found


def _block_digest(ordered: Sequence[Column], plain: Sequence[bool], start: int, stop: int) -> bytes:
    pieces: list[bytes | memoryview] = []
    forms = bytearray(len(ordered))
    for at, column in enumerate(ordered):
        values = column.values(start, stop) if plain[at] else None
        if values is None:
            forms[at] = 1
            pieces.append(column.leaf(start, stop))
        else:
            pieces += values
    pieces.append(bytes(forms))
    if sum(map(len, pieces)) <= _ONE_PIECE:
        return blake3(b"".join(pieces)).digest()
    hasher = blake3()
    small: list[bytes | memoryview] = []
    for piece in pieces:
        if len(piece) < _LARGE_PIECE:
            small.append(piece)
            continue
        hasher.update(b"".join(small))
        hasher.update(piece)
        small = []
    hasher.update(b"".join(small))
    return hasher.digest()
