"""Whether bytes are the entry that a row tells of: the one verdict.

Reads, sweeps, publishing and the local cache ask here, so that none of them passes what
another would refuse.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from fstore.errors import EntryCorrupt, InvalidRequest, SourceChanged
from fstore.model import Locator
from fstore.results import UnstorableResult, meant_form
from fstore.storage.hashing import PARALLEL_FROM, hasher_for
from fstore.storage.packed.small_form import MARK, is_small_form, table_in

UNREADABLE = (
    pa.ArrowException,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
)
"""What bytes that are no result may raise when they are decoded; notes in them may say anything."""
_OF_THE_PROCESS = (MemoryError, pa.ArrowCancelled)  # Arrow's, but no word about the bytes
_CHUNK = 1 << 20
_BATCH_ROWS = 1 << 16


class FaultKind(StrEnum):
    """In which way a file is not what its row says."""

    MISSING = "missing"
    SIZE = "size"
    DIGEST = "digest"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry whose file is not what was written."""

    key: str
    path: str
    kind: FaultKind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"

    def as_error(self) -> EntryCorrupt:
        """Return the error that tells a reader."""
        return EntryCorrupt(self.key, self.path, str(self))


class Pace:
    """Keeps reading at or below a rate.

    A sweep does not take the disk from those who wait for it then.
    """

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._began = time.monotonic()
        self._read = 0

    def took(self, size_bytes: int) -> None:
        """Count bytes that were read, and wait until the rate allows more."""
        self._read += size_bytes
        if self._bytes_per_s:
            ahead_s = self._read / self._bytes_per_s - (time.monotonic() - self._began)
            if ahead_s > 0:
                time.sleep(ahead_s)


def missing(found: Locator, detail: str = "there is no file") -> Fault:
    """Return the fault of an entry that is not there."""
    return Fault(found.key, found.path, FaultKind.MISSING, detail)


def size_fault(found: Locator, size_bytes: int) -> Fault | None:
    """Compare a size with the row's."""
    if size_bytes == found.file_size_bytes:
        return None
    detail = f"{size_bytes} bytes instead of {found.file_size_bytes}"
    return Fault(found.key, found.path, FaultKind.SIZE, detail)


def digest_fault(found: Locator, hasher: blake3) -> Fault | None:
    """Compare the digest of all bytes with the row's."""
    if hasher.hexdigest() == found.content_digest:
        return None
    return Fault(found.key, found.path, FaultKind.DIGEST, "the bytes are not those that were written")


def rows_fault(found: Locator, rows: int) -> Fault | None:
    """Compare a number of rows with the row's."""
    if rows == found.rows:
        return None
    return Fault(found.key, found.path, FaultKind.UNREADABLE, f"{rows} rows instead of {found.rows}")


def hashed(data: pa.Buffer) -> blake3:
    """Return the hasher that has seen these bytes."""
    return hasher_for(data.size).update(memoryview(data))


def verified_bytes(found: Locator, data: pa.Buffer, hasher: blake3 | None = None) -> pa.Buffer:
    """Return an entry's bytes if size and digest are the row's; raises ``EntryCorrupt``.

    ``hasher`` has seen all of these bytes where they lie, as they came there.
    """
    fault = size_fault(found, data.size) or digest_fault(found, hashed(data) if hasher is None else hasher)
    if fault is not None:
        raise fault.as_error()
    return data


def decoded(data: pa.Buffer) -> pa.Table:
    """Return the table in an entry's bytes; raises one of ``UNREADABLE``."""
    return table_in(data) if is_small_form(data) else _in_parquet(data)


def _in_parquet(data: pa.Buffer, *, page_checksums: bool = False) -> pa.Table:
    # ParquetFile rather than read_table: the same reader without the data set machinery, at half the time.
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=page_checksums)
    return meant_form(file.read(use_threads=data.size > PARALLEL_FROM))


