"""Reads a cached file to its last byte and tells what is wrong with it; bounded memory, bounded pace."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from fstore.errors import StorageUnavailable
from fstore.model import Locator

_CHUNK = 1 << 20


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


class Pace:
    """Keeps reading at or below a rate, so that a sweep does not take the disk from those who wait for it."""

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


def check_file(root: Path, found: Locator, pace: Pace) -> tuple[Fault | None, int]:
    """Compare a file with its row: there, of the right size, byte by byte what was written, readable as Parquet.

    Returns the fault, or None, and how many bytes were read. Raises
    ``StorageUnavailable`` when the folder itself cannot be read: that is no fault of
    the entry.
    """
    path = root / found.path
    try:
        fault, read = _digest_fault(path, found, pace)
    except FileNotFoundError:
        return Fault(found.key, found.path, FaultKind.MISSING, "there is no file"), 0
    except OSError as error:
        raise StorageUnavailable(str(path), error.strerror or str(error)) from error
    if fault is None:
        fault = _parquet_fault(path, found)
    return fault, read


def _digest_fault(path: Path, found: Locator, pace: Pace) -> tuple[Fault | None, int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if size != found.file_size_bytes:
            detail = f"{size} bytes instead of {found.file_size_bytes}"
            return Fault(found.key, found.path, FaultKind.SIZE, detail), 0
        hasher, read = blake3(), 0
        while chunk := os.read(descriptor, _CHUNK):
            hasher.update(chunk)
            read += len(chunk)
            pace.took(len(chunk))
    finally:
        os.close(descriptor)
    if hasher.hexdigest() == found.content_digest:
        return None, read
    return Fault(found.key, found.path, FaultKind.DIGEST, "the bytes are not those that were written"), read


def _parquet_fault(path: Path, found: Locator) -> Fault | None:
    try:
        rows = pq.read_metadata(str(path)).num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        return Fault(found.key, found.path, FaultKind.UNREADABLE, f"not readable as Parquet: {error}")
    if rows == found.rows:
        return None
    return Fault(found.key, found.path, FaultKind.UNREADABLE, f"{rows} rows instead of {found.rows}")
