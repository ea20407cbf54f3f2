"""One look at data: what they are besides their values.

It is found once and handed on to whoever hashes, stages or converts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.frames.description import Description, canonical_json, describe, range_index, with_range
from fstore.frames.parts import Level, Part, parts_of
from fstore.frames.refused_dtypes import check_attrs
from fstore.frames.schema import schema_of
from fstore.frames.zones import is_plain, with_plain_zones


@dataclass(slots=True)  # frozen ones take microseconds to make, and every hit makes one
class SchemaLook:
    """What a schema says of so many rows.

    ``span`` is the RangeIndex, None where the index is made of columns, ``span_text`` its text.
    """

    schema: pa.Schema
    rows: int
    description: Description
    span: dict[str, Any] | None
    span_text: str

    @property
    def form(self) -> pa.Schema:
        """The schema that functions are shown."""
        return with_range(self.description.form, self.span, self.rows)


@dataclass(slots=True)
class FrameLook(SchemaLook):
    """A frame as its parts, in the order of the schema's fields.

    ``is_copy`` when they do not lie in the frame's memory.
    """

    parts: list[Part | Level]
    is_copy: bool


def look_at_schema(schema: pa.Schema, rows: int) -> SchemaLook:
    """Look at a table of this schema; raises ``UnhashableInput`` naming the column that has no digest."""
    span = range_index(schema, rows)
    return SchemaLook(schema, rows, describe(schema), span, canonical_json(span))


def look_at(frame: pd.DataFrame, schema: pa.Schema | None = None) -> FrameLook:
    """Look at a frame; ``schema`` spares finding one that is known.

    Raises ``UnhashableInput`` when no table restores it, so that nothing is ever computed
    from data that differ from what the caller holds.
    """
    if frame.attrs:
        check_attrs(frame.attrs)  # before pandas copies them
    parts, is_copy = parts_of(frame)
    if not all(is_plain(part.dtype) for part in parts):
        frame = with_plain_zones(frame)
        parts, is_copy = parts_of(frame)
    schema = schema_of(frame, parts) if schema is None else schema
    rows = len(frame)
    span = range_index(schema, rows) if isinstance(frame.index, pd.RangeIndex) else None
    return FrameLook(schema, rows, describe(schema), span, canonical_json(span), parts, is_copy)
