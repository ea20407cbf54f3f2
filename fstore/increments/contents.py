"""What a segment's file says about its partitions: where each lies in it, its name, and what it was made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def packed(records: Iterable[PartRecord]) -> bytes:
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
    return json.dumps({"format": _FORMAT, "numerics": numerics, "parts": parts}, separators=(",", ":")).encode()


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
