"""The way from raw data to what a function is given: digest, one form, staged file, frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.fingerprint.identification import content_digest, to_table
from fstore.frames.convert import to_frame
from fstore.storage.folder.staging import FolderStaging


def staged(raw: Any, folder: Path) -> pa.Table:
    """Stage raw data and read them back; the copy must have the digest of what was staged, as a worker checks."""
    staging = FolderStaging(folder)
    digest = content_digest(raw)
    table = staging.read(staging.write(digest, to_table(raw)))
    assert content_digest(table) == digest
    return table


def seen(raw: Any, folder: Path) -> pd.DataFrame:
    """Return the frame that a function is given for these raw data."""
    return to_frame(to_table(staged(raw, folder)))


def chunking(table: pa.Table) -> list[list[int]]:
    """List the lengths of the chunks of every column."""
    return [[len(chunk) for chunk in column.chunks] for column in table.columns]


def assert_one_table(tables: list[pa.Table]) -> None:
    """Make sure that tables cannot be told apart: types, metadata, chunks, codes, values."""
    first = tables[0]
    for other in tables[1:]:
        assert other.schema.equals(first.schema, check_metadata=True)
        assert str(other.schema) == str(first.schema)
        assert chunking(other) == chunking(first)
        assert all(map(_is_alike, other.columns, first.columns))


def _is_alike(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    if not pa.types.is_dictionary(one.type):
        return bool(one.equals(other))
    return all(
        left.dictionary.equals(right.dictionary) and left.indices.equals(right.indices)
        for left, right in zip(one.chunks, other.chunks, strict=True)
    )
