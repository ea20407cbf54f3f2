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

import numpy as np
from blake3 import blake3

from fstore.errors import InvalidRequest
from fstore.features import ALL, MOST_IN_A_SEGMENT, Declaration
from fstore.increments.cutting import Span, label_of, period_of
from fstore.increments.table import FORMAT, PartitionTable
from fstore.increments.windows import Touched
from fstore.model import KeyParts

_NAME_FORMAT = b"fstore-partition-1\0"
_SERIES_FORMAT = "fstore-series-1"


@dataclass(frozen=True, slots=True)
class NamedPartition:
    """A partition that is asked for.

    ``window`` says where it stands in the data, ``name`` what its result is.
    """

    every: str
    span: Span
    digest: bytes
    name: bytes
    window: Touched

    @property
    def label(self) -> str:
        """What people call it; only looked up where something is said of it."""
        return label_of(self.span, self.every)


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
    def reach(self) -> tuple[int, int]:
        """The first and the last partition of the data that its windows reach into."""
        return min(part.window.low for part in self.parts), max(part.window.high for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """What stands in a key where the fingerprint of raw data stands for other features."""
        return fingerprint_of(self.names)


def fingerprint_of(names: Sequence[bytes]) -> str:
    """Digest the names of a segment's partitions into the fingerprint that its key is made with."""
    return f"{FORMAT}:{blake3(struct.pack('<Q', len(names)) + b''.join(names)).hexdigest()}"


def named(
    table: PartitionTable, declared: Declaration, windows: Iterable[Touched], *, numerics: str = ""
) -> list[NamedPartition]:
    """Name partitions; ``numerics`` says what computes, for those who want keys to depend on it."""
    head = _NAME_FORMAT + _sized(declared.text) + _sized(numerics) + table.schema
    digests, found = table.digests, []
    for window in windows:
        part = table.partitions[window.at]
        before = window.at - window.low
        bounds = struct.pack("<qqQQ", part.span.start, part.span.end, before, window.high - window.at)
        name = blake3(head + bounds + b"".join(digests[window.low : window.high + 1])).digest()
        found.append(NamedPartition(declared.cut.every, part.span, part.digest, name, window))
    return found


def segments_of(parts: Iterable[NamedPartition], declared: Declaration) -> list[Segment]:
    """Put named partitions, in order of time, into the segments of their periods."""
    found = list(parts)
    numbers = _period_numbers([part.span.clock for part in found], declared.segment)
    gathered: dict[int, list[NamedPartition]] = {}
    for number, part in zip(numbers, found, strict=True):
        gathered.setdefault(number, []).append(part)
    segments = [Segment(period_of(each[0].span, declared.segment), tuple(each)) for each in gathered.values()]
    for period, members in ((each.period, each.parts) for each in segments):
        if len(members) > MOST_IN_A_SEGMENT:
            raise InvalidRequest(
                "raw_data",
                f"segment {period} would hold {len(members)} partitions, and at most {MOST_IN_A_SEGMENT} are held; "
                "declare longer partitions or a shorter segment=",
            )
    return segments


def series_of(parts: KeyParts, declared: str) -> bytes:
    """Digest what segments of one declaration have in common that may hold equal partitions.

    For finding them, never for answering.
    """
    said = [_SERIES_FORMAT, parts.symbol, parts.feature, parts.feature_version, parts.config, declared]
    return blake3(json.dumps(said, ensure_ascii=True, separators=(",", ":")).encode("ascii")).digest()


def _period_numbers(clocks: Sequence[int], segment: str) -> list[int]:
    """Number the periods that times of the clock lie in.

    Their names take longer to make than all the rest of a hit.
    """
    if segment == ALL:
        return [0] * len(clocks)
    days = np.array(clocks, dtype=np.int64) // 86_400
    if segment in ("day", "week"):
        numbers = days if segment == "day" else (days + 3) // 7  # 1970-01-05 was a Monday
    else:
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        numbers = months // {"month": 1, "quarter": 3, "year": 12}[segment]
    return numbers.tolist()  # type: ignore[no-any-return]


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded
