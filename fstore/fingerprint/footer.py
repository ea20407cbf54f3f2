"""The footer: what a data set is, with a digest for every column.

Its own digest is the content digest.

The digest of a column is that of the digests of its blocks, so this is a tree of fixed
depth (root, columns, blocks), whose shape follows from the row count. The text form is
canonical JSON, so that equal content has one text on every machine::

    {"format":"b3m2","block_rows":131072,"rows":...,"schema":{...},"range":...,
     "bounds":[...],"columns":[{"blocks":"<hex>","categories":"<hex>"|null}, ...]}

``range`` is the RangeIndex, ``bounds`` the digests of the first and last value of every
index level. ``categories`` covers the whole dictionary of a categorical column, used or
not, in its order, ordered or not: codes, sorting and grouping show it. The text grows
with the columns, not with the rows, so a file's footer is read in no time at any size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import pyarrow as pa
from blake3 import blake3

from fstore.errors import UnhashableInput
from fstore.fingerprint.canonical import BLOCK_ROWS, leaf
from fstore.fingerprint.columns import ArrowColumn, Column, arrow_column, union_of_categories
from fstore.frames import Description, SchemaLook, describe, look_at_schema, plain_storage
from fstore.model import Fingerprint

PARALLEL_BYTES = 16 << 20  # below, starting threads costs more than they bring
FLUSH_BYTES = 32 << 20  # of rows that wait to be hashed
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Footer:
    """Summary of a data set; ``text`` is what is hashed and stored."""

    text: str

    @property
    def root(self) -> str:
        """The content digest, in hex."""
        return blake3(self.text.encode()).hexdigest()


def compose(
    look: SchemaLook,
    leaves: Sequence[bytes],
    bounds: Sequence[tuple[str, str]],
    categories: Sequence[pa.Array | None],
) -> Footer:
    """Write the footer from the concatenated block digests of each column.

    In the order of the description.
    """
    known = [None if each is None else categories_digest(each) for each in categories]
    return Footer(footer_text(look.description.text, look.rows, leaves, bounds, known, look.span_text))


def footer_text(
    described: str,
    rows: int,
    leaves: Sequence[bytes],
    bounds: Sequence[tuple[str, str]],
    categories: Sequence[str | None],
    span: str,
) -> str:
    """Write the text of a footer.

    Given are the texts of the description and of the range, and the digests of categories.
    """
    # Put together in the order of canonical JSON, for the schema's text, the longest part, is canonical already.
    columns = ",".join(
        f'{{"blocks":"{blake3(blocks).hexdigest()}","categories":' + ("null}" if known is None else f'"{known}"}}')
        for blocks, known in zip(leaves, categories, strict=True)
    )
    ends = ",".join(f'["{first}","{last}"]' for first, last in bounds)
    opening, closing = footer_ends(described, rows, span)
    return f'{opening}{ends}],"columns":[{columns}],{closing}'


def footer_ends(described: str, rows: int, span: str) -> tuple[str, str]:
    """Write what stands before the bounds, and what follows the columns, in the text of a footer."""
    return (
        f'{{"block_rows":{BLOCK_ROWS},"bounds":[',
        f'"format":"{Fingerprint.FORMAT}","range":{span},"rows":{rows},"schema":{described}}}',
    )


def footer_of(look: SchemaLook, columns: Sequence[Column], progress: Progress | None = None) -> Footer:
    """Hash columns that are in memory, block-parallel.

    ``columns`` are in the order of the schema's fields.
    """
    rows = look.rows
    ordered = [columns[i] for i in look.description.order]
    starts = range(0, rows, BLOCK_ROWS)
    blocks = [(column, start, min(start + BLOCK_ROWS, rows)) for start in starts for column in ordered]
    digests = hash_blocks(blocks, sum(column.data_bytes for column in ordered), progress)
    width = len(ordered)
    return compose(
        look,
        [b"".join(digests[i::width]) for i in range(width)],
        bounds_of(ordered, look.description, rows),
        [column.extra() for column in ordered],
    )


def bounds_of(ordered: Sequence[Column], description: Description, rows: int) -> list[tuple[str, str]]:
    """Digest the first and last value of each index level."""
    if not rows:
        return []
    levels = ordered[len(ordered) - description.levels :]
    return [(level.leaf(0, 1).hex(), level.leaf(rows - 1, rows).hex()) for level in levels]


def hash_blocks(
    blocks: Sequence[tuple[Column, int, int]], data_bytes: int, progress: Progress | None = None
) -> list[bytes]:
    """Compute the leaves of all blocks, with as many threads as there are cores up to eight.

    The threads live no longer than this call, so nothing of them is inherited by a fork.
    """
    digests = [b""] * len(blocks)
    cells = sum(stop - start for _, start, stop in blocks) or 1
    tickets = count()

    def work() -> None:
        while (at := next(tickets)) < len(blocks):
            column, start, stop = blocks[at]
            digests[at] = column.leaf(start, stop)
            if progress:
                progress(data_bytes * (stop - start) // cells)

    threads = min(os.cpu_count() or 1, 8, len(blocks)) if data_bytes >= PARALLEL_BYTES else 1
    if threads < 2:
        work()
        return digests
    with ThreadPoolExecutor(threads, thread_name_prefix="fstore-hash") as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()
    return digests


def table_footer(table: pa.Table, progress: Progress | None = None) -> Footer:
    """Hash a table in memory."""
    columns = [arrow_column(column) for column in table.columns]
    return footer_of(look_at_schema(table.schema, table.num_rows), columns, progress)


def categories_digest(categories: pa.Array) -> str:
    """Digest the values of a dictionary, in their order."""
    values = plain_storage(union_of_categories([categories]))
    hasher = blake3()
    for start in range(0, len(values), BLOCK_ROWS):
        hasher.update(leaf([values.slice(start, BLOCK_ROWS)]))
    return hasher.hexdigest()


class ContentHasher:
    """Digests record batches of one schema as they come; the result is that of the whole table.

    Holds at most ``FLUSH_BYTES`` of pending rows, or one block if a block is larger.
    """

    def __init__(self, schema: pa.Schema, progress: Progress | None = None) -> None:
        self._schema = schema
        self._description = describe(schema)
        self._progress = progress
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._leaves = [bytearray() for _ in schema]
        self._dictionaries: list[list[pa.Array]] = [[] for _ in schema]
        self._first: list[str] = []
        self._last: list[str] = []
        self.rows = 0
        self.data_bytes = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Append rows; the batch is kept until its block is full.

        Names and types must be those of the schema.
        """
        if batch.schema.names != self._schema.names or batch.schema.types != self._schema.types:
            raise UnhashableInput("batch", f"its columns {batch.schema} are not those of the first batch")
        self._note_dictionaries(batch)
        if not batch.num_rows:
            return
        self._note_ends(batch)
        size = int(batch.nbytes)
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_bytes += size
        self.rows += batch.num_rows
        self.data_bytes += size
        if self._pending_rows >= BLOCK_ROWS and self._pending_bytes >= FLUSH_BYTES:
            self._flush(self._pending_rows // BLOCK_ROWS * BLOCK_ROWS)

    def footer(self) -> Footer:
        """Digest what is pending and write the footer; no further batch may follow."""
        self._flush(self._pending_rows)
        order = self._description.order
        return compose(
            look_at_schema(self._schema, self.rows),
            [bytes(self._leaves[i]) for i in order],
            list(zip(self._first, self._last, strict=True)),
            [
                union_of_categories(self._dictionaries[i])
                if pa.types.is_dictionary(self._schema.field(i).type)
                else None
                for i in order
            ],
        )

    def categories(self) -> list[pa.Array | None]:
        """Give the categories seen so far, by field; None for a column that has none."""
        return [
            union_of_categories(self._dictionaries[i]) if pa.types.is_dictionary(field.type) else None
            for i, field in enumerate(self._schema)
        ]

    def digest(self) -> str:
        """Finish and give the content digest, in hex; no further batch may follow."""
        return self.footer().root

    def _flush(self, rows: int) -> None:
        if not rows:
            return
        table = pa.Table.from_batches(self._pending)
        columns = [ArrowColumn(column) for column in table.columns]
        starts = range(0, rows, BLOCK_ROWS)
        blocks = [(column, start, min(start + BLOCK_ROWS, rows)) for start in starts for column in columns]
        digests = hash_blocks(blocks, self._pending_bytes, self._progress)
        for i in range(len(columns)):
            self._leaves[i].extend(b"".join(digests[i :: len(columns)]))
        rest = table.slice(rows)
        self._pending = rest.to_batches() if rest.num_rows else []
        self._pending_rows = rest.num_rows
        self._pending_bytes = int(rest.nbytes) if rest.num_rows else 0

    def _note_ends(self, batch: pa.RecordBatch) -> None:
        levels = self._description.order[len(self._schema) - self._description.levels :]
        if not self.rows:
            self._first = [leaf([batch.column(i).slice(0, 1)]).hex() for i in levels]
        self._last = [leaf([batch.column(i).slice(batch.num_rows - 1, 1)]).hex() for i in levels]

    def _note_dictionaries(self, batch: pa.RecordBatch) -> None:
        for i, field in enumerate(self._schema):
            if pa.types.is_dictionary(field.type):
                seen = self._dictionaries[i]
                seen.append(batch.column(i).dictionary)
                if len(seen) > 1:
                    self._dictionaries[i] = [union_of_categories(seen)]
