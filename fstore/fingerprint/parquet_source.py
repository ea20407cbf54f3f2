"""Parquet sources as one stream of record batches, and the stamp by which an unchanged source is known again.

Whoever reads raw data from a ``ParquetSource`` reads it through here, so that what is
hashed and what a feature sees are the same bytes, converted the same way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from fstore.errors import InvalidRequest, SourceChanged
from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.columns import union_of_categories
from fstore.fingerprint.parquet_limits import check_tail, open_bounded, out_of_memory
from fstore.fingerprint.parquet_types import INTENT_KEY, Intention
from fstore.fingerprint.seal import find_footer, read_seal
from fstore.frames.arrow_types import without_list_views
from fstore.frames.description import FRAME_METADATA, describe
from fstore.model import ParquetSource

SETTLED_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class SourceStamp:
    """What stays the same while a source is untouched; for a folder, totals and latest times over its files.

    ``footer_digest`` covers the raw Parquet footer, for a folder also every file's
    relative path and own stamp.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    footer_digest: str

    def is_settled(self, now_ns: int) -> bool:
        """Was the last change more than 2 s ago, so that a later one must show in the times (the racy-clean rule)."""
        return max(self.mtime_ns, self.ctime_ns) + SETTLED_NS < now_ns


def files_of(source: ParquetSource) -> list[Path]:
    """List the source's files in the order of their relative paths; hidden files and folders are skipped.

    Raises ``InvalidRequest`` for folders called ``key=value``.
    """
    path = source.path
    if not path.is_dir():
        return [path]
    found = [
        file
        for file in path.rglob("*.parquet")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]
    if not found:
        raise SourceChanged(str(path), "the folder holds no *.parquet file")
    keyed = {part for file in found for part in file.relative_to(path).parts[:-1] if "=" in part}
    if keyed:
        raise InvalidRequest(
            "raw_data",
            f"{path} holds folders such as {min(keyed)!r}, whose names are values of a column that no file holds, and "
            "only what files hold is read: write that column into the files, or pass "
            "pyarrow.dataset.dataset(path, partitioning='hive').to_table()",
        )
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def stamp(source: ParquetSource) -> SourceStamp:
    """Take the stamp of a source: reads every file's Parquet footer and nothing else."""
    files = files_of(source)
    stamps = [_file_stamp(file) for file in files]
    if files == [source.path]:
        return stamps[0]
    combined = blake3()
    for file, one in zip(files, stamps, strict=True):
        relative = file.relative_to(source.path).as_posix()
        combined.update(
            repr((relative, one.size_bytes, one.mtime_ns, one.ctime_ns, one.inode, one.footer_digest)).encode()
        )
    return SourceStamp(
        str(source.path),
        sum(one.size_bytes for one in stamps),
        max(one.mtime_ns for one in stamps),
        max(one.ctime_ns for one in stamps),
        source.path.stat().st_ino,
        combined.hexdigest(),
    )


def now_ns() -> int:
    """Read the clock that file times are compared with."""
    return time.time_ns()


def schema_of_source(source: ParquetSource) -> pa.Schema:
    """Read the schema of the table the source stands for, which is that of its first file."""
    first = files_of(source)[0]
    return _plain(_intention(first, open_bounded(first)).schema)


