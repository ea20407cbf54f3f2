"""Tables of results as Parquet holds them, and back as they were returned.

Parquet has no seconds, no date64 and dictionaries of text only, forgets unused
categories of a table without rows, and the rows of a table without columns. Where it
would give another table back, the schema that was meant and all categories are noted
in the file's metadata, and applied when it is read. A table that needs none of this is
written as it is.
"""

from __future__ import annotations

import base64
from functools import lru_cache

# Without this a process knows periods and intervals in files only once it has made one itself.
import pandas.core.arrays.arrow.extension_types  # type: ignore[import-not-found]  # noqa: F401
import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import UnhashableInput
from fstore.fingerprint import MAX_CATEGORY_BYTES, packed_array, stored_schema, unpacked_array

MEANT_KEY = b"fstore.table"
CATEGORIES_KEY = b"fstore.table.categories."
ROWS_KEY = b"fstore.table.rows"
_ROWS_FIELD = "__index_level_0__"
_KEPT = {
    kind.id
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.date32()),
    )
}
_REMEMBERED_BYTES = 8 << 10
_PANDAS_TYPES = ("pandas.period", "pandas.interval")


class UnstorableResult(TypeError):
    """A feature function returned something that cannot be stored and read back unchanged."""


def stored_form(table: pa.Table) -> pa.Table:
    """Return the table to write, from which ``meant_form`` makes this one again.

    Raises ``UnstorableResult`` naming a column.
    """
    if not table.num_columns:
        return _rows_alone(table)
    metadata = dict(table.schema.metadata or {})
    if MEANT_KEY not in metadata and all(kind.id in _KEPT for kind in table.schema.types):
        return table
    for field in table.schema:
        _check_known(field.name, field.type)
    columns, notes = list(table.columns), {}
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            columns[at], known = _without_dictionary(field, columns[at])
            notes[CATEGORIES_KEY + str(at).encode()] = packed_array(known)
    fields = [field.with_type(column.type) for field, column in zip(table.schema, columns, strict=True)]
    returned = _as_returned(pa.schema(fields))
    for field, back in zip(table.schema, returned, strict=True):
        if not pa.types.is_dictionary(field.type):
            _check_cast(field, back.type)
    changed = (
        notes
        or MEANT_KEY in metadata
        or not all(_is_exactly(back.type, field.type) for back, field in zip(returned, table.schema, strict=True))
    )
    if not changed:
        return table
    metadata |= notes
    metadata[MEANT_KEY] = _packed_schema(table.schema)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=metadata))


def meant_form(table: pa.Table) -> pa.Table:
    """Return the table that ``stored_form`` was given, from what Parquet gave back.

    One that has no notes is what it is.
    """
    metadata = table.schema.metadata or {}
    if MEANT_KEY not in metadata:
        return table
    schema = _unpacked_schema(metadata[MEANT_KEY])
    if ROWS_KEY in metadata:
        return without_columns(int(metadata[ROWS_KEY]), schema.metadata)
    columns = []
    for at, (field, column) in enumerate(zip(schema, table.columns, strict=True)):
        packed = metadata.get(CATEGORIES_KEY + str(at).encode())
        if packed is not None:
            columns.append(_with_categories(field, column, _unpacked_categories(packed)))
        else:
            columns.append(column if _is_exactly(column.type, field.type) else column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def without_columns(rows: int, metadata: dict[bytes, bytes] | None) -> pa.Table:
    """Return a table of rows alone; whatever makes a new schema of it would forget them."""
    return pa.table({"rows": pa.nulls(rows)}).replace_schema_metadata(metadata).select([])


def with_metadata(table: pa.Table, metadata: dict[bytes, bytes]) -> pa.Table:
    """Return the table under these metadata, with its rows even where it has no columns."""
    return table.replace_schema_metadata(metadata) if table.num_columns else without_columns(table.num_rows, metadata)


def _rows_alone(table: pa.Table) -> pa.Table:
    if not table.num_rows and MEANT_KEY not in (table.schema.metadata or {}):
        return table
    # As an index, so that whoever opens the file with pandas sees rows and no columns.
    shown = pa.table({_ROWS_FIELD: pa.array(range(table.num_rows), pa.int64())})
    described = (
        f'{{"index_columns": ["{_ROWS_FIELD}"], "column_indexes": [], "columns": [{{"name": null, "field_name": '
        f'"{_ROWS_FIELD}", "pandas_type": "int64", "numpy_type": "int64", "metadata": null}}]}}'
    )
    return shown.replace_schema_metadata(
        {
            b"pandas": described.encode(),
            MEANT_KEY: _packed_schema(table.schema),
            ROWS_KEY: str(table.num_rows).encode(),
        }
    )


def _without_dictionary(field: pa.Field, column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.Array]:
    """Split a column into values that Parquet holds and its categories, all of them."""
    kind = field.type
    if column.num_chunks > 1:
        column = column.unify_dictionaries()
    known = column.chunk(0).dictionary if column.num_chunks else pa.nulls(0, kind.value_type)
    if known.nbytes > MAX_CATEGORY_BYTES:
        raise UnstorableResult(
            f"column {field.name!r}: {len(known)} categories are too many for a Parquet footer; make it text"
        )
    if pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type):
        return column, known
    try:
        _codes(known.slice(0, 1), known)
    except (pa.ArrowException, NotImplementedError) as error:
        raise UnstorableResult(
            f"column {field.name!r}: categories of {kind.value_type} cannot be stored ({error}); make them text"
        ) from error
    chunks = [_decoded(chunk) for chunk in column.chunks]
    return pa.chunked_array(chunks or [_comparable(known).slice(0, 0)]), known


