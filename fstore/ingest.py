"""Turn raw data of any form into sealed Parquet: streaming, in bounded memory, published atomically.

What ``ingest`` writes carries the fingerprint of its content, so trainers identify it
by reading its footer alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from fstore.content.footer import Progress
from fstore.content.sealed_writer import SealedWriter
from fstore.errors import InvalidRequest
from fstore.ingesting.inputs import Input, expected_bytes, open_input
from fstore.ingesting.symbols import split_by_symbol
from fstore.ingesting.times import TimeIndex
from fstore.model import ParquetSource

__all__ = ["expected_bytes", "ingest"]


def ingest(
    raw: object,
    dest: str | Path,
    *,
    symbol_column: str | None = None,
    time_column: str | None = None,
    progress: Progress | None = None,
) -> ParquetSource:
    """Write raw data to ``dest`` and return the source to hand to trainers.

    ``raw`` is a frame, a table, an Arrow stream, a ``ParquetSource``, or a path to a
    file or folder of CSV, Parquet or Arrow IPC. ``time_column`` becomes the index; it
    may hold no null and not go back in time. With ``symbol_column`` ``dest`` is a folder
    that gets one ``<symbol>.parquet`` for each symbol; each file is published by itself.
    ``progress`` is told the number of further bytes done, out of ``expected_bytes(raw)``.

    An existing file at ``dest`` is replaced. Raises ``InvalidRequest`` for input that
    cannot be read or does not fit the columns named, ``UnhashableInput`` for data without
    a faithful digest, ``StorageFull`` or ``StorageUnavailable`` for ``dest``.
    """
    target = Path(dest).expanduser().absolute()
    given = open_input(raw)
    for option, name in (("symbol_column", symbol_column), ("time_column", time_column)):
        if name is not None and name not in given.schema.names:
            raise InvalidRequest(option, f"there is no column {name!r}, but {', '.join(given.schema.names)}")
    if not given.schema.names:
        raise InvalidRequest("raw_data", "there are no columns, and Parquet cannot hold rows without them")
    if symbol_column is not None:
        _ingest_by_symbol(given, target, symbol_column, time_column, progress)
    else:
        if target.is_dir():
            raise InvalidRequest("dest", f"{target} is a folder; name the file to write, or give a symbol column")
        _write(target, given.schema, given.batches(), time_column, progress)
    return ParquetSource(target)


def _ingest_by_symbol(
    given: Input, target: Path, symbol_column: str, time_column: str | None, progress: Progress | None
) -> None:
    if target.suffix == ".parquet" or target.is_file():
        raise InvalidRequest("dest", f"{target} must be a folder: a symbol column makes one file for each symbol")
    with split_by_symbol(given.batches(), given.schema, symbol_column, target) as parts:
        for symbol, part in parts:
            _write(target / f"{symbol}.parquet", given.schema, part, time_column, progress)


def _write(
    target: Path,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    time_column: str | None,
    progress: Progress | None,
) -> None:
    times = TimeIndex(schema, time_column) if time_column is not None else None
    with SealedWriter(target, times.schema if times else schema) as writer:
        for batch in batches:
            writer.write(times.apply(batch) if times else batch)
            if progress:
                progress(int(batch.nbytes))
        writer.publish()
