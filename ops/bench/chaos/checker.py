"""Reads the history of a chaos run and finds every broken promise; touches nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.history import Operation

WRONG, LOST, LATE, LEFT, OTHER = "wrong result", "lost entry", "late call", "leftover", "unexpected"
GRACE_OF_CALLS_S = 1.0
CLOCK_SLACK_S = 0.5  # between the times of trainers, Postgres and whoever did the damage: one machine, but not one read
# What a caller may be told while servers and workers die: no result, and an honest word why.
HONEST = {"ComputeTimeout", "ComputeDead", "BrokerUnavailable", "ManifestUnavailable", "ManifestBusy", "SourceChanged"}


class Change(NamedTuple):
    """One change of a manifest row as Postgres committed it; ``state`` and ``was`` are None where there is no row."""

    at: float
    key: str
    path: str
    symbol: str
    was: str | None
    state: str | None
    withdrawn: bool
    content_digest: str
    created_at: float
    condemned_at: float | None


class Damage(NamedTuple):
    """A file that the schedule damaged; ``at`` is taken before that was done."""

    at: float
    path: str


class Pause(NamedTuple):
    """A process that stood still for a while."""

    who: str
    began: float
    ended: float


class EndedRow(NamedTuple):
    """A row as it stands at the end, with what its file digests to (None: no such file)."""

    key: str
    path: str
    state: str
    content_digest: str
    found_digest: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a verdict is based on.

    ``direct`` holds what a direct call of each question gives, None where it can
    only fail; ``killed`` who was killed, ``grace_s`` how long hidden rows are kept,
    ``leftovers`` what remained that should not.
    """

    operations: Sequence[Operation]
    direct: Mapping[str, str | None]
    changes: Sequence[Change] = ()
    damages: Sequence[Damage] = ()
    pauses: Sequence[Pause] = ()
    killed: frozenset[str] = frozenset()
    rows: Sequence[EndedRow] = ()
    leftovers: Sequence[str] = ()
    grace_s: float = 0.0
    last: str = "closing"
    faults_of_processes: Sequence[str] = field(default_factory=tuple)


class Violation(NamedTuple):
    """One broken promise, and what shows it."""

    kind: str
    what: str


def check(evidence: Evidence) -> tuple[Violation, ...]:
    """Return every broken promise that the evidence shows."""
    return (
        *_wrong_results(evidence),
        *_late_calls(evidence),
        *_unexpected_errors(evidence),
        *_lost_entries(evidence),
        *(Violation(LEFT, what) for what in evidence.leftovers),
        *(Violation(OTHER, what) for what in evidence.faults_of_processes),
    )


def _wrong_results(evidence: Evidence) -> Iterator[Violation]:
    """Every answer equals the direct call, and every key has had one content for all time, in each of the two forms.

    What shares a file with others is not written as what has one of its own.
    """
    for op in evidence.operations:
        for ask, found in zip(op.asks, op.digests, strict=False):
            expected = evidence.direct[ask]
            if found is not None and found != expected:
                yield Violation(WRONG, f"{op.id} {op.what} {ask}: got {found}, a direct call gives {expected}")
    contents: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for change in evidence.changes:
        contents[change.key, ".pack/" in change.path].add(change.content_digest)
    for (key, _), digests in contents.items():
        if len(digests) > 1:
            yield Violation(WRONG, f"{key}: {len(digests)} contents were published: {sorted(digests)}")


def _late_calls(evidence: Evidence) -> Iterator[Violation]:
    """No call outlasts its deadline by more than a second, unless its own process stood still meanwhile.

    How long it waited for a core is told and excuses nothing: it would hide what is late for another reason, too.
    """
    for op in evidence.operations:
        if op.took_s is None:
            if op.who not in evidence.killed:
                yield Violation(LATE, f"{op.id} {op.what} {op.asks}: never ended, though its process lived on")
        elif op.took_s > op.deadline_s + GRACE_OF_CALLS_S and not _stood_still(op, evidence.pauses):
            yield Violation(
                LATE,
                f"{op.id} {op.what} {op.asks}: took {op.took_s:.2f} s of {op.deadline_s:g} s, "
                f"waited {op.waited_s:.2f} s for a core, {op.errors}",
            )


