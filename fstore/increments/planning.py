"""Plans: which segments answer, and which must be made.

Of those, which partitions are copied and which computed. Everything here is a value; nobody is asked anything.
``plan`` is told which keys are live and which segments of the series there are, and says what is to be done and
why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fstore.increments.contents import PartRecord
from fstore.increments.cutting import Span, label_of
from fstore.increments.naming import NamedPartition, Segment
from fstore.increments.table import PartitionTable

MOST_LINES = 40


class Why(StrEnum):
    """Why a partition is computed."""

    ROWS = "rows"
    LOOKBACK = "lookback"
    LOOKAHEAD = "lookahead"
    NEW = "new"
    SCHEMA = "schema"
    NUMERICS = "numerics"
    DECLARATION = "declaration"
    SOURCE = "source"
    ELSEWHERE = "elsewhere"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class Relative:
    """A live segment of the same series; ``records`` are those of its file, where somebody read them.

    What ``is_own`` was computed by the source code of whoever asks: of other code's a whole segment
    answers, for a key commits to the version alone, but nothing is copied into an own one.
    """

    key: str
    period: str
    names: tuple[bytes, ...]
    records: tuple[PartRecord, ...] = ()
    is_own: bool = True


@dataclass(frozen=True, slots=True)
class Unlike:
    """What was computed of the same times and is no relative, and periods that nobody looked into.

    ``declared`` are results of the same parts that are cut in another way: the seconds of their first and
    last row, and the period if the series is the same.
    """

    declared: tuple[tuple[float, float, str], ...] = ()
    unread: frozenset[str] = frozenset()


NOTHING_UNLIKE = Unlike()


@dataclass(frozen=True, slots=True)
class Missing:
    """A partition that no live segment holds, and why; ``because`` names the neighbour that changed."""

    part: NamedPartition
    why: Why
    because: str = ""

    @property
    def reason(self) -> str:
        """Say why."""
        return {
            Why.ROWS: "its rows changed",
            Why.LOOKBACK: f"its lookback reaches into {self.because}",
            Why.LOOKAHEAD: f"its lookahead reaches into {self.because}",
            Why.NEW: "it is new",
            Why.SCHEMA: "columns, dtypes or categories changed",
            Why.NUMERICS: "other libraries, or another processor, computed it",
            Why.DECLARATION: "it was not computed under this declaration",
            Why.SOURCE: "other source code of this version computed it",
            Why.ELSEWHERE: "another segment has it than the one that most are copied from",
            Why.UNREAD: "it is another; what was computed of it before was not looked at",
        }[self.why]

    def __str__(self) -> str:
        return f"{self.part.label}  {self.reason}"


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """What is done about one segment.

    ``answered_by`` is a live key that holds all of its partitions, its own or that of a
    relative that covers it; None if it is to be made: ``copied`` from one relative, by
    names, and the ``computed`` ones.
    """

    segment: Segment
    key: str
    answered_by: str | None
    source: str | None = None
    copied: tuple[NamedPartition, ...] = ()
    computed: tuple[NamedPartition, ...] = ()

    @property
    def is_covered(self) -> bool:
        """Does another segment answer than the one that was asked for."""
        return self.answered_by not in (None, self.key)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done about a request, and why."""

    segments: tuple[SegmentPlan, ...]
    missing: tuple[Missing, ...]

    @property
    def total(self) -> int:
        """How many partitions are asked for."""
        return sum(len(each.segment.parts) for each in self.segments)

    @property
    def hits(self) -> int:
        """How many partitions lie in segments that answer."""
        return sum(len(each.segment.parts) for each in self.segments if each.answered_by is not None)

    @property
    def copied(self) -> int:
        """How many partitions are copied from a relative."""
        return sum(len(each.copied) for each in self.segments)

    def __str__(self) -> str:
        live = sum(each.answered_by is not None for each in self.segments)
        head = (
            f"{self.hits + self.copied} of {self.total} partitions hit, {len(self.missing)} to compute, "
            f"{live} of {len(self.segments)} segments hit"
        )
        lines = [_told(run) for run in _runs(self.missing)]
        more = (
            [f"... and {len(lines) - MOST_LINES:,} lines more, all in the JSON form"] if len(lines) > MOST_LINES else []
        )
        return "\n".join([head, *(f"  {each}" for each in (*lines[:MOST_LINES], *more))])


def _runs(missing: Iterable[Missing]) -> list[list[Missing]]:
    """Put together what lies side by side and is computed for one reason."""
    runs: list[list[Missing]] = []
    for each in missing:
        last = runs[-1][-1] if runs else None
        is_next = last is not None and each.part.window.at == last.part.window.at + 1
        if last is not None and is_next and (each.why, each.because) == (last.why, last.because):
            runs[-1].append(each)
        else:
            runs.append([each])
    return runs


def _told(run: Sequence[Missing]) -> str:
    if len(run) == 1:
        return str(run[0])
    first, last = run[0].part.label, run[-1].part.label
    return f"{first} to {last}  {len(run):,} partitions, of each: {run[0].reason}"


