"""The quick way for tables of numbers and times in one piece each.

Most raw data on their way to a worker are such. A table has a schema object of its own each time it is read, so
that what was said of one is found by what the schema says. The first table of a shape is described by the general
machinery, and later ones differ in digests alone; whatever has nulls or pieces goes the long way.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from blake3 import blake3

from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.footer import PARALLEL_BYTES, footer_ends
from fstore.fingerprint.quick.texts import column_texts, counts_of
from fstore.frames import look_at_schema

_WIDEST = 2_000  # fields; beyond, remembering costs more memory than finding out again costs time
_MOST_SHAPES = 512
_WIDTHS = {
    kind.id: kind.bit_width // 8
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.timestamp("ns")),
    )
}


@dataclass(slots=True)
class _Shape:
    """What tables of one schema and length have in common.

    ``form`` is the schema that functions are shown.
    """

    widths: tuple[int, ...]
    levels: int
    opening: str
    closing: str
    form: pa.Schema


_shapes: dict[tuple[bytes, int], _Shape | None] = {}


def number_table_digest(table: pa.Table) -> str | None:
    """Return the content digest of a small table of numbers and times, in hex; None for any other."""
    shape = _shape_of(table)
    if shape is None:
        return None
    rows = table.num_rows
    counts, columns = counts_of(rows), [column.chunk(0) for column in table.columns]
    data = [
        memoryview(column.buffers()[1])[column.offset * width : (column.offset + rows) * width]
        for column, width in zip(columns, shape.widths, strict=True)
    ]
    digests = column_texts(data, counts)
    ends = []
    for values, width in list(zip(data, shape.widths, strict=True))[len(data) - shape.levels :]:
        first, last = (blake3(bytes(value) + counts_of(1)).hexdigest() for value in (values[:width], values[-width:]))
        ends.append(f'["{first}","{last}"]')
    footer = f'{shape.opening}{",".join(ends)}],"columns":[{",".join(digests)}],{shape.closing}'
    return blake3(footer.encode()).hexdigest()


def number_table_in_form(table: pa.Table) -> pa.Table | None:
    """Return such a table in the one form, which shares all of its memory; None for any other."""
    shape = _shape_of(table)
    return None if shape is None else pa.Table.from_arrays(table.columns, schema=shape.form)


def _shape_of(table: pa.Table) -> _Shape | None:
    rows, schema = table.num_rows, table.schema
    if not 0 < rows <= BLOCK_ROWS or not 0 < len(schema) <= _WIDEST or 8 * rows * len(schema) >= PARALLEL_BYTES:
        return None
    if any(column.num_chunks != 1 or column.null_count for column in table.columns):
        return None
    mark = schema.serialize().to_pybytes(), rows
    try:
        return _shapes[mark]
    except KeyError:  # or another thread has just cleared them
        shape = _described(schema, rows)
    if len(_shapes) >= _MOST_SHAPES:
        _shapes.clear()
    _shapes[mark] = shape
    return shape


def _described(schema: pa.Schema, rows: int) -> _Shape | None:
    widths = [_WIDTHS.get(kind.id) for kind in schema.types]
    look = look_at_schema(schema, rows)  # refuses a table that has no digest, and says why
    description, form = look.description, look.form
    if None in widths or description.order != tuple(range(len(schema))) or form.types != schema.types:
        return None
    opening, closing = footer_ends(description.text, rows, look.span_text)
    return _Shape(tuple(width for width in widths if width), description.levels, opening, closing, form)
