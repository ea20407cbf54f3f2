"""Partitions of sources in buckets: the table of all, and the rows that are wanted.

The table is found object by object. What was seen of an object once is remembered by its ETag, so that a new daily
file costs a listing and itself. Rows are read by ranges of the version that was seen; what a table says of them is
never believed by whoever computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from fstore.features import Sessions
from fstore.fingerprint import ObjectPart, ObjectParts, ObjectStamp
from fstore.increments.digests import PartitionHasher
from fstore.increments.sources import PartitionMemo, joined, table_in_notes
from fstore.increments.table import PartitionTable, unpacked
from fstore.runtime.parallel import each_of

OPENED_AT_ONCE = 8

KnownCounts = Callable[[ObjectParts], Sequence[int | None]] | None


class RemoteRows:
    """Reads rows of a source by their numbers.

    ``known`` tells how many rows each object has, as far as somebody knows.
    """

    def __init__(self, parts: ObjectParts, known: KnownCounts = None) -> None:
        self._parts = parts
        self._counts: list[int | None] = list(known(parts)) if known else [None] * len(parts.stamps())

    def read(self, first: int, stop: int) -> pa.Table:
        """Read the rows from ``first`` to ``stop``, which whoever does digests; raises ``SourceChanged``."""
        self._find_counts()
        chosen: list[pa.Table] = []
        schema: pa.Schema | None = None
        at = 0  # the first row of the object looked at
        for number, count in enumerate(self._counts):
            if count and at < stop and at + count > first:
                part = self._parts.part(number)
                schema = part.schema if schema is None else schema
                chosen.append(part.read(max(first - at, 0), min(stop - at, count)).cast(schema))
            at += count or 0
        return pa.concat_tables(chosen) if chosen else self._parts.part(0).schema.empty_table()

    def _find_counts(self) -> None:
        unknown = [at for at, count in enumerate(self._counts) if count is None]
        for at, part in zip(unknown, each_of(self._parts.part, unknown, at_once=OPENED_AT_ONCE), strict=True):
            self._counts[at] = part.count


def rows_stand_alone(part: ObjectPart) -> bool:
    """Whether rows of an object tell all of its schema.

    Of categories that no footer notes, row groups hold a part.
    """
    return part.is_sealed or not any(pa.types.is_dictionary(kind) for kind in part.schema.types)


def counts_of(parts: ObjectParts, by: Sessions, time: str | None, memo: PartitionMemo) -> list[int | None]:
    """Return the rows of each object as far as they are remembered."""
    notes = memo.recall(parts.stamps(), _key(by, time))
    tables = [unpacked(note) if note is not None else None for note in notes]
    return [None if table is None else table.cut.rows[-1] for table in tables]


def table_of_objects(
    parts: ObjectParts, by: Sessions, time: str | None, where: str, *, memo: PartitionMemo | None = None
) -> PartitionTable | None:
    """Find the partitions of a source; None where it has to be read whole, for its categories.

    An ingested object tells its table in its footer; others are scanned once, and remembered.
    """
    key, stamps = _key(by, time), parts.stamps()
    if len(stamps) == 1 and (told := _told(parts.part(0), by, time)) is not None:
        return told
    notes: Sequence[bytes | None] = memo.recall(stamps, key) if memo else [None] * len(stamps)
    tables: list[PartitionTable] = []
    new: dict[ObjectStamp, bytes] = {}
    for at, (stamp, note) in enumerate(zip(stamps, notes, strict=True)):
        table = unpacked(note) if note is not None else None
        if table is None:
            part = parts.part(at)
            if not rows_stand_alone(part):
                return None
            table = _told(part, by, time) or _scanned(parts, at, by, time)
            new[stamp] = table.packed()
        tables.append(table)
    if memo and new:
        memo.remember(new, key)
    if len(tables) == 1:
        return tables[0]
    if len({table.schema for table in tables}) > 1:
        return None  # whose categories differ stand for a table that has those of all of them
    counts = [table.cut.rows[-1] for table in tables]
    return joined(tables, RemoteRows(parts, lambda _: counts).read, where)


def _told(part: ObjectPart, by: Sessions, time: str | None) -> PartitionTable | None:
    return table_in_notes(part.notes, part.count, by, time)


def _scanned(parts: ObjectParts, at: int, by: Sessions, time: str | None) -> PartitionTable:
    with parts.copied(at) as reader:
        hasher = PartitionHasher(reader.schema(), by, time)
        for batch in reader.batches():
            hasher.update(batch)
        return hasher.table()


def _key(by: Sessions, time: str | None) -> str:
    return f"{by.text}{time or ''}"