def _with_categories(field: pa.Field, column: pa.ChunkedArray, known: pa.Array) -> pa.ChunkedArray:
    kind = field.type
    chunks = []
    for chunk in column.chunks or [pa.nulls(0, column.type)]:
        if pa.types.is_dictionary(chunk.type) and chunk.dictionary.cast(known.type).equals(known):
            codes = chunk.indices
        else:
            codes = _codes(_decoded(chunk).cast(known.type), known)
        chunks.append(pa.DictionaryArray.from_arrays(codes.cast(kind.index_type), known, ordered=kind.ordered))
    return pa.chunked_array(chunks, type=kind)


def _decoded(chunk: pa.Array) -> pa.Array:
    return _comparable(chunk.dictionary).take(chunk.indices) if pa.types.is_dictionary(chunk.type) else chunk


def _codes(values: pa.Array, known: pa.Array) -> pa.Array:
    codes = pc.index_in(_comparable(values), value_set=_comparable(known))
    if codes.null_count != values.null_count and not known.null_count:
        raise pa.ArrowInvalid("a value is none of the categories")
    return codes


def _comparable(values: pa.Array) -> pa.Array:
    """Return values of a type for which Arrow can take and find: no extension types, no views."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type):
        return values.cast(pa.large_string() if pa.types.is_string_view(values.type) else pa.large_binary())
    return values


def _is_exactly(one: pa.DataType, other: pa.DataType) -> bool:
    return one == other and str(one) == str(other)  # Arrow takes lists for equal whose items are called otherwise


def _as_returned(schema: pa.Schema) -> pa.Schema:
    try:
        return stored_schema(schema)
    except (UnhashableInput, OSError, ValueError):
        for field in schema:
            try:
                stored_schema(pa.schema([field]))
            except (UnhashableInput, OSError, ValueError) as error:
                raise _unstorable(field.name, field.type) from error
        raise


def _check_cast(field: pa.Field, back: pa.DataType) -> None:
    try:
        pa.nulls(1, back).cast(field.type)
    except (pa.ArrowException, NotImplementedError) as error:
        raise _unstorable(field.name, field.type) from error


def _check_known(name: str, kind: pa.DataType) -> None:
    """Refuse extension types that a process knows only after somebody registered them there."""
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name not in _PANDAS_TYPES and not kind.extension_name.startswith("arrow."):
            raise UnstorableResult(
                f"column {name!r}: extension type {kind.extension_name} need not be known where it is read; "
                f"cast it to its storage type {kind.storage_type}"
            )
        _check_known(name, kind.storage_type)
    elif pa.types.is_dictionary(kind):
        _check_known(name, kind.value_type)
    else:
        for at in range(kind.num_fields):
            _check_known(name, kind.field(at).type)


def _unstorable(name: str, kind: pa.DataType) -> UnstorableResult:
    return UnstorableResult(f"column {name!r}: Parquet cannot hold {kind}; cast it to a type that Parquet holds")


def _packed_schema(schema: pa.Schema) -> bytes:
    return base64.b64encode(schema.serialize().to_pybytes())


@lru_cache(maxsize=256)
def _unpacked_schema(packed: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))


def _unpacked_categories(packed: bytes) -> pa.Array:
    return _remembered_categories(packed) if len(packed) <= _REMEMBERED_BYTES else unpacked_array(packed)


@lru_cache(maxsize=256)
def _remembered_categories(packed: bytes) -> pa.Array:
    return unpacked_array(packed)
