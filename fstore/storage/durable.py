"""Writing so that what is written stays: the one way every file of the store comes into being, and is read whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fstore.errors import StorageFull, StorageUnavailable
from fstore.frames.convert import rows_alone
from fstore.results.stored_tables import meant_form, stored_form
from fstore.storage.hashing import hasher_for

_CHUNK = 4 << 20
SMALL = 1 << 20  # bytes of a table; below, what is put together in memory is written at once
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table as every file of the store is written: compressed, with page checksums, the Arrow schema kept.

    A small one is put together in memory and written at once, with LZ4: zstd would take
    as long as all the rest, for a tenth of a few kilobytes.
    """
    if table.nbytes > SMALL:
        _encode(table, str(path), compression="zstd", compression_level=1)
        return
    sink = pa.BufferOutputStream()
    _encode(table, sink, compression="lz4")
    path.write_bytes(sink.getvalue())


def as_read(table: pa.Table) -> pa.Table:
    """Return what would be read back of a table that is written; nothing is."""
    sink = pa.BufferOutputStream()
    _encode(stored_form(table), sink, compression="lz4")
    return meant_form(pq.ParquetFile(pa.BufferReader(sink.getvalue())).read())


def write_arrow(table: pa.Table, path: Path, *, batch_rows: int | None = None) -> None:
    """Write a table as an uncompressed Arrow file, one batch unless ``batch_rows`` says how large they may be."""
    if table.nbytes > SMALL:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=batch_rows)
    else:
        path.write_bytes(arrow_bytes(table))  # at once: a file takes longer to write in pieces


def arrow_bytes(table: pa.Table) -> pa.Buffer:
    """Return a table as the bytes of an Arrow file of one batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        if table.num_rows and table.num_columns:
            writer.write_table(table)
        else:
            writer.write_batch(_whole(table))
    return sink.getvalue()


def _whole(table: pa.Table) -> pa.RecordBatch:
    """Return a table without rows or without columns as the batch that ``write_table`` would leave out.

    The dictionaries travel with the one, the number of rows with the other.
    """
    if table.num_columns:
        columns = [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in table.columns]
        return pa.RecordBatch.from_arrays(columns, schema=table.schema)
    return rows_alone(table.num_rows, table.schema.metadata or {})


def _encode(table: pa.Table, sink: Any, **compression: Any) -> None:
    texts = [field.name for field in table.schema if _repeats(field.type)]
    pq.write_table(table, sink, use_dictionary=texts, write_page_checksum=True, store_schema=True, **compression)


def _repeats(kind: pa.DataType) -> bool:
    # Dictionary pages pay for text; on prices they only make writing and reading slower.
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def read_whole(path: Path) -> pa.Buffer:
    """Return the bytes of a file, read into memory of Arrow's pool.

    The pool keeps what is given back: in fresh memory every page would cost a fault,
    which for some hundred megabytes takes longer than reading them.
    """
    with path.open("rb", buffering=0) as file:
        buffer = pa.allocate_buffer(os.fstat(file.fileno()).st_size)
        free = memoryview(buffer)
        while free and (count := file.readinto(free)):
            free = free[count:]
        if not free and file.read(1):  # a file system that learns of the size late
            file.seek(0)
            return pa.py_buffer(file.read())
    return buffer.slice(0, buffer.size - len(free))


def seal(path: Path) -> tuple[str, int]:
    """Make a file durable and read-only, and return digest and size of what lies on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = file_digest(descriptor)
        os.fchmod(descriptor, 0o440)
        os.fsync(descriptor)  # an error here is final: the kernel forgets the pages, a second fsync would lie
    finally:
        os.close(descriptor)
    return found


def file_digest(descriptor: int) -> tuple[str, int]:
    """Read an open file from where it stands to its end, and return digest and size of that."""
    size = 0
    hasher = hasher_for(os.fstat(descriptor).st_size)
    while chunk := os.read(descriptor, _CHUNK):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there, and those above it, each durable in its own folder before anything lies in it."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    try:
        sync_folder(folder.parent)
    except OSError:
        with suppress(OSError):
            folder.rmdir()  # whoever finds it would rely on it
        raise


def sync_file(path: Path) -> None:
    """Make durable what a complete file holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise ``StorageFull`` or ``StorageUnavailable``, naming ``path``, for what the operating system refuses inside."""
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else StorageUnavailable
        raise kind(str(path), error.strerror or str(error)) from error
