"""Partitions of Parquet sources: the table of all, and the rows of those that are wanted.

An ingested file tells its table in its footer; others are scanned once and remembered, a
folder file by file, so that a new daily file costs a look at each footer and one scan of
the new one. What a table says is never believed by whoever computes: rows are digested
again after they were read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import time_ns
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import SourceChanged, UnhashableInput
from fstore.features import Sessions
from fstore.fingerprint import (
    USUAL,
    ObjectStamp,
    ParquetLimits,
    ParquetReader,
    SourceStamp,
    open_bounded,
    read_seal,
)
from fstore.increments.digests import PartitionHasher, partition_table
from fstore.increments.table import PARTITION_NOTE, Partition, PartitionTable, unpacked
from fstore.model import ParquetSource

Progress = Callable[[int], None]


class PartitionMemo(Protocol):
    """A memory of the partition tables of files, shared by all trainers."""

    def recall(self, stamps: Sequence[SourceStamp] | Sequence[ObjectStamp], by: str) -> list[bytes | None]:
        """Find the packed tables remembered for exactly these stamps and this way of cutting."""
        ...

    def remember(self, tables: Mapping[SourceStamp, bytes] | Mapping[ObjectStamp, bytes], by: str) -> None:
        """Keep packed tables; called only for files that had settled before they were read."""
        ...


class SourceRows:
    """Reads rows of a source by their numbers, and no row group that holds none of them.

    They have the categories of the whole source, and may be others than those that were
    identified: whoever reads them digests them. ``files`` tells the rows of each file where
    they are known.
    """

    def __init__(
        self, source: ParquetSource, limits: ParquetLimits = USUAL, files: Sequence[tuple[Path, int]] | None = None
    ) -> None:
        self._reader = ParquetReader(source, limits)
        self._files = files
        self._categories: dict[str, pa.Array] | None = None

    def read(self, first: int, stop: int) -> pa.Table:
        """Read the rows from ``first`` to ``stop``; raises ``SourceChanged`` where they cannot be read."""
        self._files = self._reader.file_rows() if self._files is None else self._files
        found = self._reader.stretch(first, stop, self._files)
        kinds = [i for i, kind in enumerate(found.schema.types) if pa.types.is_dictionary(kind)]
        if not kinds or (len(self._files) == 1 and read_seal(self._files[0][0])):
            return found  # of which each row group has all categories
        if self._categories is None:
            self._categories = self._reader.categories()
        for at in kinds:
            field = found.schema.field(at)
            kind = pa.dictionary(pa.int32(), field.type.value_type, field.type.ordered)
            column = _coded(found.column(at), self._categories[field.name], kind)
            found = found.set_column(at, pa.field(field.name, kind), column)
        return found


def table_of_source(
    source: ParquetSource,
    by: Sessions,
    time: str | None = None,
    *,
    memo: PartitionMemo | None = None,
    progress: Progress | None = None,
    limits: ParquetLimits = USUAL,
) -> PartitionTable:
    """Find the partitions of a source, file by file; raises ``SourceChanged`` if it changes meanwhile."""
    scan = _Scan(source, by, time, progress, limits)
    files = ParquetReader(source, limits).files()
    if len(files) == 1 and (ingested := table_in_file(files[0], by, time, limits)) is not None:
        return ingested
    tables = scan.remembered(files, memo)
    if len(tables) == 1:
        return tables[0]
    if len({table.schema for table in tables}) > 1:
        # Files whose categories differ stand for a table that has those of all of them.
        return scan.table_of(source)
    counts = [(file, table.cut.rows[-1]) for file, table in zip(files, tables, strict=True)]
    return joined(tables, SourceRows(source, limits, counts).read, str(source.path))


def joined(tables: Sequence[PartitionTable], read: Callable[[int, int], pa.Table], where: str) -> PartitionTable:
    """Put the tables of files one behind the other.

    A partition that two of them share is read and digested anew.
    """
    found: list[Partition] = []
    shared: set[int] = set()
    for table in tables:
        parts = list(table.partitions)
        if found and parts and parts[0].span.start < found[-1].span.start:
            raise UnhashableInput(
                "raw_data", f"the files of {where} are not in order of time; name them so that they sort by it"
            )
        if found and parts and parts[0].span == found[-1].span:
            found[-1] = replace(found[-1], rows=found[-1].rows + parts[0].rows)
            shared.add(len(found) - 1)
            parts = parts[1:]
        found += parts
    whole = replace(tables[0], partitions=tuple(found))
    for at in sorted(shared):
        rows = whole.cut.rows
        again = partition_table(read(rows[at], rows[at + 1]), whole.by, whole.time)
        if [(each.span, each.rows) for each in again.partitions] != [(found[at].span, found[at].rows)]:
            raise _changed(where)
        found[at] = again.partitions[0]
    return replace(whole, partitions=tuple(found))


def table_in_file(
    file: Path, by: Sessions, time: str | None = None, limits: ParquetLimits = USUAL
) -> PartitionTable | None:
    """Read the table that ``ingest`` left in a file.

    None if there is none for this way of cutting, or somebody rewrote the file.
    """
    seal = read_seal(file)
    if seal is None or seal.root is None:
        return None
    about = open_bounded(file, limits).metadata
    return table_in_notes(about.metadata or {}, about.num_rows, by, time)


def table_in_notes(
    notes: Mapping[bytes, bytes], rows: int, by: Sessions, time: str | None = None
) -> PartitionTable | None:
    """Read the table in what an ingested file of so many rows says of itself.

    None if there is none for this way of cutting.
    """
    note = notes.get(PARTITION_NOTE)
    found = unpacked(note) if note is not None else None
    if found is None or (found.by, found.time) != (by, time) or found.cut.rows[-1] != rows:
        return None
    return found


@dataclass(frozen=True, slots=True)
class _Scan:
    source: ParquetSource
    by: Sessions
    time: str | None
    progress: Progress | None
    limits: ParquetLimits

    def remembered(self, files: Sequence[Path], memo: PartitionMemo | None) -> list[PartitionTable]:
        """Find the table of each file: what is remembered of its stamp, or lies in it, or one scan tells."""
        key = f"{self.by.text}{self.time or ''}"
        began_ns = time_ns()
        stamps = [ParquetReader(ParquetSource(file), self.limits).stamp() for file in files]
        notes: Sequence[bytes | None] = memo.recall(stamps, key) if memo else [None] * len(files)
        tables, new = [], {}
        for file, stamp, note in zip(files, stamps, notes, strict=True):
            table = unpacked(note) if note is not None else None
            if table is None:
                table = self._of_file(file, stamp)
                if stamp.is_settled(began_ns):
                    new[stamp] = table.packed()
            tables.append(table)
        if memo and new:
            memo.remember(new, key)
        return tables

    def table_of(self, source: ParquetSource) -> PartitionTable:
        """Digest a file, or a folder as the one table that it stands for."""
        reader = ParquetReader(source, self.limits)
        hasher = PartitionHasher(reader.schema(), self.by, self.time, self.progress)
        for batch in reader.batches():
            hasher.update(batch)
        return hasher.table()

    def _of_file(self, file: Path, stamp: SourceStamp) -> PartitionTable:
        if (ingested := table_in_file(file, self.by, self.time, self.limits)) is not None:
            return ingested
        found = self.table_of(ParquetSource(file))
        if ParquetReader(ParquetSource(file), self.limits).stamp() != stamp:
            raise _changed(file)
        return found


def _coded(column: pa.ChunkedArray, values: pa.Array, kind: pa.DictionaryType) -> pa.ChunkedArray:
    chunks = []
    for chunk in column.chunks:
        places = pc.index_in(chunk.dictionary, value_set=values, skip_nulls=True)
        chunks.append(pa.DictionaryArray.from_arrays(places.take(chunk.indices), values, ordered=kind.ordered))
    return pa.chunked_array(chunks, type=kind)


def _changed(path: object) -> SourceChanged:
    return SourceChanged(str(path), "it changed while it was being read; ask again when its writer is done")
