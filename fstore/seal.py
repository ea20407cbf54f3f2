"""The footer's place in a Parquet file, and the seal that tells a file's own footer from a copied one.

Tools copy key-value metadata verbatim into files they rewrite, so a footer found in
metadata proves nothing by itself. ``ingest`` therefore also writes a mark: 32 bytes
between the last row group and the Parquet footer, where no reader looks and no other
writer puts anything. The mark commits to the footer's text and to where it stands.
A rewritten file has no mark there, and is treated as any foreign file.

A seal says "this file was written by ingest and not rewritten". It cannot notice bytes
changed in place; whoever computes from the data digests what was read (``content_digest``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from fstore.description import canonical_json, describe
from fstore.errors import UnhashableInput
from fstore.footer import Footer

FOOTER_KEY = b"fstore.footer"
SEAL_KEY = b"fstore.seal"
MARK_BYTES = 32


@dataclass(frozen=True, slots=True)
class Sealed:
    """What an ingested file says about itself."""

    root: str
    data_bytes: int


def seal(
    footer: Footer, stored_schema: pa.Schema, *, rows: int, data_bytes: int, data_end: int
) -> tuple[bytes, dict[bytes, bytes]]:
    """Make the mark to write at ``data_end``, and the metadata to write with it.

    ``stored_schema`` is the schema as Parquet gives it back.
    """
    about = {
        "rows": rows,
        "data_bytes": data_bytes,
        "data_end": data_end,
        "schema": blake3(describe(stored_schema).text.encode()).hexdigest(),
    }
    text = canonical_json(about).encode()
    return _mark(text, footer.text.encode()), {FOOTER_KEY: footer.text.encode(), SEAL_KEY: text}


def sealed(path: Path) -> Sealed | None:
    """Read the root a file carries; None if it carries none of its own. Reads the Parquet footer and 32 bytes."""
    try:
        metadata = pq.read_metadata(str(path))
        stored: dict[bytes, bytes] = metadata.metadata or {}
        footer, text = stored.get(FOOTER_KEY), stored.get(SEAL_KEY)
        if footer is None or text is None:
            return None
        about = json.loads(text)
        with path.open("rb") as file:
            file.seek(int(about["data_end"]))
            mark = file.read(MARK_BYTES)
        if mark != _mark(text, footer) or not _describes(about, metadata):
            return None
        return Sealed(blake3(footer).hexdigest(), int(about["data_bytes"]))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, UnhashableInput):
        # Not ours, or damaged: the scan that follows finds out, and says so.
        return None


def _mark(text: bytes, footer: bytes) -> bytes:
    digest: bytes = blake3(b"fstore seal 1\0" + text + b"\0" + footer).digest()
    return digest


def _describes(about: dict[str, Any], metadata: pq.FileMetaData) -> bool:
    schema = metadata.schema.to_arrow_schema()
    return bool(
        metadata.num_rows == about["rows"]
        and _data_end(metadata) <= about["data_end"]
        and blake3(describe(schema).text.encode()).hexdigest() == about["schema"]
    )


def _data_end(metadata: pq.FileMetaData) -> int:
    """Find where the column chunks of the last row group end."""
    if not metadata.num_row_groups:
        return 0
    group = metadata.row_group(metadata.num_row_groups - 1)
    ends = (
        (min(filter(None, (c.dictionary_page_offset, c.data_page_offset))) + c.total_compressed_size)
        for c in (group.column(i) for i in range(group.num_columns))
    )
    return int(max(ends))
