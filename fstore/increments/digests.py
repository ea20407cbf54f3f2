"""Digests of partitions in one pass over a frame, a table, or batches as they come.

Leaves are those of ``fstore.fingerprint.canonical``, in blocks counted from a partition's
first row, and are put together as the footer of a frame that has these rows alone. So
nothing here defines a format of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    NumpyColumn,
    arrow_column,
    categories_digest,
    columns_of,
    footer_text,
    hash_blocks,
    union_of_categories,
)
from fstore.frames import Description, canonical_json, describe, look_at, range_index
from fstore.increments.cutting import Cut, Grid, Span, cut_times
from fstore.increments.table import Partition, PartitionTable
from fstore.increments.times import Times, check_order, time_field, times_in, times_of

FLUSH_BYTES = 32 << 20
_SMALL_BLOCK = 64 << 10  # bytes; below, threads wait for each other more than they hash
Progress = Callable[[int], None]


def partition_table(
    raw: pd.DataFrame | pa.Table, by: Sessions, time: str | None = None, progress: Progress | None = None
) -> PartitionTable:
    """Digest the partitions of data in memory; raises ``UnhashableInput`` where they cannot be cut or hashed."""
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
    """What is known of a partition's rows: digests of the blocks of each column, and of the ends of the index."""

    rows: int
    leaves: list[bytes]
    bounds: list[tuple[str, str]]


class PartitionHasher:
    """Digests record batches of one schema as they come, cut into partitions; the table is that of the whole data.

    Holds the rows of one partition at a time, or of a few blocks of a large one.
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
        into.leaves = [one + more for one, more in zip(into.leaves, found.leaves, strict=True)]
        pairs = zip(into.bounds or found.bounds, found.bounds, strict=True)
        into.bounds = [(first, last) for (first, _), (_, last) in pairs]
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
        return _Hashed(0, [b""] * len(self._about.order), [])


class _Composer:
    """Puts digests of rows together with what all partitions share."""

    def __init__(self, about: Description, categories: Sequence[pa.Array | None]) -> None:
        self._about = about
        self._categories = [None if known is None else categories_digest(known) for known in categories]
        # A partition starts to count at 0: a RangeIndex of the whole would tell where it lies in the data.
        self._range = canonical_json(range_index(about.form, -1))

    def table(self, spans: Iterable[Span], hashed: Iterable[_Hashed], by: Sessions, time: str | None) -> PartitionTable:
        found = [Partition(span, one.rows, self._digest(one)) for span, one in zip(spans, hashed, strict=True)]
        shared = blake3(self._about.text.encode())
        for known in self._categories:
            shared.update((known or "-").encode())
        return PartitionTable(by, time, shared.digest(), tuple(found))

    def _digest(self, one: _Hashed) -> bytes:
        text = footer_text(self._about.text, one.rows, one.leaves, one.bounds, self._categories, self._range)
        return blake3(text.encode()).digest()


def _hashed(
    ordered: Sequence[Column], about: Description, stretches: Sequence[tuple[int, int]], progress: Progress | None
) -> list[_Hashed]:
    """Hash stretches of rows, all blocks of all of them in one go."""
    blocks = [
        (first, min(first + BLOCK_ROWS, stop)) for start, stop in stretches for first in range(start, stop, BLOCK_ROWS)
    ]
    by_column = _leaves(ordered, blocks, progress)
    levels = ordered[len(ordered) - about.levels :]
    ends = [end for start, stop in stretches for end in ((start, start + 1), (stop - 1, stop))]
    marks = [[each.hex() for each in _leaves_of(level, ends)] for level in levels]
    hashed, at = [], 0
    for number, (start, stop) in enumerate(stretches):
        count = -(-(stop - start) // BLOCK_ROWS)
        leaves = [b"".join(leaves[at : at + count]) if count > 1 else leaves[at] for leaves in by_column]
        at += count
        bounds = [(level[2 * number], level[2 * number + 1]) for level in marks]
        hashed.append(_Hashed(stop - start, leaves, bounds))
    return hashed


def _leaves(
    ordered: Sequence[Column], blocks: Sequence[tuple[int, int]], progress: Progress | None
) -> list[list[bytes]]:
    """Hash blocks of each column: of large ones several at a time, of many small ones a column at a time."""
    data_bytes = sum(column.data_bytes for column in ordered)
    if data_bytes < PARALLEL_BYTES or data_bytes < _SMALL_BLOCK * len(blocks) * len(ordered):
        found = []
        for column in ordered:
            found.append(_leaves_of(column, blocks))
            if progress:
                progress(column.data_bytes)
        return found
    digests = hash_blocks([(column, *block) for column in ordered for block in blocks], data_bytes, progress)
    return [digests[at : at + len(blocks)] for at in range(0, len(digests), len(blocks) or 1)]


def _leaves_of(column: Column, blocks: Sequence[tuple[int, int]]) -> list[bytes]:
    if isinstance(column, NumpyColumn):
        return column.leaves(blocks)
    return [column.leaf(start, stop) for start, stop in blocks]