def batches(source: ParquetSource, *, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Stream the source's rows in order, at most a block at a time, verifying page checksums where there are any."""
    files = files_of(source)
    schema = schema_of_source(source)
    for file in files:
        opened = open_bounded(file)
        _check_agreement(source, schema, file, opened)
        yield from _file_batches(file, opened, schema, range(opened.num_row_groups), columns)


def read_table(source: ParquetSource) -> pa.Table:
    """Read the whole source into memory: the concatenation of its files."""
    return pa.Table.from_batches(batches(source), schema=schema_of_source(source))


def categories_of(source: ParquetSource) -> dict[str, pa.Array]:
    """Read the categories of all dictionary columns, by name: of a foreign file that takes reading these columns."""
    names = [field.name for field in schema_of_source(source) if pa.types.is_dictionary(field.type)]
    known: dict[str, pa.Array] = {}
    for batch in batches(source, columns=names) if names else ():
        for name in names:
            found = batch.column(name).dictionary
            known[name] = union_of_categories([known[name], found] if name in known else [found])
    return known


def read_rows(file: Path, schema: pa.Schema, *, first: int = 0, last: int = 0) -> pa.Table:
    """Read the first or the last rows of a file, and no row group that holds none of them."""
    opened = open_bounded(file)
    groups = list(range(opened.num_row_groups))
    chosen: list[int] = []
    rows = 0
    for group in groups if first else reversed(groups):
        if rows < (first or last):
            chosen.append(group)
            rows += opened.metadata.row_group(group).num_rows
    table = pa.Table.from_batches(_file_batches(file, opened, schema, sorted(chosen), None), schema=schema)
    return table.slice(0, first) if first else table.slice(max(table.num_rows - last, 0))


def row_count(source: ParquetSource) -> int:
    """Add up the rows that the footers state."""
    return sum(int(open_bounded(file).metadata.num_rows) for file in files_of(source))


def estimated_bytes(source: ParquetSource) -> int:
    """Add up what the footers say about the uncompressed size of the data."""
    total = 0
    for file in files_of(source):
        metadata = open_bounded(file).metadata
        total += sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    return total


def _file_batches(
    file: Path, opened: pq.ParquetFile, schema: pa.Schema, groups: Iterable[int], columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    own = _intention(file, opened)
    count = 0
    try:
        for read in opened.iter_batches(BLOCK_ROWS, row_groups=list(groups), columns=columns):
            yield _as(schema, own.restore(read))
            count += 1
        if not count:
            yield _as(schema, own.no_rows(columns or schema.names))
    except MemoryError as exc:
        raise out_of_memory(file) from exc
    except (pa.ArrowException, OSError) as exc:
        raise SourceChanged(str(file), f"cannot be read to the end ({exc}); restore it") from exc


def _as(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give a batch the types of the source's first file, of which it may have a variant (large strings, say)."""
    wanted = pa.schema([schema.field(name) for name in batch.schema.names], metadata=schema.metadata)
    same = batch.schema.types == wanted.types
    if same:
        return batch.replace_schema_metadata(wanted.metadata)
    columns = [without_list_views(column).cast(kind) for column, kind in zip(batch.columns, wanted.types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _intention(file: Path, opened: pq.ParquetFile) -> Intention:
    notes = opened.metadata.metadata or {}
    # The notes of a file that somebody else wrote anew need not fit its data.
    trusted = notes if INTENT_KEY in notes and read_seal(file) else {}
    return Intention(_plain(opened.schema_arrow), trusted)


def _plain(schema: pa.Schema) -> pa.Schema:
    """Keep what counts: names, types, and the metadata that make a frame of them."""
    metadata = {key: value for key, value in (schema.metadata or {}).items() if key in FRAME_METADATA}
    return pa.schema([pa.field(field.name, field.type) for field in schema], metadata=metadata)


def _check_agreement(source: ParquetSource, schema: pa.Schema, file: Path, opened: pq.ParquetFile) -> None:
    if describe(_plain(_intention(file, opened).schema)).text != describe(schema).text:
        raise SourceChanged(
            str(source.path), f"{file.name} has other columns or types than the first file of the folder"
        )


def _file_stamp(path: Path) -> SourceStamp:
    try:
        size = check_tail(path)
        with path.open("rb") as file:
            _, parquet_footer = find_footer(file, most=size)
            found = os.fstat(file.fileno())
    except FileNotFoundError as exc:
        raise SourceChanged(str(path), "there is no such file; check the path") from exc
    except ValueError as exc:
        raise SourceChanged(str(path), "is not a Parquet file, or is cut short") from exc
    except OSError as exc:
        raise SourceChanged(str(path), f"cannot be read: {exc.strerror or exc}") from exc
    digest = blake3(parquet_footer).hexdigest()
    return SourceStamp(str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, digest)
