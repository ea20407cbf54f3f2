"""Split a stream by symbol in bounded memory, through spill files next to the destination."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.ingest.time_texts import is_text
from fstore.storage import translated

SPILL_BYTES = 64 << 20
MOST_BYTES = 200  # of a name that gets a suffix, in most file systems
_FILE_NAME = re.compile(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,99}")


@contextmanager
def split_by_symbol(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, column: str, folder: Path
) -> Iterator[Iterator[tuple[str, Iterator[pa.RecordBatch]]]]:
    """Read all batches, then give each symbol's rows, in their order.

    Symbol after symbol in alphabetical order.
    """
    spill = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with translated(folder):
            spill.mkdir(parents=True)
            files = _spill_all(batches, schema, column, spill)
            yield ((symbol, _read_back(files[symbol])) for symbol in sorted(files))
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _spill_all(batches: Iterable[pa.RecordBatch], schema: pa.Schema, column: str, spill: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    held: dict[str, list[pa.RecordBatch]] = {}
    held_bytes = 0
    for batch in batches:
        for symbol, part in _by_symbol(batch, column):
            files.setdefault(symbol, spill / f"{len(files)}.arrows")
            held.setdefault(symbol, []).append(part)
        held_bytes += int(batch.nbytes)
        if held_bytes > SPILL_BYTES:
            _append(held, files, schema)
            held, held_bytes = {}, 0
    _append(held, files, schema)
    return files


def _by_symbol(batch: pa.RecordBatch, column: str) -> Iterator[tuple[str, pa.RecordBatch]]:
    symbols = batch.column(batch.schema.get_field_index(column))
    if pa.types.is_dictionary(symbols.type):
        symbols = symbols.dictionary_decode()
    if not is_text(symbols.type) and not pa.types.is_integer(symbols.type) and not pa.types.is_null(symbols.type):
        # A float or a date has many ways of writing; none of them is the symbol's name.
        raise InvalidRequest("symbol_column", f"{column!r} is {symbols.type}, not text or whole numbers; cast it first")
    if symbols.null_count:
        raise InvalidRequest("symbol_column", f"{column!r} is empty in some rows; drop or mend them first")
    encoded = symbols.cast(pa.string()).dictionary_encode()
    codes = encoded.indices.to_numpy()
    ordered = _taken(batch, pa.array(np.argsort(codes, kind="stable")))
    start = 0
    for symbol, rows in zip(encoded.dictionary.to_pylist(), np.bincount(codes), strict=False):
        if not _FILE_NAME.fullmatch(symbol) or len(symbol.encode()) > MOST_BYTES:
            raise InvalidRequest("symbol_column", f"{symbol!r} cannot name a file; rename the symbol")
        if symbol != symbol.strip():
            # Stripped, it would be another symbol's; kept, one symbol would get two files.
            raise InvalidRequest("symbol_column", f"{symbol!r} begins or ends with a space; strip the symbols first")
        yield symbol, ordered.slice(start, int(rows))
        start += int(rows)


def _taken(batch: pa.RecordBatch, order: pa.Array) -> pa.RecordBatch:
    # Arrow cannot take from views, which is how polars hands over text.
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    try:
        columns = [
            column.cast(plain[column.type]).take(order).cast(column.type)
            if column.type in plain
            else column.take(order)
            for column in batch.columns
        ]
    except pa.ArrowNotImplementedError as exc:
        raise InvalidRequest("symbol_column", f"the rows cannot be split by symbol: {exc}; cast that column") from exc
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _append(held: dict[str, list[pa.RecordBatch]], files: dict[str, Path], schema: pa.Schema) -> None:
    """Append one IPC stream a symbol; a spill file is a row of such streams."""
    for symbol, parts in held.items():
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as stream:
            for part in parts:
                stream.write_batch(part)
        with files[symbol].open("ab") as file:
            file.write(memoryview(sink.getvalue()))


def _read_back(file: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(file), "rb") as spilled:
        while spilled.tell() < spilled.size():
            yield from pa.ipc.open_stream(spilled)
