"""What a segment's file says about its partitions.

Where each lies in it, its name, and what it was made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from fstore.increments.cutting import Span
from fstore.increments.naming import NamedPartition

CONTENTS_KEY = b"fstore.segment"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One partition's result in a file: ``rows`` of it, following those of the records before.

    ``digest`` and ``schema`` are of the raw data it was computed from; ``numerics`` says
    what computed it.
    """

    span: Span
    rows: int
    name: bytes
    digest: bytes
    schema: bytes
    numerics: str = ""


def record_of(part: NamedPartition, schema: bytes, rows: int, numerics: str = "") -> PartRecord:
    """Note a result that was just computed."""
    return PartRecord(part.span, rows, part.name, part.digest, schema, numerics)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a segment's file says of itself: by which declaration it is cut, its period, its partitions.

    ``copied`` names the entry, by key and path, that some of them were copied from: for who
    publishes it, and in no file, since a key has the same bytes however its days came together.
    """

    declared: str
    period: str
    records: tuple[PartRecord, ...]
    copied: tuple[str, str] | None = None

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names of its partitions, in order of time."""
        return tuple(record.name for record in self.records)


def with_contents(table: pa.Table, contents: Contents) -> pa.Table:
    """Return a segment's result with the note of what it holds."""
    note = packed(contents.records, declared=contents.declared, period=contents.period, copied=contents.copied)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), CONTENTS_KEY: note})


def without_contents(table: pa.Table) -> pa.Table:
    """Return a segment's result as callers see it."""
    metadata = table.schema.metadata
    if not metadata or CONTENTS_KEY not in metadata:
        return table
    return table.replace_schema_metadata({key: value for key, value in metadata.items() if key != CONTENTS_KEY})


def without_source(table: pa.Table) -> pa.Table:
    """Return a segment's result as it is stored: silent about what it was copied from."""
    contents = contents_of(table)
    if contents is None or contents.copied is None:
        return table
    return with_contents(table, replace(contents, copied=None))


def contents_of(table: pa.Table) -> Contents | None:
    """Read what a whole segment's result says of itself.

    None if it says nothing, or something that does not fit it.
    """
    note = (table.schema.metadata or {}).get(CONTENTS_KEY)
    records = unpacked(note, table.num_rows)
    if note is None or not records:
        return None
    said = json.loads(note)
    declared, period = said.get("declared"), said.get("period")
    if not (isinstance(declared, str) and isinstance(period, str)):
        return None
    copied = said.get("copied")
    is_told = isinstance(copied, list) and len(copied) == 2 and all(isinstance(each, str) for each in copied)
    return Contents(declared, period, records, (copied[0], copied[1]) if is_told else None)


def take_partitions(table: pa.Table, contents: Contents, names: Sequence[bytes]) -> pa.Table | None:
    """Take partitions, in this order, out of a segment's result; None if it does not hold all of them."""
    held = offsets_of(contents.records)
    if not names or any(name not in held for name in names):
        return None
    return pa.concat_tables([table.slice(*held[name]) for name in names])


def packed(
    records: Iterable[PartRecord], *, declared: str = "", period: str = "", copied: tuple[str, str] | None = None
) -> bytes:
    """Write records as a note for a file's metadata."""
    records = list(records)
    numerics = sorted({each.numerics for each in records})
    parts = [
        [
            *(each.span.start, each.span.end, each.span.clock, each.rows),
            *(each.name.hex(), each.digest.hex(), each.schema.hex(), numerics.index(each.numerics)),
        ]
        for each in records
    ]
    said = {"format": _FORMAT, "declared": declared, "period": period, "numerics": numerics, "parts": parts}
    if copied is not None:
        said["copied"] = list(copied)
    return json.dumps(said, separators=(",", ":")).encode()


def unpacked(note: bytes | None, rows: int) -> tuple[PartRecord, ...]:
    """Read the records of a file of so many rows; none where there is no note, or one that does not fit."""
    if note is None:
        return ()
    try:
        said = json.loads(note)
        if said["format"] != _FORMAT:
            return ()
        found = tuple(
            PartRecord(
                Span(start, end, clock),
                count,
                bytes.fromhex(name),
                bytes.fromhex(digest),
                bytes.fromhex(schema),
                said["numerics"][at],
            )
            for start, end, clock, count, name, digest, schema, at in said["parts"]
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return ()
    return found if sum(each.rows for each in found) == rows else ()


def offsets_of(records: Sequence[PartRecord]) -> dict[bytes, tuple[int, int]]:
    """Tell by name which rows of the file are whose: the first one, and how many."""
    at, found = 0, {}
    for each in records:
        found[each.name] = (at, each.rows)
        at += each.rows
    return found


def mixed_numerics(records: Iterable[PartRecord]) -> tuple[str, ...]:
    """List what computed a segment's partitions, if it was more than one machine or set of libraries."""
    found = tuple(dict.fromkeys(each.numerics for each in records))
    return found if len(found) > 1 else ()
