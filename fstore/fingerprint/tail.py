"""The tail digest: the last rows, and what else tells of an append.

That is the row count, the schema, all categories and the index bounds, and nothing else. It does not see a
corrected value further up. It exists for append-only feeds whose owners accept that, lives in a key space of its
own and is marked on every row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from blake3 import blake3

from fstore.fingerprint.columns import ArrowColumn, Column, columns_of
from fstore.fingerprint.footer import categories_digest
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.frames import canonical_json, describe, label, look_at, range_index
from fstore.model import Fingerprint

TAIL_ROWS = 1000


def frame_tail(frame: pd.DataFrame) -> str:
    """Digest the tail of a frame."""
    rows = len(frame)
    last = frame.iloc[max(rows - TAIL_ROWS, 0) :]
    look = look_at(last)
    schema, index = look.schema, frame.index
    span = None
    if isinstance(index, pd.RangeIndex):
        span = {"start": index.start, "step": index.step, "name": label(index.name, "index name")}
    tail = columns_of(look)
    categories = [column.extra() for column in tail]
    return _digest(
        schema,
        rows,
        span,
        columns_of(look_at(frame.iloc[:1], schema)),
        tail,
        tail_rows=len(last),
        categories=categories,
    )


def table_tail(table: pa.Table) -> str:
    """Digest the tail of a table."""
    rows = table.num_rows
    first, last = table.slice(0, 1), table.slice(max(rows - TAIL_ROWS, 0))
    categories = [ArrowColumn(column).extra() for column in table.columns]
    span = range_index(table.schema, rows)
    return _digest(
        table.schema, rows, span, _columns(first), _columns(last), tail_rows=last.num_rows, categories=categories
    )


def source_tail(reader: ParquetReader) -> str:
    """Digest the tail of a Parquet source.

    Reads its footers and the row groups that hold the first and the last rows.
    """
    schema = reader.schema()
    files = reader.files()
    rows = reader.row_count()
    last: list[pa.Table] = []
    for file in reversed(files):
        wanted = TAIL_ROWS - sum(part.num_rows for part in last)
        if wanted > 0:
            last.insert(0, reader.rows(file, schema, last=wanted))
    first = next(
        (part for file in files if (part := reader.rows(file, schema, first=1)).num_rows), schema.empty_table()
    )
    tail = pa.concat_tables(last)
    known = reader.categories()
    categories = [known.get(field.name) for field in schema]
    span = range_index(schema, rows)
    return _digest(schema, rows, span, _columns(first), _columns(tail), tail_rows=tail.num_rows, categories=categories)


def _columns(table: pa.Table) -> list[Column]:
    return [ArrowColumn(column) for column in table.columns]


def _digest(
    schema: pa.Schema,
    rows: int,
    span: dict[str, Any] | None,
    first: Sequence[Column],
    last: Sequence[Column],
    *,
    tail_rows: int,
    categories: Sequence[pa.Array | None],
) -> str:
    description = describe(schema)
    levels = description.order[len(description.order) - description.levels :]
    text = canonical_json(
        {
            "format": f"{Fingerprint.FORMAT}-tail",
            "rows": rows,
            "schema": json.loads(description.text),
            "range": span,
            "categories": [
                None if (known := categories[i]) is None else categories_digest(known) for i in description.order
            ],
            "first": [first[i].leaf(0, 1).hex() for i in levels] if rows else [],
            "tail": [last[i].leaf(0, tail_rows).hex() for i in description.order] if rows else [],
        }
    )
    return blake3(text.encode()).hexdigest()
