"""Write a Parquet file row group by row group, and publish it whole or not at all.

It is digested on the way.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from fstore.fingerprint import SEAL_BYTES, ContentHasher, Footer, apply_seal, notes_of, plan_storage
from fstore.frames import is_text
from fstore.increments import PARTITION_NOTE, PartitionHasher, Span
from fstore.storage import sync_file, sync_folder, translated

ROW_GROUP_ROWS = 1 << 20
ROW_GROUP_BYTES = 64 << 20
LEAST_GROUP_ROWS = 2_000
"""Of partitions that share a group. Smaller ones make footers longer by what they spare of the data, and whole reads slower."""


class SealedWriter:
    """Writes batches of one schema to ``dest``.

    Nothing is seen there until ``publish`` has made all of it durable. Leaving the ``with`` block without
    ``publish`` removes what was written. Holds at most one row group in memory. With ``partitions`` row groups end
    where a partition does, and the table of partitions is noted in the file.
    """

    def __init__(self, dest: Path, schema: pa.Schema, partitions: PartitionHasher | None = None) -> None:
        self.dest = dest
        self._partitions = partitions
        self._span: Span | None = None
        self._plan = plan_storage(schema)
        self._hasher = ContentHasher(schema)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._temp = dest.with_name(f".{dest.name}.{secrets.token_hex(8)}.tmp")
        self._published = False
        with translated(dest):
            dest.parent.mkdir(parents=True, exist_ok=True)
            self._sink = pa.OSFile(str(self._temp), "wb")
            self._writer = pq.ParquetWriter(self._sink, self._plan.stored, **_options(self._plan.stored))

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._hasher.update(batch)
        if self._partitions is None:
            self._append(batch)
            return
        for span, piece in self._partitions.update(batch):
            if span != self._span and self._pending_rows >= LEAST_GROUP_ROWS:
                self._write_group()
            self._span = span
            self._append(piece)

    def _append(self, batch: pa.RecordBatch) -> None:
        stored = self._plan.store(batch) if self._plan.changed else batch
        self._pending.append(stored)
        self._pending_rows += batch.num_rows
        self._pending_bytes += int(batch.nbytes)
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
            self._write_group()

    def publish(self) -> Footer:
        """Write footer and seal, then fsync, rename and fsync the folder.

        After this the file survives a power cut.
        """
        self._write_group()
        footer = self._hasher.footer()
        with translated(self.dest):
            self._sink.write(bytes(SEAL_BYTES))
            notes = {**notes_of(footer), **self._plan.metadata(self._hasher.categories())}
            if self._partitions is not None:
                notes[PARTITION_NOTE] = self._partitions.table().packed()
            self._writer.add_key_value_metadata(notes)
            self._writer.close()
            self._sink.close()
            apply_seal(self._temp, footer.root, self._hasher.data_bytes)
            sync_file(self._temp)
            self._temp.replace(self.dest)
            self._published = True
            sync_folder(self.dest.parent)
        return footer

    def __enter__(self) -> SealedWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._published:
            return
        try:
            self._writer.close()
            self._sink.close()
        except (pa.ArrowException, OSError):
            # The error that brought us here is the one to report.
            pass
        self._temp.unlink(missing_ok=True)

    def _write_group(self) -> None:
        if not self._pending_rows:
            return
        table = pa.Table.from_batches(self._pending, schema=self._plan.stored)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        with translated(self.dest):
            self._writer.write_table(table, row_group_size=max(table.num_rows, 1))


def _options(schema: pa.Schema) -> dict[str, object]:
    repetitive = [
        field.name
        for field in schema
        if is_text(field.type) or pa.types.is_dictionary(field.type) or pa.types.is_integer(field.type)
    ]
    return {
        "compression": "zstd",
        "use_dictionary": repetitive or False,
        "write_page_checksum": True,
        "store_schema": True,
    }
