"""One file of the local cache: an uncompressed Arrow file and a trailer.

The trailer names the digest of the entry that the file was made of, and the BLAKE3 of
the file's own bytes before it.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from fstore.model import Locator
from fstore.storage.durable import file_digest
from fstore.storage.parquet import SMALL, arrow_bytes, write_arrow
from fstore.storage.verify import UNREADABLE, hashed, rows_fault

_MAGIC = b"fstoreL1"
_TRAILER = len(_MAGIC) + 64


def write_local(path: Path, table: pa.Table, content_digest: str) -> None:
    """Write an entry that was read and verified; raises ``OSError`` and Arrow's errors."""
    whole = table.combine_chunks()  # one chunk a column: what maps to one array without a copy
    head = _MAGIC + bytes.fromhex(content_digest)
    if table.nbytes <= SMALL:
        body = arrow_bytes(whole)
        path.write_bytes(b"".join((body, head, _digest(body))))
    else:
        write_arrow(whole, path)
        with path.open("rb", buffering=0) as written:
            digest = file_digest(written.fileno())[0]
        with path.open("ab") as file:
            file.write(head + bytes.fromhex(digest))
    path.chmod(0o440)


def checked_table(whole: pa.Buffer, locator: Locator) -> pa.Table | None:
    """Return the table in the bytes of a local file, if they are what was written for this very entry."""
    if whole.size < _TRAILER:
        return None
    body, trailer = whole.slice(0, whole.size - _TRAILER), whole.slice(whole.size - _TRAILER).to_pybytes()
    expected = _MAGIC + bytes.fromhex(locator.content_digest) + _digest(body)
    if trailer != expected:
        return None
    try:
        table = pa.ipc.open_file(pa.BufferReader(body)).read_all()
    except UNREADABLE:
        return None
    return table if rows_fault(locator, table.num_rows) is None else None


def _digest(buffer: pa.Buffer) -> bytes:
    digest: bytes = hashed(buffer).digest()
    return digest
