"""Types that Parquet gives back changed, and how an ingested file gets them right again.

Parquet has no seconds (it stores milliseconds), no date64 and dictionaries of text
only, and of a dictionary it keeps what fits a page. ``ingest`` stores such columns in
the nearest type and notes the intended schema and all categories in the file's
metadata; ``fstore.fingerprint.parquet_source`` converts back on reading, and only in files whose
seal shows that nobody else wrote them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fstore.errors import UnhashableInput
from fstore.frames import is_text, type_name

INTENT_KEY = b"fstore.schema"
CATEGORIES_KEY = b"fstore.categories."
MAX_CATEGORY_BYTES = 8 << 20


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
        """Note the intended schema and the categories.

        If there is anything that reading alone would not give back.
        """
        notes: dict[bytes, bytes] = {}
        for i, known in enumerate(categories):
            if known is None:
                continue
            if known.nbytes > MAX_CATEGORY_BYTES:
                raise UnhashableInput(
                    self.intended.field(i).name,
                    f"{len(known)} categories are too many for a Parquet footer; make it text",
                )
            notes[CATEGORIES_KEY + str(i).encode()] = packed_array(known)
        if notes or self.changed:
            notes[INTENT_KEY] = base64.b64encode(self.intended.serialize().to_pybytes())
        return notes


def plan_storage(schema: pa.Schema) -> StoragePlan:
    """Find out what Parquet makes of a schema.

    Raises ``UnhashableInput`` for a column it cannot hold faithfully.
    """
    intended = schema
    for i, field in enumerate(schema):
        if _is_category(schema, i) and not is_text(field.type.value_type):
            schema = schema.set(i, pa.field(field.name, field.type.value_type))
    returned = stored_schema(schema)
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


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """Ask Parquet what it gives back for a schema, metadata included."""
    sink = pa.BufferOutputStream()
    try:
        pq.ParquetWriter(sink, schema).close()
    except (pa.ArrowException, NotImplementedError) as exc:
        raise UnhashableInput("schema", f"Parquet cannot hold these columns ({exc}); cast them to plain types") from exc
    return pq.read_schema(pa.BufferReader(sink.getvalue()))


class Intention:
    """What the notes of one sealed file say about it; with no notes, the schema as it is stored."""

    def __init__(self, stored: pa.Schema, notes: Mapping[bytes, bytes]) -> None:
        packed = notes.get(INTENT_KEY)
        self.schema = stored if packed is None else pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))
        self._categories = {
            field.name: unpacked_array(notes[key])
            for i, field in enumerate(self.schema)
            if packed is not None and (key := CATEGORIES_KEY + str(i).encode()) in notes
        }

    def restore(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Convert a batch as it was read, of any of the columns, to what was ingested."""
        fields = [self.schema.field(name) for name in batch.schema.names]
        columns = [self._restored(column, field) for column, field in zip(batch.columns, fields, strict=True)]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=self.schema.metadata))

    def no_rows(self, names: Sequence[str]) -> pa.RecordBatch:
        """Make an empty batch, which still carries the categories."""
        fields = [self.schema.field(name) for name in names]
        columns = [
            pa.DictionaryArray.from_arrays(
                pa.array([], f.type.index_type), self._categories[f.name], ordered=f.type.ordered
            )
            if f.name in self._categories
            else pa.nulls(0, f.type)
            for f in fields
        ]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, metadata=self.schema.metadata))

    def _restored(self, column: pa.Array, field: pa.Field) -> pa.Array:
        categories = self._categories.get(field.name)
        if categories is None:
            return column if column.type == field.type else column.cast(field.type)
        if pa.types.is_dictionary(column.type):
            if column.dictionary.cast(categories.type).equals(categories):
                return column if column.type == field.type else column.cast(field.type)
            column = column.dictionary_decode()
        codes = pc.index_in(column.cast(categories.type), value_set=categories)
        if codes.null_count != column.null_count:
            raise pa.ArrowInvalid(f"a value of {field.name!r} is none of its categories")
        return pa.DictionaryArray.from_arrays(codes.cast(field.type.index_type), categories, ordered=field.type.ordered)


def _is_category(schema: pa.Schema, at: int) -> bool:
    return bool(pa.types.is_dictionary(schema.field(at).type))


def _check_cast(field: pa.Field, back: pa.DataType) -> None:
    try:
        pa.nulls(0, back).cast(field.type)
    except (pa.ArrowException, NotImplementedError) as exc:
        raise UnhashableInput(
            field.name, f"Parquet would give {field.type} back as {back}; cast it to a type that Parquet holds"
        ) from exc


def packed_array(values: pa.Array) -> bytes:
    batch = pa.record_batch([values], names=["categories"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return base64.b64encode(sink.getvalue().to_pybytes())


def unpacked_array(packed: bytes) -> pa.Array:
    with pa.ipc.open_stream(pa.py_buffer(base64.b64decode(packed))) as stream:
        return stream.read_next_batch().column(0)
