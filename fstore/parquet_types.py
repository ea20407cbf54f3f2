"""Types that Parquet gives back changed, and how an ingested file gets them right again.

Parquet has no seconds (it stores milliseconds), no date64, and dictionaries of text
only. ``ingest`` stores such columns in the nearest type and notes the intended schema
in the file's metadata; ``fstore.parquet_source`` converts back on reading, and only in
files whose seal shows that nobody else wrote them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fstore.canonical_types import type_name
from fstore.errors import UnhashableInput

INTENT_KEY = b"fstore.schema"
CATEGORIES_KEY = b"fstore.categories."


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """How rows of ``intended`` are stored; ``changed`` lists the fields whose stored type differs."""

    intended: pa.Schema
    stored: pa.Schema
    changed: tuple[int, ...]

    def store(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert a batch to the stored types."""
        columns = list(batch.columns)
        for i in self.changed:
            kind = self.stored.field(i).type
            columns[i] = columns[i].dictionary_decode() if _is_category(self.intended, i) else columns[i].cast(kind)
        return pa.RecordBatch.from_arrays(columns, schema=self.stored)

    def metadata(self, categories: Sequence[pa.Array | None]) -> dict[bytes, bytes]:
        """Note the intended schema, and the categories of the columns that lose them."""
        if not self.changed:
            return {}
        notes = {INTENT_KEY: _packed(self.intended.serialize())}
        for i in self.changed:
            known = categories[i]
            if known is not None:
                sink = pa.BufferOutputStream()
                batch = pa.record_batch([known], names=["categories"])
                with pa.ipc.new_stream(sink, batch.schema) as stream:
                    stream.write_batch(batch)
                notes[CATEGORIES_KEY + str(i).encode()] = _packed(sink.getvalue())
        return notes


def plan_storage(schema: pa.Schema) -> StoragePlan:
    """Find out what Parquet makes of a schema, or raise ``UnhashableInput`` for a column it cannot hold faithfully."""
    intended = schema
    for i, field in enumerate(schema):
        if _is_category(schema, i) and not _is_text_category(field.type):
            schema = schema.set(i, pa.field(field.name, field.type.value_type))
    returned = _returned(schema)
    changed = []
    for i, field in enumerate(intended):
        back = returned.field(i).type
        if type_name(back, field.name) == type_name(field.type, field.name):
            continue
        changed.append(i)
        if not _is_category(intended, i):
            _check_cast(field, back)
            schema = schema.set(i, pa.field(field.name, back))
    return StoragePlan(intended, schema, tuple(changed))


def intended_schema(stored: pa.Schema, metadata: Mapping[bytes, bytes]) -> pa.Schema:
    """Read the schema noted in a sealed file's metadata; ``stored`` if there is none."""
    packed = metadata.get(INTENT_KEY)
    return stored if packed is None else pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))


def unstore(batch: pa.RecordBatch, intended: pa.Schema, metadata: Mapping[bytes, bytes]) -> pa.RecordBatch:
    """Convert a batch to the types and metadata intended for its file, whatever columns of it were read."""
    columns = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        at = intended.get_field_index(field.name)
        wanted = intended.field(at).type
        packed = metadata.get(CATEGORIES_KEY + str(at).encode())
        if column.type == wanted:
            columns.append(column)
        elif packed is not None and pa.types.is_dictionary(wanted):
            columns.append(_encode(column, wanted, packed))
        else:
            columns.append(column.cast(wanted))
    schema = pa.schema([intended.field(name) for name in batch.schema.names], metadata=intended.metadata)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _encode(column: pa.Array, wanted: pa.DataType, packed: bytes) -> pa.Array:
    with pa.ipc.open_stream(pa.py_buffer(base64.b64decode(packed))) as stream:
        categories = stream.read_next_batch().column(0)
    codes = pc.index_in(column, value_set=categories)
    if codes.null_count != column.null_count:
        raise pa.ArrowInvalid("a value is none of the column's categories")
    return pa.DictionaryArray.from_arrays(codes.cast(wanted.index_type), categories, ordered=wanted.ordered)


def _is_category(schema: pa.Schema, at: int) -> bool:
    return bool(pa.types.is_dictionary(schema.field(at).type))


def _is_text_category(kind: pa.DataType) -> bool:
    return type_name(kind.value_type, "") in ("string", "binary")


def _returned(schema: pa.Schema) -> pa.Schema:
    sink = pa.BufferOutputStream()
    try:
        pq.ParquetWriter(sink, schema).close()
    except (pa.ArrowException, NotImplementedError) as exc:
        raise UnhashableInput("schema", f"Parquet cannot hold these columns ({exc}); cast them to plain types") from exc
    return pq.read_schema(pa.BufferReader(sink.getvalue()))


def _check_cast(field: pa.Field, back: pa.DataType) -> None:
    try:
        pa.nulls(0, back).cast(field.type)
    except (pa.ArrowException, NotImplementedError) as exc:
        raise UnhashableInput(
            field.name, f"Parquet would give {field.type} back as {back}; cast it to a type that Parquet holds"
        ) from exc


def _packed(buffer: pa.Buffer) -> bytes:
    return base64.b64encode(memoryview(buffer))
