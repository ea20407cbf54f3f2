"""Content digests of data that pass by once, batch after batch."""

from __future__ import annotations

import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.fingerprint.canonical import BLOCK_ROWS, leaf
from fstore.fingerprint.columns import ArrowColumn, union_of_categories
from fstore.fingerprint.footer import Footer, Progress, compose, hash_blocks
from fstore.frames.description import describe

FLUSH_BYTES = 32 << 20


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
        """Append rows; the batch is kept until its block is full. Names and types must be those of the schema."""
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
            self._schema,
            self.rows,
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
