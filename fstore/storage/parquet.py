"""The form of every file of the store: results as Parquet, raw data and local copies as Arrow files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fstore.frames import rows_alone
from fstore.results import UnstorableResult, meant_form, stored_form

SMALL = 1 << 20
"""Bytes of a table below which copies and single writes are as quick as anything cleverer."""

_ZSTD: Mapping[str, Any] = {"compression": "zstd", "compression_level": 1}
_SAMPLE_ROWS = 4096
_REPEATING = 0.75
"""Zstd has to make a sample of a column that much smaller than LZ4 does of split numbers: reading it takes three times as long."""
ROW_GROUP = 1 << 17
"""Rows of a row group: what is read at least of a column. Larger ones make files 0.2 % smaller, and no read quicker."""

# Dictionary pages pay for text; on prices they only make writing and reading slower.
_REPEATS = {kind.id for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.bool_())}
_UNWRITABLE = (pa.ArrowException, ValueError, KeyError, NotImplementedError)


def write_result(table: pa.Table, path: Path) -> None:
    """Write a result in the form that Parquet holds.

    Raises ``UnstorableResult`` where it has none, and ``OSError``.
    """
    with _storable(table):
        write_parquet(stored_form(table), path)


def result_bytes(table: pa.Table) -> pa.Buffer:
    """Return the bytes that ``write_result`` would write."""
    with _storable(table):
        return _parquet_bytes(stored_form(table))


@contextmanager
def _storable(table: pa.Table) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except _UNWRITABLE as error:
        raise UnstorableResult(_unwritable(table, error)) from error


def _unwritable(table: pa.Table, error: Exception) -> str:
    for at, field in enumerate(table.schema):
        try:
            as_read(table.select([at]))
        except _UNWRITABLE:
            return f"column {field.name!r}: Parquet cannot hold all its values of type {field.type}; cast it to another type"
    return f"Parquet cannot hold what the feature function returned: {error}"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write a table as every file of the store is written.

    Compressed, with page checksums, the Arrow schema kept. A small one is put together in memory and written at
    once, with LZ4: zstd would take as long as all the rest, for a tenth of a few kilobytes.
    """
    if table.nbytes > SMALL:
        _encode(table, str(path), **_large_form(table))
        return
    path.write_bytes(_parquet_bytes(table))


def _parquet_bytes(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    _encode(table, sink, **(_large_form(table) if table.nbytes > SMALL else {"compression": "lz4"}))
    return sink.getvalue()


def _large_form(table: pa.Table) -> Mapping[str, Any]:
    """Return how the columns of a large table are compressed: a function of their values alone.

    Floating-point numbers are split into streams of their first, second and further bytes, of which LZ4 makes less than
    zstd does of the numbers and is read in a third of the time; where values repeat, as prices in ticks do, zstd finds
    more. All else is zstd's.
    """
    names = table.column_names
    if len(set(names)) < len(names) or any(pa.types.is_nested(field.type) for field in table.schema):
        return _ZSTD  # forms go by the names of columns, and what is nested has others within
    split = [
        name
        for name, column in zip(names, table.columns, strict=True)
        if _is_split(column.type) and _hardly_repeats(column)
    ]
    if not split:
        return _ZSTD
    others = {name: "zstd" for name in names if name not in set(split)}
    return {
        "compression": {**dict.fromkeys(split, "lz4"), **others},
        "compression_level": dict.fromkeys(others, 1) or None,
        "use_byte_stream_split": split,
    }


def _is_split(kind: pa.DataType) -> bool:
    """Tell numbers that every reader of Parquet takes split; of integers and times the younger ones do."""
    return bool(pa.types.is_float32(kind) or pa.types.is_float64(kind))


def _hardly_repeats(column: pa.ChunkedArray) -> bool:
    """Try both forms on rows of the middle."""
    rows = column.slice(max(0, (len(column) - _SAMPLE_ROWS) // 2), _SAMPLE_ROWS)
    values = pa.concat_arrays([pa.array([], column.type), *(chunk.drop_null() for chunk in rows.chunks)])
    width = values.type.bit_width // 8
    data = np.frombuffer(values.buffers()[1] or b"", np.uint8)
    data = data[values.offset * width :][: len(values) * width]
    streams = np.ascontiguousarray(data.reshape(-1, width).T)
    split, whole = (
        codec.compress(found).size for codec, found in ((pa.Codec("lz4"), streams), (pa.Codec("zstd", 1), data))
    )
    return bool(_REPEATING * split <= whole)


def as_read(table: pa.Table) -> pa.Table:
    """Return what would be read back of a table that is written; nothing is."""
    sink = pa.BufferOutputStream()
    _encode(stored_form(table), sink, compression="lz4")
    return meant_form(pq.ParquetFile(pa.BufferReader(sink.getvalue())).read())


def write_arrow(table: pa.Table, path: Path, *, batch_rows: int | None = None) -> None:
    """Write a table as an uncompressed Arrow file.

    One batch unless ``batch_rows`` says how large they may be.
    """
    if table.nbytes > SMALL:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=batch_rows)
    else:
        path.write_bytes(arrow_bytes(table))  # at once: a file takes longer to write in pieces


def arrow_bytes(table: pa.Table) -> pa.Buffer:
    """Return a table as the bytes of an Arrow file of one batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        if table.num_rows and table.num_columns:
            writer.write_table(table)
        else:
            writer.write_batch(_whole(table))
    return sink.getvalue()


def _whole(table: pa.Table) -> pa.RecordBatch:
    """Return a table without rows or without columns as the batch that ``write_table`` would leave out.

    The dictionaries travel with the one, the number of rows with the other.
    """
    if table.num_columns:
        columns = [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in table.columns]
        return pa.RecordBatch.from_arrays(columns, schema=table.schema)
    return rows_alone(table.num_rows, table.schema.metadata or {})


def _encode(table: pa.Table, sink: Any, **compression: Any) -> None:
    texts = [name for name, kind in zip(table.schema.names, table.schema.types, strict=True) if kind.id in _REPEATS]
    options = {**compression, "use_dictionary": texts, "write_page_checksum": True, "store_schema": True}
    with pq.ParquetWriter(sink, table.schema, **options) as writer:  # ``write_table`` names all options, one by one
        writer.write_table(table, ROW_GROUP)
