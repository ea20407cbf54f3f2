"""The table of partitions: bounds, rows and content digest of each.

It is small enough to lie in a file's footer. A partition's digest (``fstore.increments.digests``) is that of a
frame that holds its rows alone, so it is the same for a frame, a table, a stream, a file of any layout, and the
data that a worker was given. Names (``fstore.increments.naming``) are made of nothing else.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass

from blake3 import blake3

from fstore.features import Sessions
from fstore.increments.cutting import Cut, Span

FORMAT = "b3p1"
PARTITION_NOTE = b"fstore.partitions"
_RECORD = struct.Struct("<qqqQ32s")


@dataclass(frozen=True, slots=True)
class Partition:
    """A stretch of time with rows in it; ``digest`` is that of those rows alone."""

    span: Span
    rows: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """All partitions of raw data, in order of time.

    ``by`` cuts them along the column ``time`` (None: the index). ``schema`` digests what all of them share: names,
    types, index, categories.
    """

    by: Sessions
    time: str | None
    schema: bytes
    partitions: tuple[Partition, ...]

    @property
    def cut(self) -> Cut:
        """The same partitions as row numbers."""
        rows = [0]
        for each in self.partitions:
            rows.append(rows[-1] + each.rows)
        return Cut(tuple(each.span for each in self.partitions), tuple(rows))

    @property
    def digests(self) -> list[bytes]:
        """The digest of each partition."""
        return [each.digest for each in self.partitions]

    def packed(self) -> bytes:
        """Write it as a note for a file's metadata, from which ``unpacked`` makes it again."""
        records = b"".join(
            _RECORD.pack(p.span.start, p.span.end, p.span.clock, p.rows, p.digest) for p in self.partitions
        )
        head = json.dumps(
            {
                "format": FORMAT,
                "every": self.by.every,
                "minutes": self.by.minutes,
                "zone": self.by.zone,
                "time": self.time,
                "schema": self.schema.hex(),
                "partitions": len(self.partitions),
                "check": blake3(records).hexdigest(),
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        return head.encode() + b"\n" + base64.b64encode(records)


def unpacked(note: bytes) -> PartitionTable | None:
    """Read a table from a note; None for one of another format, or that was cut or altered."""
    head, _, body = note.partition(b"\n")
    try:
        said = json.loads(head)
        records = base64.b64decode(body, validate=True)
        if said["format"] != FORMAT or said["check"] != blake3(records).hexdigest():
            return None
        found = tuple(
            Partition(Span(start, end, clock), rows, digest)
            for start, end, clock, rows, digest in _RECORD.iter_unpack(records)
        )
        by = Sessions(said["every"], said["minutes"], said["zone"])
        return PartitionTable(by, said["time"], bytes.fromhex(said["schema"]), found)
    except (ValueError, KeyError, TypeError, struct.error):
        return None
