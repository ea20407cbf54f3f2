"""What a request for a feature with partitions would meet.

Segments that are there, partitions that are missing, and why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from fstore.client.partitions.pieces import Pieces
from fstore.client.request import KeyedRequest
from fstore.compute import NAME_PREFIX
from fstore.entries import read_notes
from fstore.increments import KnownSegment, Missing, Plan, Relative, Segment, Unlike, contents_of, plan, series_of
from fstore.model import Entry
from fstore.resources import Resources

MOST_READ = 240  # relatives whose notes are read to say why: twenty years of months
MOST_ALIKE = 1000  # entries whose times tell what was computed under another declaration
MOST_SECOND = 24  # of them, those that are the second of their period


@dataclass(frozen=True, slots=True)
class Composition:
    """The live entries that answer a request for a feature with partitions together, in order of time."""

    key: str
    entries: tuple[Entry, ...]
    partitions: int

    @property
    def rows(self) -> int:
        """The rows of its entries, which may hold more partitions than were asked for."""
        return sum(entry.rows for entry in self.entries)

    @property
    def file_size_bytes(self) -> int:
        """The bytes of their files."""
        return sum(entry.file_size_bytes for entry in self.entries)

    @property
    def created_ts(self) -> datetime:
        """When the last of them was made."""
        return max(entry.created_ts for entry in self.entries)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show in a notebook what a person looks for."""
        parts = self.entries[0].parts
        printer.text(
            f"Composition {self.key[:12]}: {parts.symbol}, {self.partitions} partitions in {len(self.entries)} entries\n"
            f"{self.rows} rows, {self.file_size_bytes} bytes, the last of {self.created_ts:%Y-%m-%d %H:%M:%S %Z}"
        )


@dataclass(frozen=True, slots=True)
class Partitions:
    """How many partitions a request is made of, and how many of them are there.

    The others would be copied from what is there, or have to be computed.
    """

    total: int
    hit: int
    copied: int
    segments: int
    segments_hit: int
    missing: tuple[Missing, ...]
    text: str

    @classmethod
    def of(cls, found: Plan) -> Partitions:
        """Count what a plan says."""
        live = sum(each.answered_by is not None for each in found.segments)
        return cls(found.total, found.hits, found.copied, len(found.segments), live, found.missing, str(found))

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "total": self.total,
            "hit": self.hit,
            "copied": self.copied,
            "segments": self.segments,
            "segments_hit": self.segments_hit,
            "missing": [
                {
                    "partition": each.part.label,
                    "start": datetime.fromtimestamp(each.part.span.start, UTC).isoformat(),
                    "end": datetime.fromtimestamp(each.part.span.end, UTC).isoformat(),
                    "why": each.why.value,
                    "because": each.because or None,
                }
                for each in self.missing
            ],
        }


def composition_of(resources: Resources, request: KeyedRequest) -> Composition | Entry | None:
    """Find the entries that would answer.

    None unless all do, and the entry itself where one alone is asked for.
    """
    found = resources.manifest.find_live_entries([each.key for each in request.segments])
    answering = _covering(resources, request, found)
    if len(found) + len(answering) < len(request.segments) or request.pieces is None:
        return None
    found |= resources.manifest.find_live_entries([each.entry.key for each in answering.values()]) if answering else {}
    entries = [
        found.get(answering[each.key].entry.key if each.key in answering else each.key) for each in request.segments
    ]
    known = [entry for entry in entries if entry is not None]
    if len(known) < len(entries):
        return None  # one was hidden between two looks
    if len(known) == 1:
        return known[0]
    return Composition(request.key, tuple(known), sum(len(each.parts) for each in request.pieces.segments))


def partitions_of(resources: Resources, request: KeyedRequest, pieces: Pieces) -> Partitions:
    """Tell which partitions are there and why the others are not.

    Reads what was computed of these times before.
    """
    keys = [each.key for each in request.segments]
    live = resources.manifest.find_live_many(keys)
    missing = [at for at, key in enumerate(keys) if key not in live]
    looked_at = sorted({near for at in missing for near in (at - 1, at, at + 1) if 0 <= near < len(keys)})
    relatives, unlike = (
        _relatives(resources, request, [pieces.segments[at] for at in looked_at]) if missing else ([], Unlike())
    )
    return Partitions.of(
        plan(pieces.segments, keys, set(live), pieces.table, relatives, numerics=pieces.numerics, unlike=unlike)
    )


def _relatives(
    resources: Resources, request: KeyedRequest, segments: Sequence[Segment]
) -> tuple[list[Relative], Unlike]:
    """Read what was computed before of some periods, and find what is none of it.

    The latest and the most alike of each period come first.
    """
    series = _series(request)
    names = {each.period: {name[:NAME_PREFIX] for name in each.names} for each in segments}
    found = resources.manifest.find_segments([(series, period) for period in names])
    places: dict[str, int] = {}
    ranked: tuple[list[KnownSegment], list[KnownSegment]] = ([], [])
    for each in sorted(found, key=lambda known: -len(names[known.period].intersection(known.names))):
        places[each.period] = place = places.get(each.period, -1) + 1
        if place < len(ranked):
            ranked[place].append(each)
    relatives: list[Relative] = []
    read: set[str] = set()
    for each in (*ranked[0][:MOST_READ], *ranked[1][:MOST_SECOND]):
        read.add(each.period)
        table = read_notes(resources, each.entry)
        contents = contents_of(table) if table is not None else None
        if contents is not None:
            is_own = each.entry.source_digest == request.feature.source_digest
            relatives.append(Relative(each.entry.key, each.period, contents.names, contents.records, is_own))
    return relatives, Unlike(_otherwise_declared(resources, request, series), frozenset(places.keys() - read))


def _otherwise_declared(
    resources: Resources, request: KeyedRequest, series: bytes
) -> tuple[tuple[float, float, str], ...]:
    """Find the times of results that are otherwise cut, and the periods of those of one series.

    They are of the same symbol, feature, version and config.
    """
    alike = [
        entry
        for entry in resources.manifest.nearest_entries(request.parts, limit=MOST_ALIKE)
        if replace(entry.parts, fingerprint=request.parts.fingerprint) == request.parts
    ]
    held = resources.manifest.segments_of([entry.key for entry in alike]) if alike else {}
    found = []
    for entry in alike:
        facts = held.get(entry.key)
        if entry.start_ts is not None and entry.end_ts is not None:
            period = facts.period if facts is not None and facts.series == series else ""
            found.append((entry.start_ts.timestamp(), entry.end_ts.timestamp(), period))
    return tuple(found)


def _covering(resources: Resources, request: KeyedRequest, found: Collection[str]) -> Mapping[str, KnownSegment]:
    """Find, by the keys of segments that have no entry, others that hold all of their partitions.

    As far as rows tell.
    """
    lacking = {each.task.assigned.period: each for each in request.segments if each.key not in found and each.task}
    if not lacking:
        return {}
    series = _series(request)
    covering: dict[str, KnownSegment] = {}
    for known in resources.manifest.find_segments([(series, period) for period in lacking]):
        asked = lacking[known.period]
        if asked.task and {name[:NAME_PREFIX] for name in asked.task.assigned.names}.issubset(known.names):
            covering.setdefault(asked.key, known)
    return covering


def _series(request: KeyedRequest) -> bytes:
    return series_of(request.parts, request.pieces.declared.text) if request.pieces is not None else b""
