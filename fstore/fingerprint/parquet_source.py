"""Parquet sources as one stream of record batches.

Whoever reads raw data from a ``ParquetSource`` reads it through here, so that what is
hashed and what a feature sees are the same bytes, converted the same way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from fstore.errors import SourceChanged
from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.columns import union_of_categories
from fstore.fingerprint.files.listing import parquet_files
from fstore.fingerprint.parquet_limits import USUAL, ParquetLimits, check_tail, open_bounded, out_of_memory
from fstore.fingerprint.parquet_types import INTENT_KEY, Intention
from fstore.fingerprint.seal import find_footer, read_seal
from fstore.fingerprint.stamps import SourceStamp
from fstore.frames import FRAME_METADATA, describe, without_list_views
from fstore.model import ObjectUrl, ParquetSource


class ParquetReader:
    """Reads one source, within limits; nothing is kept from one call to the next, for files may change."""

    def __init__(self, source: ParquetSource, limits: ParquetLimits = USUAL) -> None:
        if isinstance(source.path, ObjectUrl):
            raise TypeError(f"{source.path} is no path of this host")
        self.source, self.path = source, source.path
        self.limits = limits

    def files(self) -> list[Path]:
        """List the source's files in the order of their relative paths; hidden files and folders are skipped.

        Raises ``InvalidRequest`` for folders called ``key=value``, for what others take for no data, and for Parquet
        files of other names; ``SourceChanged`` where not all can be listed.
        """
        return parquet_files(self.path)

    def stamp(self) -> SourceStamp:
        """Take the stamp of the source: reads every file's Parquet footer and nothing else."""
        files, path = self.files(), self.path
        stamps = [_file_stamp(file, self.limits) for file in files]
        if files == [path]:
            return stamps[0]
        combined = blake3()
        for file, one in zip(files, stamps, strict=True):
            relative = file.relative_to(path).as_posix()
            combined.update(
                repr((relative, one.size_bytes, one.mtime_ns, one.ctime_ns, one.inode, one.footer_digest)).encode()
            )
        return SourceStamp(
            str(path),
            sum(one.size_bytes for one in stamps),
            max(one.mtime_ns for one in stamps),
            max(one.ctime_ns for one in stamps),
            path.stat().st_ino,
            combined.hexdigest(),
        )

    def schema(self) -> pa.Schema:
        """Read the schema of the table the source stands for, which is that of its first file."""
        first = self.files()[0]
        return plain_schema(_intention(first, self._open(first)).schema)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream the rows in order, at most a block at a time, verifying page checksums where there are any."""
        files = self.files()
        schema = self.schema()
        for file in files:
            opened = self._open(file)
            self._check_agreement(schema, file, opened)
            yield from _file_batches(file, opened, schema, range(opened.num_row_groups), columns)

    def table(self) -> pa.Table:
        """Read the whole source into memory: the concatenation of its files."""
        return pa.Table.from_batches(self.batches(), schema=self.schema())

    def categories(self) -> dict[str, pa.Array]:
        """Read the categories of all dictionary columns, by name.

        Of a foreign file that takes reading these columns.
        """
        names = [field.name for field in self.schema() if pa.types.is_dictionary(field.type)]
        known: dict[str, pa.Array] = {}
        for batch in self.batches(names) if names else ():
            for name in names:
                found = batch.column(name).dictionary
                known[name] = union_of_categories([known[name], found] if name in known else [found])
        return known

    def rows(self, file: Path, schema: pa.Schema, *, first: int = 0, last: int = 0) -> pa.Table:
        """Read the first or the last rows of a file, and no row group that holds none of them."""
        opened = self._open(file)
        groups = list(range(opened.num_row_groups))
        chosen: list[int] = []
        rows = 0
        for group in groups if first else reversed(groups):
            if rows < (first or last):
                chosen.append(group)
                rows += opened.metadata.row_group(group).num_rows
        table = pa.Table.from_batches(_file_batches(file, opened, schema, sorted(chosen), None), schema=schema)
        return table.slice(0, first) if first else table.slice(max(table.num_rows - last, 0))

    def stretch(self, first: int, stop: int, files: Sequence[tuple[Path, int]] | None = None) -> pa.Table:
        """Read the rows from ``first`` to ``stop``, and no row group that holds none of them.

        ``files`` are those of the source with the rows of each, where they are known:
        others are not opened then. Categories that no file notes are those of the row
        groups read alone.
        """
        files = self.file_rows() if files is None else files
        chosen: list[tuple[Path, int, int]] = []
        at = 0  # the first row of the file looked at
        for file, count in files:
            if count and at < stop and at + count > first:
                chosen.append((file, max(first - at, 0), min(stop - at, count)))
            at += count
        leading = chosen[0][0] if chosen else files[0][0]
        opened = self._open(leading)
        schema = plain_schema(_intention(leading, opened).schema)
        parts = []
        for file, start, end in chosen:
            opened = opened if file == leading else self._open(file)
            parts.append(self._file_stretch(file, opened, schema, start, end))
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def _file_stretch(self, file: Path, opened: pq.ParquetFile, schema: pa.Schema, first: int, stop: int) -> pa.Table:
        self._check_agreement(schema, file, opened)
        chosen: list[int] = []
        start = at = 0  # the first row of all row groups read, and of the one looked at
        for group in range(opened.num_row_groups):
            rows = opened.metadata.row_group(group).num_rows
            if at < stop and at + rows > first and rows:
                start = start if chosen else at
                chosen.append(group)
            at += rows
        table = pa.Table.from_batches(_file_batches(file, opened, schema, chosen, None), schema=schema)
        return table.slice(first - start, stop - first)

    def file_rows(self) -> list[tuple[Path, int]]:
        """List the files with the rows that their footers state."""
        return [(file, int(self._open(file).metadata.num_rows)) for file in self.files()]

    def row_count(self) -> int:
        """Add up the rows that the footers state."""
        return sum(rows for _, rows in self.file_rows())

    def stated_bytes(self) -> int:
        """Add up what the footers say about the uncompressed size of the data."""
        total = 0
        for file in self.files():
            metadata = self._open(file).metadata
            total += sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        return total

    def _open(self, file: Path) -> pq.ParquetFile:
        return open_bounded(file, self.limits)

    def _check_agreement(self, schema: pa.Schema, file: Path, opened: pq.ParquetFile) -> None:
        if describe(plain_schema(_intention(file, opened).schema)).text != describe(schema).text:
            raise SourceChanged(
                str(self.source.path), f"{file.name} has other columns or types than the first file of the folder"
            )


def _file_batches(
    file: Path, opened: pq.ParquetFile, schema: pa.Schema, groups: Iterable[int], columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    own = _intention(file, opened)
    count = 0
    try:
        for read in opened.iter_batches(BLOCK_ROWS, row_groups=list(groups), columns=columns):
            yield _as(schema, own.restore(read))
            count += 1
        if not count:
            yield _as(schema, own.no_rows(columns or schema.names))
    except MemoryError as exc:
        raise out_of_memory(file) from exc
    except (pa.ArrowException, OSError) as exc:
        raise SourceChanged(str(file), f"cannot be read to the end ({exc}); restore it") from exc


def _as(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give a batch the types of the source's first file.

    It may have a variant of them (large strings, say).
    """
    wanted = pa.schema([schema.field(name) for name in batch.schema.names], metadata=schema.metadata)
    same = batch.schema.types == wanted.types
    if same:
        return batch.replace_schema_metadata(wanted.metadata)
    columns = [without_list_views(column).cast(kind) for column, kind in zip(batch.columns, wanted.types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _intention(file: Path, opened: pq.ParquetFile) -> Intention:
    notes = opened.metadata.metadata or {}
    # The notes of a file that somebody else wrote anew need not fit its data.
    trusted = notes if INTENT_KEY in notes and read_seal(file) else {}
    return Intention(plain_schema(opened.schema_arrow), trusted)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Keep what counts: names, types, and the metadata that make a frame of them."""
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key in FRAME_METADATA}
    return pa.schema([pa.field(field.name, field.type) for field in schema], metadata=metadata)


def _file_stamp(path: Path, limits: ParquetLimits) -> SourceStamp:
    try:
        size = check_tail(path, limits)
        with path.open("rb") as file:
            _, parquet_footer = find_footer(file, most=size)
            found = os.fstat(file.fileno())
    except FileNotFoundError as exc:
        raise SourceChanged(str(path), "there is no such file; check the path") from exc
    except ValueError as exc:
        raise SourceChanged(str(path), "is not a Parquet file, or is cut short") from exc
    except OSError as exc:
        raise SourceChanged(str(path), f"cannot be read: {exc.strerror or exc}") from exc
    digest = blake3(parquet_footer).hexdigest()
    return SourceStamp(str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, digest)
