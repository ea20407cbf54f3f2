"""The one form in which data are staged and given to functions, whatever layout they came in.

A digest does not see layouts, so a function must not see them either: two tables of
one digest become the same table here. Fields come in the order columns, index levels,
and carry no metadata; text, binaries and lists have wide offsets and no views; items
of lists are called ``item``; a dictionary has one set of values for all rows, without
null or repetition, and 32-bit codes; rows lie in stretches of ``STRETCH_ROWS``. An
``ArrowDtype`` names its widths, so these are kept (and counted).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from fstore.errors import UnhashableInput
from fstore.fingerprint.columns import union_of_categories
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.fingerprint.quick.number_tables import number_table_in_form
from fstore.frames import (
    FrameLook,
    holds_list_views,
    look_at_schema,
    rows_alone,
    table_of,
    without_list_views,
    without_notes,
)

STRETCH_ROWS = 1 << 20


def table_in_form(table: pa.Table) -> pa.Table:
    """Convert a table to the one form; values are shared where their layout is right already."""
    if (quick := number_table_in_form(table)) is not None:
        return quick
    look = look_at_schema(table.schema, table.num_rows)
    order, form = look.description.order, look.form
    columns = [_in_form(table.column(at), field.type, field.name) for at, field in zip(order, form, strict=True)]
    if not columns:
        return pa.Table.from_batches([rows_alone(table.num_rows, form.metadata)])
    return pa.Table.from_arrays(columns, schema=form)


def table_of_frame(look: FrameLook) -> pa.Table:
    """Convert a frame to the one form."""
    table = table_of(look)
    is_whole = table.num_rows <= STRETCH_ROWS and all(column.num_chunks == 1 for column in table.columns)
    if is_whole and not any(map(pa.types.is_dictionary, table.schema.types)):
        return table  # as most are; all else of the form is the doing of a frame's schema
    return table_in_form(table)


def dataset_of_table(table: pa.Table) -> ds.Dataset:
    """Give a table in the form of a dataset over a file.

    Parquet cannot hold all categories, so there the values alone are shown.
    """
    schema = _of_values(table.schema)
    columns = [
        column.cast(field.type) if pa.types.is_dictionary(column.type) else column
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return ds.dataset(table_in_form(pa.Table.from_arrays(columns, schema=schema)))


def dataset_of_source(reader: ParquetReader) -> ds.Dataset:
    """Open a source as a dataset of the same schema as a table's.

    It streams, and keeps only the values of categories.
    """
    own = reader.schema()
    if any(map(holds_list_views, own.types)):  # which a dataset does not convert faithfully
        return dataset_of_table(table_in_form(reader.table()))
    schema = look_at_schema(_of_values(own), reader.row_count()).form
    return ds.dataset([str(path) for path in reader.files()], format="parquet", schema=schema)


def _of_values(schema: pa.Schema) -> pa.Schema:
    """Replace dictionaries by what they hold; the metadata are read anew for it."""
    decoded = [i for i, field in enumerate(schema) if pa.types.is_dictionary(field.type)]
    if not decoded:
        return schema
    fields = [pa.field(f.name, f.type.value_type if i in decoded else f.type) for i, f in enumerate(schema)]
    return pa.schema(fields, metadata=without_notes(schema, decoded))


def _in_form(column: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    try:
        if pa.types.is_dictionary(kind):
            chunks = _one_dictionary(column, kind)
        elif pa.types.is_run_end_encoded(column.type):
            chunks = [pc.run_end_decode(chunk).cast(kind) for chunk in column.chunks]
        elif isinstance(kind, pa.BaseExtensionType):
            chunks = [_typed(chunk, kind) for chunk in column.chunks]
        elif _is_exactly(column.type, kind):
            chunks = column.chunks
        else:
            chunks = [without_list_views(chunk).cast(kind) for chunk in column.chunks]
        return pa.chunked_array(_in_stretches(chunks, kind, len(column)), type=kind)
    except (pa.ArrowException, NotImplementedError) as exc:
        raise UnhashableInput(name, f"Arrow cannot make {kind} of {column.type} ({exc}); cast it first") from exc


def _is_exactly(one: pa.DataType, other: pa.DataType) -> bool:
    # Arrow takes types for equal whose items bear other names.
    return bool(one.equals(other, check_metadata=True)) and str(one) == str(other)


def _typed(chunk: pa.Array, kind: pa.BaseExtensionType) -> pa.Array:
    if chunk.type == kind:
        return chunk
    return pa.ExtensionArray.from_storage(kind, chunk.cast(kind.storage_type))


def _one_dictionary(column: pa.ChunkedArray, kind: pa.DictionaryType) -> list[pa.Array]:
    """Give all chunks one dictionary: its values in the order in which the chunks bring them up."""
    values = union_of_categories([chunk.dictionary for chunk in column.chunks])
    values = pa.nulls(0, kind.value_type) if not column.num_chunks else _cast(values, kind.value_type)
    chunks = []
    for chunk in column.chunks:
        own = _cast(chunk.dictionary, kind.value_type)
        codes = chunk.indices
        if not own.equals(values):
            places = pc.index_in(own, value_set=values, skip_nulls=True)
            codes = places.take(codes)
        chunks.append(pa.DictionaryArray.from_arrays(codes.cast(kind.index_type), values, ordered=kind.ordered))
    return chunks or [pa.DictionaryArray.from_arrays(pa.nulls(0, kind.index_type), values, ordered=kind.ordered)]


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return values if values.type == kind else values.cast(kind)


def _in_stretches(chunks: Sequence[pa.Array], kind: pa.DataType, rows: int) -> list[pa.Array]:
    """Cut and join chunks so that each but the last has ``STRETCH_ROWS`` rows.

    There is one even of no rows.
    """
    wanted = [min(STRETCH_ROWS, rows - start) for start in range(0, rows, STRETCH_ROWS)] or [0]
    kept = [chunk for chunk in chunks if len(chunk)] or list(chunks[:1]) or [pa.nulls(0, kind)]
    if [len(chunk) for chunk in kept] == wanted:
        return kept
    whole = pa.chunked_array(kept, type=kind)
    stretches = []
    for start in range(0, rows, STRETCH_ROWS):
        pieces = whole.slice(start, STRETCH_ROWS).chunks
        stretches.append(pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces))
    return stretches
