"""A digest for each column chunk of a Parquet file, kept in the file's tail.

One digest of that tail is for its row.

A file is written, then its footer is moved to make room where no reader looks, between
the last row group and the footer::

    row groups | digests (32 each, by row group and leaf column) | their number (4) | "FSCHUNK1" | footer | length (4) | "PAR1"
               |<------------------------------------- tail --------------------------------------------------------->|

Whoever knows the tail's length and digest can verify any chunk by reading it and the tail
alone. Chunks and tail cover every byte but the magic at the beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

DIGEST_BYTES = 32
_MAGIC = b"FSCHUNK1"
_PARQUET_MAGIC = b"PAR1"
_END = 8  # the footer's length and the magic

Digest = Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Tail:
    """What the row of an entry keeps so that parts of its file can be verified; ``digest`` is in hex."""

    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a column chunk lies in the file."""

    offset: int
    length: int


def digest_of(data: Any) -> bytes:
    """Digest bytes that lie in one piece."""
    found: bytes = blake3(data).digest()
    return found


def chunks_of(about: pq.FileMetaData) -> list[Chunk]:
    """List the column chunks by row group, and within one by leaf column."""
    found = []
    for group in range(about.num_row_groups):
        for column in range(about.num_columns):
            chunk = about.row_group(group).column(column)
            first = chunk.data_page_offset
            if chunk.dictionary_page_offset:
                first = min(first, chunk.dictionary_page_offset)
            found.append(Chunk(first, chunk.total_compressed_size))
    return found


def with_digests(parquet: Any, digest: Digest = digest_of) -> tuple[pa.Buffer, Tail] | None:
    """Return the bytes of a Parquet file with digests in its tail.

    None for one that chunks and tail would not cover.
    """
    whole = memoryview(parquet)
    found = _tail_of(whole, digest)
    if found is None:
        return None
    at, tail = found
    return pa.py_buffer(b"".join((whole[:at], tail))), Tail(len(tail), digest(tail).hex())


def add_digests(path: Path, digest: Digest = digest_of) -> Tail | None:
    """Do the same to a complete file that nobody reads yet, in place.

    None, and the file as it was, for one it cannot be done to.
    """
    with pa.memory_map(str(path)) as mapped:
        found = _tail_of(memoryview(mapped.read_buffer()), digest)
    if found is None:
        return None
    at, tail = found
    with path.open("r+b") as file:
        file.seek(at)
        file.write(tail)
    return Tail(len(tail), digest(tail).hex())


def digests_in(tail: memoryview) -> tuple[list[bytes], int] | None:
    """Read the digests out of a tail, and where in it the footer begins; None for a file that has none."""
    length = int.from_bytes(tail[-_END:-4], "little")
    footer = len(tail) - _END - length
    head = footer - len(_MAGIC) - 4
    if head < 0 or tail[footer - len(_MAGIC) : footer] != _MAGIC:
        return None
    (count,) = struct.unpack("<I", tail[head : head + 4])
    if count * DIGEST_BYTES != head:
        return None
    return [bytes(tail[at : at + DIGEST_BYTES]) for at in range(0, head, DIGEST_BYTES)], footer


def _tail_of(whole: memoryview, digest: Digest) -> tuple[int, bytes] | None:
    about = pq.read_metadata(pa.BufferReader(pa.py_buffer(whole)))
    length = int.from_bytes(whole[-_END:-4], "little")
    at = len(whole) - _END - length
    chunks = chunks_of(about)
    if not _cover(chunks, at):
        return None
    digests = b"".join(digest(whole[each.offset : each.offset + each.length]) for each in chunks)
    return at, b"".join((digests, struct.pack("<I", len(chunks)), _MAGIC, whole[at:]))


def _cover(chunks: Iterable[Chunk], end: int) -> bool:
    """Do chunks lie one behind the other, from the magic at the beginning to the footer."""
    at = len(_PARQUET_MAGIC)
    for each in sorted(chunks, key=lambda chunk: chunk.offset):
        if each.offset != at:
            return False
        at += each.length
    return at == end
