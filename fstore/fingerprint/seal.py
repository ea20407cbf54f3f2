"""The seal of an ingested Parquet file: its root, bound to this very file.

Tools copy key-value metadata verbatim into files they rewrite, so a footer found in
metadata proves nothing by itself. ``ingest`` therefore leaves 80 bytes between the last
row group and the Parquet footer, where no reader looks and no other writer puts
anything, and fills them when the file is complete::

    "FSTORE2\\0" | root (32) | size of the data in memory (8) | BLAKE3 of these and the Parquet footer (32)

The digit is that of the fingerprints' format. A seal of an earlier one still shows that
nobody else wrote the file's notes, but its root is one that no data have any more: such
a file is scanned like a foreign one.

A file that anybody wrote anew, or whose metadata somebody edited, has no valid seal and
is treated as any foreign file. Reading a seal parses nothing, so it takes the same time
at any size.

A seal says "written by ingest and not rewritten since". It cannot notice bytes changed
in place: whoever computes from the data digests what was read (``content_digest``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from fstore.fingerprint.footer import Footer

FOOTER_KEY = b"fstore.footer"
ROOT_KEY = b"fstore.root"
SEAL_BYTES = 80
MAX_FOOTER_BYTES = 64 << 20
_MAGIC = b"FSTORE2\0"
_EARLIER = (b"FSTORE1\0",)
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class Seal:
    """What an ingested file says about itself.

    ``root`` is the content digest, in hex, None for one of an earlier format.
    """

    root: str | None
    data_bytes: int


def notes_of(footer: Footer) -> dict[bytes, bytes]:
    """Give the metadata that make the footer readable for people and other tools."""
    return {ROOT_KEY: footer.root.encode(), FOOTER_KEY: footer.text.encode()}


def apply_seal(path: Path, root: str, data_bytes: int) -> None:
    """Fill the bytes left free before the Parquet footer of a complete file that nobody reads yet."""
    with path.open("r+b") as file:
        at, parquet_footer = find_footer(file)
        head = _MAGIC + bytes.fromhex(root) + struct.pack("<Q", data_bytes)
        file.seek(at - SEAL_BYTES)
        file.write(head + blake3(head + parquet_footer).digest())


def read_seal(path: Path) -> Seal | None:
    """Read a file's seal; None if it has no valid one.

    For whatever reason: the scan that follows will tell.
    """
    try:
        with path.open("rb") as file:
            return seal_in(file)
    except OSError:
        return None


def seal_in(file: BinaryIO) -> Seal | None:
    """Read the seal of an open file; None if it has no valid one. Raises ``OSError``."""
    try:
        at, parquet_footer = find_footer(file)
    except ValueError:
        return None
    if at < SEAL_BYTES:
        return None
    file.seek(at - SEAL_BYTES)
    found = file.read(SEAL_BYTES)
    head, proof = found[:-32], found[-32:]
    if head[:8] not in (_MAGIC, *_EARLIER) or blake3(head + parquet_footer).digest() != proof:
        return None
    root = head[8:40].hex() if head[:8] == _MAGIC else None
    return Seal(root, struct.unpack("<Q", head[40:])[0])


def find_footer(file: BinaryIO, *, most: int = MAX_FOOTER_BYTES) -> tuple[int, bytes]:
    """Find where the raw Parquet footer begins, and read it.

    Raises ``ValueError`` for what is no Parquet file, or has ``most`` exceeded.
    """
    size = file.seek(0, 2)
    file.seek(max(size - 8, 0))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if len(end) < 8 or end[4:] != _PARQUET_MAGIC or length > min(size - 8, most):
        raise ValueError("no Parquet footer")
    file.seek(size - 8 - length)
    return size - 8 - length, file.read(length)
