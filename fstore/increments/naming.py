"""Names of partitions, fingerprints of segments, and the series that they belong to.

A partition's name commits to all that its result depends on besides function and config:
the declaration with the evaluated reach, the bounds, and the digests of all partitions
that its window touches, in order, with how many of them lie before it. Equal names under
one feature, version and config are equal results. Whole neighbours count, and not only
the rows within reach, so that the table of partitions is all that is needed to name one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blake3 import blake3

from fstore.errors import InvalidRequest
from fstore.features import MOST_IN_A_SEGMENT, Declaration
from fstore.increments.cutting import Span, label_of, period_of
from fstore.increments.table import FORMAT, PartitionTable
from fstore.increments.windows import Window
from fstore.model import KeyParts

_NAME_FORMAT = b"fstore-partition-1\0"
_SERIES_FORMAT = "fstore-series-1"


@dataclass(frozen=True, slots=True)
class NamedPartition:
    """A partition that is asked for: ``window`` says where it stands in the data, ``name`` what its result is."""

    label: str
    span: Span
    digest: bytes
    name: bytes
    window: Window


@dataclass(frozen=True, slots=True)
class Segment:
    """The partitions of one period, which share a file, a row, a job and a key."""

    period: str
    parts: tuple[NamedPartition, ...]

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names of its partitions, in order of time."""
        return tuple(part.name for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """What stands in a key where the fingerprint of raw data stands for other features."""
        return fingerprint_of(self.names)


def fingerprint_of(names: Sequence[bytes]) -> str:
    """Digest the names of a segment's partitions into the fingerprint that its key is made with."""
    return f"{FORMAT}:{blake3(struct.pack('<Q', len(names)) + b''.join(names)).hexdigest()}"


def named(
    table: PartitionTable, declared: Declaration, windows: Iterable[Window], *, numerics: str = ""
) -> list[NamedPartition]:
    """Name partitions; ``numerics`` says what computes, for those who want keys to depend on it."""
    head = _NAME_FORMAT + _sized(declared.text) + _sized(numerics) + table.schema
    digests, found = table.digests, []
    for window in windows:
        part = table.partitions[window.at]
        before = window.at - window.low
        bounds = struct.pack("<qqQQ", part.span.start, part.span.end, before, window.high - window.at)
        name = blake3(head + bounds + b"".join(digests[window.low : window.high + 1])).digest()
        found.append(NamedPartition(label_of(part.span, declared.cut.every), part.span, part.digest, name, window))
    return found


def segments_of(parts: Iterable[NamedPartition], declared: Declaration) -> list[Segment]:
    """Put named partitions, in order of time, into the segments of their periods."""
    gathered: dict[str, list[NamedPartition]] = {}
    for part in parts:
        gathered.setdefault(period_of(part.span, declared.segment), []).append(part)
    for period, members in gathered.items():
        if len(members) > MOST_IN_A_SEGMENT:
            raise InvalidRequest(
                "raw_data",
                f"segment {period} would hold {len(members)} partitions, and at most {MOST_IN_A_SEGMENT} are held; "
                "declare longer partitions or a shorter segment=",
            )
    return [Segment(period, tuple(members)) for period, members in gathered.items()]


def series_of(parts: KeyParts, declared: Declaration) -> bytes:
    """Digest what segments have in common that may hold equal partitions: for finding them, never for answering."""
    said = [_SERIES_FORMAT, parts.symbol, parts.feature, parts.feature_version, parts.config, declared.text]
    return blake3(json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode("ascii")).digest()


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded
