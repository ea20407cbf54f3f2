"""The form of small results in a file that they share: an Arrow file, packed whole.

A Parquet file of ten columns takes ten times as long to write and to read as all else that is done with a small
result, for what it keeps of each column besides the values. What is a file of its own is Parquet; an entry in
a pack, which nobody opens as a file, need not be. Only tables that Parquet holds as they are, numbers and times, have
this form, so that nothing depends on whether a result was published alone.
"""

from __future__ import annotations

import pyarrow as pa

from fstore.results import MEANT_KEY
from fstore.storage.parquet import SMALL

MARK = b"FSARROW1"
_HEAD = len(MARK) + 8
_LARGEST = 64 << 20  # far more than any small result; what says it is larger is none
_HELD = {
    kind.id
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64()),
    )
}
_UNITS = ("ms", "us", "ns")


def has_small_form(table: pa.Table) -> bool:
    """Tell whether a table is small, and holds nothing but numbers and times.

    Those that Parquet would give back as they are.
    """
    schema = table.schema
    if not table.num_rows or not len(schema) or MEANT_KEY in (schema.metadata or {}) or not all(map(_is_plain, schema)):
        return False
    # Asking Arrow for the size of a table takes longer than writing a small one.
    return bool(sum([kind.bit_width for kind in schema.types]) // 8 * table.num_rows <= SMALL)


def _is_plain(field: pa.Field) -> bool:
    kind = field.type
    if not field.nullable or field.metadata:  # of which Parquet has a word to say
        return False
    return bool(kind.id in _HELD or (pa.types.is_timestamp(kind) and kind.unit in _UNITS))


def small_bytes(table: pa.Table) -> pa.Buffer:
    """Return the bytes that stand for such a table."""
    if any(column.num_chunks != 1 for column in table.columns):
        table = table.combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    whole = sink.getvalue()
    packed = _codec().compress(whole)
    return pa.py_buffer(b"".join((MARK, whole.size.to_bytes(8, "little"), memoryview(packed))))


def is_small_form(data: pa.Buffer) -> bool:
    """Tell whether bytes are of this form, by how they begin; Parquet begins otherwise."""
    return bool(data.size > _HEAD and data.slice(0, len(MARK)).to_pybytes() == MARK)


def table_in(data: pa.Buffer) -> pa.Table:
    """Return the table that such bytes stand for.

    Raises ``ValueError``, ``OSError`` or an error of Arrow's where there is none.
    """
    size = int.from_bytes(data.slice(len(MARK), 8).to_pybytes(), "little")
    if size > _LARGEST:
        raise ValueError(f"says that it holds {size} bytes")
    whole = _codec().decompress(data.slice(_HEAD), size)
    table = pa.ipc.open_file(pa.BufferReader(whole)).read_all()
    table.validate()
    return table


def _codec() -> pa.Codec:
    return pa.Codec("lz4")
