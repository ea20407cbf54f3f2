"""From raw data and a declaration to the segments that are asked for, each with what computes it.

Nothing of the data is copied for that: of a frame its partitions are digested, of a file
their table is read, and the rows of a segment are taken when it turns out to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fstore.compute import RunInput, SegmentTask, numerics_of
from fstore.errors import InvalidRequest
from fstore.features import Declaration, Feature, restore_config
from fstore.fingerprint import FrameInput, ParquetInput, RawInput, typed_refusals
from fstore.increments import (
    FORMAT,
    PartitionedData,
    PartitionMemo,
    PartitionTable,
    Segment,
    assign,
    fingerprint_of,
    named,
    segments_of,
    table_of_objects,
    table_of_source,
    time_field,
    touched_by,
)
from fstore.model import Fingerprint, HashMethod

MOST_TOUCHED = 16 * 1024


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a request for a feature with partitions comes to; ``zone`` is that of the data's times."""

    segments: tuple[Segment, ...]
    table: PartitionTable
    declared: Declaration
    zone: Any
    raw: tuple[RawInput, ...]
    tasks: tuple[SegmentTask, ...]
    numerics: str = ""  # what must compute them, where their names say so

    @property
    def fingerprint(self) -> Fingerprint:
        """What stands for all of them; that of the only one if there is one."""
        return _fingerprint(fingerprint_of([name for each in self.segments for name in each.names]))

    def fingerprint_of(self, at: int) -> Fingerprint:
        """What stands for one of them in its key."""
        return _fingerprint(self.segments[at].fingerprint)

    def bounds(self, at: int) -> tuple[int, int]:
        """The half-open time of a segment in seconds since 1970."""
        parts = self.segments[at].parts
        return parts[0].span.start, parts[-1].span.end


class Cutter:
    """Cuts raw data; of data that stay what they are between requests the partitions are digested once."""

    def __init__(self, *, keeps: bool, memo: PartitionMemo | None = None, pins: bool = False) -> None:
        self._keeps, self._memo, self._pins = keeps, memo, pins
        self._known: dict[tuple[int, str, str | None], tuple[RawInput, _Cut]] = {}

    def cut(self, held: RawInput, feature: Feature, canonical: str) -> Pieces:
        """Find the segments of data.

        Raises ``UnhashableInput`` and ``InvalidRequest`` for what cannot be cut.
        """
        config: Mapping[str, Any] = restore_config(canonical)
        if feature.partitioning is None:
            raise InvalidRequest("compute_func", f"{feature.name} declares no partition=")
        declared = feature.partitioning.evaluated(config)
        found = self._cut_of(held, declared)
        table = found.table
        if not table.partitions:
            raise InvalidRequest("raw_data", "has no rows, so there is no partition to compute")
        cut = table.cut
        numerics = numerics_of(feature) if self._pins else ""
        segments = segments_of(named(table, declared, touched_by(cut, declared), numerics=numerics), declared)
        _check_reach(segments)
        assigned = [
            partial(assign, each, table, declared, in_source=found.data is None, numerics=numerics) for each in segments
        ]
        return Pieces(
            tuple(segments),
            table,
            declared,
            found.zone,
            tuple(found.run(each, held, cut.rows) for each in segments),
            tuple(SegmentTask(declared, each) for each in assigned),
            numerics,
        )

    def _cut_of(self, held: RawInput, declared: Declaration) -> _Cut:
        key = (id(held), declared.cut.text, declared.time)
        if key in self._known:
            return self._known[key][1]
        found = _cut(held, declared, self._memo)
        if self._keeps:
            self._known[key] = held, found  # which keeps the number from being another's
        return found


def _check_reach(segments: Sequence[Segment]) -> None:
    """Refuse what no message could name: each partition within reach has a place in it."""
    for each in segments:
        low, high = each.reach
        if high - low >= MOST_TOUCHED:
            raise InvalidRequest(
                "raw_data",
                f"the windows of segment {each.period} reach into {high - low + 1:,} partitions, and at most "
                f"{MOST_TOUCHED:,} are named; declare longer partitions, or a shorter lookback",
            )


@dataclass(frozen=True, slots=True)
class _Cut:
    """Partitions of data, and the data where they are in memory."""

    table: PartitionTable
    zone: Any
    data: PartitionedData | None

    def run(self, segment: Segment, held: RawInput, rows: Sequence[int]) -> RawInput:
        if self.data is None:
            return held
        low, high = segment.reach
        return RunInput(self.data, rows[low], rows[high + 1])


def _cut(held: RawInput, declared: Declaration, memo: PartitionMemo | None) -> _Cut:
    with typed_refusals:
        if isinstance(held, ParquetInput):
            field = time_field(held.schema, declared.time)
            table = table_of_source(
                held.reader.source, declared.cut, declared.time, memo=memo, limits=held.reader.limits
            )
            return _Cut(table, field.zone, None)
        if (objects := held.objects()) is not None:
            known = table_of_objects(objects, declared.cut, declared.time, str(held.path), memo=memo)
            if known is not None:
                return _Cut(known, time_field(objects.part(0).schema, declared.time).zone, None)
        data = PartitionedData(held.frame if isinstance(held, FrameInput) else held.table(), declared)
        return _Cut(data.table(), data.times.zone, data)


def _fingerprint(text: str) -> Fingerprint:
    return Fingerprint(HashMethod.FULL, text.rpartition(":")[2], FORMAT)