def _unexpected_errors(evidence: Evidence) -> Iterator[Violation]:
    """A call fails only as documented: an honest error, or that of its own feature; and not at all once all is whole."""
    for op in evidence.operations:
        if op.outcome == "ok" and op.digests and None in op.digests:
            yield Violation(OTHER, f"{op.id} {op.what} {op.asks}: a question got neither a frame nor an error")
        for ask, error in zip(op.asks, op.errors, strict=False):
            if error is None:
                continue
            own = evidence.direct[ask] is None and error == "ComputeFailed"
            if not own and error not in HONEST:
                yield Violation(OTHER, f"{op.id} {op.what} {ask}: raised {error}")
            elif not own and op.who == evidence.last and error != "ComputeDead":
                yield Violation(OTHER, f"{op.id} {op.what} {ask}: raised {error} though everything is whole again")


def _lost_entries(evidence: Evidence) -> Iterator[Violation]:
    """An entry that was there is there, or was given up for a reason that the history knows."""
    known: dict[str, str | None] = {}
    damaged_at = {damage.path: damage.at for damage in reversed(evidence.damages)}
    invalidations = [op for op in evidence.operations if op.what == "invalidate"]
    for change in evidence.changes:
        if fault := _fault_of(change, damaged_at.get(change.path), invalidations, evidence.grace_s):
            yield Violation(LOST, f"{change.key[:12]} at {change.path}: {fault}")
        known[change.key] = change.state
    published = {(change.key, change.path) for change in evidence.changes if change.state == "live"}
    for op in evidence.operations:
        if op.seen is not None and op.seen not in published:
            yield Violation(
                LOST, f"{op.id} was shown {op.seen[0][:12]} at {op.seen[1]}, which Postgres never committed"
            )
    ended = {row.key: row for row in evidence.rows}
    for key, state in known.items():
        if state == "live" and (key not in ended or ended[key].state != "live"):
            yield Violation(LOST, f"{key}: the last commit left it live, at the end it is not")
    for row in evidence.rows:
        if row.state == "live" and row.found_digest != row.content_digest and row.path not in damaged_at:
            yield Violation(
                LOST, f"{row.key} at {row.path}: its file is {row.found_digest or 'gone'}, nobody damaged it"
            )


def _fault_of(
    change: Change, damaged_at: float | None, invalidations: Sequence[Operation], grace_s: float
) -> str | None:
    """Return what is wrong with the reason for which an entry was given up, or None."""
    hidden_at = change.condemned_at or change.at
    match change.state:
        case "quarantined" if damaged_at is None or damaged_at > change.at + CLOCK_SLACK_S:
            return "quarantined though nobody had damaged its file"
        case "condemned" if change.withdrawn:
            if not any(_may_have_withdrawn(op, change) for op in invalidations):
                return "withdrawn though nobody invalidated it"
        case "condemned" if change.was == "live" and hidden_at - change.created_at < grace_s - CLOCK_SLACK_S:
            return f"condemned {hidden_at - change.created_at:.1f} s after it was made"
        case None if change.was == "live":
            return "deleted while it was live"
        case None if change.at - hidden_at < grace_s - CLOCK_SLACK_S:
            return f"deleted {change.at - hidden_at:.1f} s after it was hidden, {grace_s:g} s are promised"
    return None


def _may_have_withdrawn(op: Operation, change: Change) -> bool:
    """Tell whether an invalidation explains a change; one without a good end may still have been carried out later."""
    until = op.ended if op.outcome == "ok" and op.ended is not None else float("inf")
    symbol = op.asks[0].split(":")[0]
    return symbol == change.symbol and op.began - CLOCK_SLACK_S <= change.at <= until + CLOCK_SLACK_S


def _stood_still(op: Operation, pauses: Sequence[Pause]) -> bool:
    ended = op.ended if op.ended is not None else float("inf")
    return any(op.who == p.who and p.began <= ended and op.began <= p.ended for p in pauses)
