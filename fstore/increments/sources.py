"""Partition tables of Parquet sources: read from an ingested file's footer, remembered by file, or found by one scan.

A folder is looked at file by file: a new daily file costs one ``stat`` of each file and
one scan of the new one. What a table says is never believed by whoever computes: rows
are digested again after they were read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import time_ns
from typing import Protocol

import pyarrow as pa

from fstore.errors import SourceChanged, UnhashableInput
from fstore.features import Sessions
from fstore.fingerprint import USUAL, ParquetReader, SourceStamp, open_bounded, read_seal
from fstore.increments.digests import PartitionHasher, partition_table
from fstore.increments.table import PARTITION_NOTE, Partition, PartitionTable, unpacked
from fstore.model import ParquetSource

Progress = Callable[[int], None]


class PartitionMemo(Protocol):
    """A memory of the partition tables of files, shared by all trainers."""

    def recall(self, stamp: SourceStamp, by: str) -> bytes | None:
        """Find the packed table remembered for exactly this stamp and way of cutting."""
        ...

    def remember(self, stamp: SourceStamp, by: str, table: bytes) -> None:
        """Keep a packed table; called only for files that had settled before they were read."""
        ...


def table_of_source(
    source: ParquetSource,
    by: Sessions,
    time: str | None = None,
    *,
    memo: PartitionMemo | None = None,
    progress: Progress | None = None,
) -> PartitionTable:
    """Find the partitions of a source, file by file where that is possible; raises ``SourceChanged`` if it changes meanwhile."""
    files = ParquetReader(source).files()
    tables = [_table_of_file(file, by, time, memo, progress) for file in files]
    if len(tables) == 1:
        return tables[0]
    if len({table.schema for table in tables}) > 1:
        # Files whose categories differ stand for a table that has those of all of them.
        return _scanned(source, by, time, progress)
    return _joined(source, tables)


def table_in_file(file: Path, by: Sessions, time: str | None = None) -> PartitionTable | None:
    """Read the table that ``ingest`` left in a file; None if there is none for this way of cutting, or somebody rewrote the file."""
    seal = read_seal(file)
    if seal is None or seal.root is None:
        return None
    note = (open_bounded(file, USUAL).metadata.metadata or {}).get(PARTITION_NOTE)
    found = unpacked(note) if note is not None else None
    return found if found is not None and (found.by, found.time) == (by, time) else None


def needs_all_rows(source: ParquetSource) -> bool:
    """Must a source be read whole even if few partitions are wanted: its categories are known only then."""
    if not any(pa.types.is_dictionary(kind) for kind in ParquetReader(source).schema().types):
        return False
    return not all(read_seal(file) for file in ParquetReader(source).files())


def _table_of_file(
    file: Path, by: Sessions, time: str | None, memo: PartitionMemo | None, progress: Progress | None
) -> PartitionTable:
    if (ingested := table_in_file(file, by, time)) is not None:
        return ingested
    key = f"{by.text}{time or ''}"
    began_ns, before = time_ns(), _stamp(file)
    if memo and (note := memo.recall(before, key)) and (known := unpacked(note)):
        return known
    found = _scanned(ParquetSource(file), by, time, progress)
    if _stamp(file) != before:
        raise SourceChanged(str(file), "it changed while it was being read; ask again when its writer is done")
    if memo and before.is_settled(began_ns):
        memo.remember(before, key, found.packed())
    return found


def _scanned(source: ParquetSource, by: Sessions, time: str | None, progress: Progress | None) -> PartitionTable:
    reader = ParquetReader(source)
    hasher = PartitionHasher(reader.schema(), by, time, progress)
    for batch in reader.batches():
        hasher.update(batch)
    return hasher.table()


def _joined(source: ParquetSource, tables: list[PartitionTable]) -> PartitionTable:
    """Put the tables of files one behind the other; a partition that two of them share is digested anew."""
    first = tables[0]
    found: list[Partition] = []
    shared: set[int] = set()
    for table in tables:
        parts = list(table.partitions)
        if found and parts and parts[0].span.start < found[-1].span.start:
            raise UnhashableInput(
                "raw_data", f"the files of {source.path} are not in order of time; name them so that they sort by it"
            )
        if found and parts and parts[0].span == found[-1].span:
            found[-1] = replace(found[-1], rows=found[-1].rows + parts[0].rows)
            shared.add(len(found) - 1)
            parts = parts[1:]
        found += parts
    joined = PartitionTable(first.by, first.time, first.schema, tuple(found))
    for at in sorted(shared):
        rows = joined.cut.rows
        again = partition_table(ParquetReader(source).stretch(rows[at], rows[at + 1]), first.by, first.time)
        if [each.span for each in again.partitions] != [found[at].span]:
            raise SourceChanged(str(source.path), "it changed while it was being read; ask again")
        found[at] = again.partitions[0]
    return replace(joined, partitions=tuple(found))


def _stamp(file: Path) -> SourceStamp:
    """Take what stays the same while a file is untouched, without opening it."""
    try:
        about = file.stat()
    except OSError as exc:
        raise SourceChanged(str(file), f"cannot be read: {exc.strerror or exc}") from exc
    return SourceStamp(str(file), about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, "")