def check_written(data: pa.Buffer, check: Callable[[pa.Table], None]) -> None:
    """Give ``check`` the table that a reader of these bytes will get.

    Raises ``UnstorableResult`` if there is none.
    """
    try:
        back = decoded(data)
    except UNREADABLE as error:
        raise UnstorableResult(
            f"what the feature function returned cannot be read back from Parquet ({error}); "
            "convert its columns to plain dtypes"
        ) from error
    check(back)


def verified_table(found: Locator, data: pa.Buffer, hasher: blake3 | None = None) -> pa.Table:
    """Return the table in an entry's bytes, all of them and the rows verified; raises ``EntryCorrupt``."""
    data = verified_bytes(found, data, hasher)
    try:
        table = decoded(data)
    except _OF_THE_PROCESS:
        raise
    except UNREADABLE as error:
        raise _unreadable(found, error).as_error() from error
    if (fault := rows_fault(found, table.num_rows)) is not None:
        raise fault.as_error()
    return table


def inspect_file(found: Locator, file: BinaryIO, size_bytes: int, pace: Pace) -> tuple[Fault | None, int]:
    """Do what ``verified_table`` does with an open file of any size, in bounded memory.

    Raises ``OSError`` of the file. Returns the fault, or None, and how many bytes were read for the digest.
    """
    if (fault := size_fault(found, size_bytes)) is not None:
        return fault, 0
    hasher, read = blake3(), 0
    while chunk := file.read(_CHUNK):
        hasher.update(chunk)
        read += len(chunk)
        pace.took(len(chunk))
    if (fault := digest_fault(found, hasher)) is not None:
        return fault, read
    try:
        rows = sum(_rows_in_batches(file))
    except _OF_THE_PROCESS:
        raise
    except UNREADABLE:
        # What reads cannot make of the file is what counts, and they take it whole.
        file.seek(0)
        data = pa.py_buffer(file.read())
        try:
            rows = decoded(data).num_rows
        except _OF_THE_PROCESS:
            raise
        except UNREADABLE as error:
            return _unreadable(found, error), read
    return rows_fault(found, rows), read


def _rows_in_batches(file: BinaryIO) -> Iterator[int]:
    file.seek(0)
    if file.read(len(MARK)) == MARK:
        yield decoded(pa.py_buffer(MARK + file.read())).num_rows
        return
    file.seek(0)
    reader = pq.ParquetFile(file)
    nothing = reader.read_row_groups([], use_threads=False)  # with the notes that a whole read would find
    shape = meant_form(nothing)
    if not shape.num_columns:
        yield shape.num_rows or reader.metadata.num_rows
        return
    for batch in reader.iter_batches(_BATCH_ROWS, use_threads=False):
        table = pa.Table.from_batches([batch]).replace_schema_metadata(nothing.schema.metadata)
        yield meant_form(table).num_rows


def _unreadable(found: Locator, error: Exception) -> Fault:
    return Fault(found.key, found.path, FaultKind.UNREADABLE, f"not readable as Parquet: {error}")


def raw_gone(path: str) -> SourceChanged:
    """Return what to tell of raw data that are no longer there."""
    return SourceChanged(path, "the staged copy is gone; ask again to stage it anew")


def raw_in(path: str, data: pa.Buffer) -> pa.Table:
    """Return the raw data in staged bytes; raises ``SourceChanged`` where they have no form."""
    try:
        return pa.ipc.open_file(pa.BufferReader(data)).read_all()
    except UNREADABLE as error:
        raise SourceChanged(path, f"the staged copy cannot be read ({error}); ask again to stage it anew") from error


def result_gone(error: BaseException | str) -> InvalidRequest:
    """Return what to tell of a result that cannot be read."""
    return InvalidRequest("staged_path", f"cannot be read: {error}")


def result_in(data: pa.Buffer, digest: str | None) -> tuple[pa.Table, str]:
    """Return the result in staged bytes, its page checksums verified, and its digest.

    Raises ``InvalidRequest``, for another digest than ``digest`` too.
    """
    found = hashed(data).hexdigest()
    if digest is not None and found != digest:
        raise InvalidRequest("staged_path", "holds other bytes than were staged; ask again")
    try:
        return _in_parquet(data, page_checksums=True), found
    except UNREADABLE as error:
        raise result_gone(error) from error