def plan(
    segments: Sequence[Segment],
    keys: Sequence[str],
    live: Collection[str],
    table: PartitionTable,
    relatives: Iterable[Relative] = (),
    *,
    numerics: str = "",
    unlike: Unlike = NOTHING_UNLIKE,
) -> Plan:
    """Decide about each segment, given its key.

    ``relatives`` are live segments of the series, the latest first. ``table`` is that of the data asked about, and
    ``numerics`` what must compute them if names say so; these and what is ``unlike`` only serve to say why.
    """
    known = list(relatives)
    by_period: dict[str, list[Relative]] = {}
    for each in known:
        by_period.setdefault(each.period, []).append(each)
    plans = [
        _segment_plan(segment, key, live, by_period.get(segment.period, ()))
        for segment, key in zip(segments, keys, strict=True)
    ]
    reason = _Reasons(table, known, numerics, unlike)
    return Plan(tuple(plans), tuple(reason.of(part, each.segment.period) for each in plans for part in each.computed))


def copies(segment: Segment, relatives: Iterable[Relative]) -> tuple[Relative | None, frozenset[bytes]]:
    """Choose the relative that holds most of a segment's partitions, and say which."""
    best: Relative | None = None
    shared: frozenset[bytes] = frozenset()
    wanted = frozenset(segment.names)
    for each in relatives:
        if len(both := wanted.intersection(each.names)) > len(shared):
            best, shared = each, both
    return best, shared


def superseded(one: Collection[bytes], others: Iterable[Collection[bytes]]) -> bool:
    """Are all names of a segment in another live segment, which is larger or younger.

    Of its series and period.
    """
    return any(set(one) <= set(other) for other in others)


def _segment_plan(segment: Segment, key: str, live: Collection[str], relatives: Sequence[Relative]) -> SegmentPlan:
    if key in live:
        return SegmentPlan(segment, key, key)
    best, shared = copies(segment, relatives)
    if best is not None and len(shared) == len(segment.parts):
        return SegmentPlan(segment, key, best.key)
    best, shared = copies(segment, [each for each in relatives if each.is_own])
    copied = tuple(part for part in segment.parts if part.name in shared)
    computed = tuple(part for part in segment.parts if part.name not in shared)
    return SegmentPlan(segment, key, None, best.key if best and copied else None, copied, computed)


class _Reasons:
    """Says why partitions are computed.

    From the records of what was computed before of the same stretches of time.
    """

    def __init__(self, table: PartitionTable, relatives: Sequence[Relative], numerics: str, unlike: Unlike) -> None:
        self._table, self._numerics, self._unlike = table, numerics, unlike
        self._held = {name: relative.is_own for relative in relatives for name in relative.names}
        self._held |= {name: True for relative in relatives if relative.is_own for name in relative.names}
        self._before: dict[tuple[int, int], PartRecord] = {}
        for relative in relatives:
            for record in relative.records:
                self._before.setdefault((record.span.start, record.span.end), record)

    def of(self, part: NamedPartition, period: str) -> Missing:
        record = self._recorded(part.span)
        if record is None or part.name in self._held:
            return Missing(part, self._but_for_a_copy(part, period))
        if record.schema != self._table.schema:
            return Missing(part, Why.SCHEMA)
        if record.digest != part.digest:
            return Missing(part, Why.ROWS)
        window = part.window
        for why, neighbours in (
            (Why.LOOKBACK, range(window.at - 1, window.low - 1, -1)),
            (Why.LOOKAHEAD, range(window.at + 1, window.high + 1)),
        ):
            for at in neighbours:
                if self._has_changed(at):
                    return Missing(part, why, label_of(self._table.partitions[at].span, self._table.by.every))
        if self._numerics and record.numerics != self._numerics:
            return Missing(part, Why.NUMERICS)
        return self._because_of_gaps(part)

    def _but_for_a_copy(self, part: NamedPartition, period: str) -> Why:
        if part.name in self._held:
            return Why.ELSEWHERE if self._held[part.name] else Why.SOURCE
        span = part.span
        if period in self._unlike.unread:
            return Why.UNREAD
        is_known = any(
            start < span.end and end >= span.start and other != period for start, end, other in self._unlike.declared
        )
        return Why.DECLARATION if is_known else Why.NEW

    def _because_of_gaps(self, part: NamedPartition) -> Missing:
        """All that is within reach is as it was: then something between that was, is no more."""
        present = {(each.span.start, each.span.end) for each in self._table.partitions}
        gone = [record.span for bounds, record in self._before.items() if bounds not in present]
        earlier = [span for span in gone if span.end <= part.span.start]
        later = [span for span in gone if span.start >= part.span.end]
        every = self._table.by.every
        if earlier:
            return Missing(part, Why.LOOKBACK, f"{label_of(max(earlier, key=_start), every)}, which is gone")
        if later:
            return Missing(part, Why.LOOKAHEAD, f"{label_of(min(later, key=_start), every)}, which is gone")
        return Missing(part, Why.DECLARATION)

    def _has_changed(self, at: int) -> bool:
        neighbour = self._table.partitions[at]
        record = self._recorded(neighbour.span)
        return record is None or record.digest != neighbour.digest

    def _recorded(self, span: Span) -> PartRecord | None:
        return self._before.get((span.start, span.end))


def _start(span: Span) -> int:
    return span.start
