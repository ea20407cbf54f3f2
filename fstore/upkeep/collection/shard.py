"""Decides what garbage collection does with rows and files, and touches nothing.

For one shard at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from fstore.model import EntryState, ReapableEntry, ShardRow
from fstore.storage import FoundFile, key_of
from fstore.upkeep.collection.policy import Candidate, Eviction, GarbagePolicy


class Why(StrEnum):
    """Why a file without a row goes."""

    NO_ROW = "no row"
    SUPERSEDED = "superseded"
    UNFINISHED = "unfinished"
    STAGED = "staged, no longer needed"
    QUARANTINED = "quarantined long ago"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file to remove that no row names; ``is_staged`` says that it lies in the staging area."""

    file: FoundFile
    why: Why
    is_staged: bool = False


@dataclass(slots=True)
class Totals:
    """What was looked at and found, whether or not the plan has room for all of it."""

    rows: int = 0
    live_entries: int = 0
    live_bytes: int = 0
    pinned: int = 0
    files: int = 0
    file_bytes: int = 0
    strays: int = 0
    stray_bytes: int = 0
    unexplained: int = 0
    lost: int = 0
    foreign: int = 0
    packs: int = 0
    pack_bytes: int = 0
    dead_pack_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one shard holds beside matching rows and files: rows without file, files without row."""

    rows: int
    files: int
    lost: tuple[ShardRow, ...]
    orphans: tuple[FoundFile, ...]


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """What is to be done in one shard.

    ``candidates`` are the live entries that the eviction policy may choose.
    """

    candidates: list[Candidate] = field(default_factory=list)
    revive: list[str] = field(default_factory=list)
    reap: list[ReapableEntry] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    lost: list[ShardRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GarbagePlan:
    """Everything a run is going to do, in the order it does it; a dry run prints this very plan."""

    made_at: datetime
    revive: tuple[str, ...]
    reap: tuple[ReapableEntry, ...]
    evictions: tuple[Eviction, ...]
    lost: tuple[ShardRow, ...]
    leftovers: tuple[Leftover, ...]
    totals: Totals
    postponed: str | None = None
    file_now_ns: int = 0
    """The time by the store's clock when the plan was begun."""
    pack_sizes: Mapping[str, int] = field(default_factory=dict)
    """The files that hold several entries: one goes with the last of them."""
    faults: tuple[str, ...] = ()
    """Why some of these could not be looked at; they stay."""


def compare(rows: Iterable[ShardRow], found: Iterable[FoundFile]) -> Comparison:
    """Match rows with files by their paths, in memory proportional to ``rows``.

    Rows have to be read *after* the files were listed, or a file whose row is
    just being inserted looks like an orphan; and a file that was published after
    the listing looks lost, so look again before believing it. Sizes are left to
    reads and sweeps, which look at every byte.
    """
    waiting = {row.path: row for row in rows}
    total_rows, files = len(waiting), 0
    orphans = []
    for file in found:
        files += 1
        if waiting.pop(file.path, None) is None:
            orphans.append(file)
    lost = sorted(waiting.values(), key=lambda row: row.path)
    orphans.sort(key=lambda file: file.path)
    return Comparison(total_rows, files, tuple(lost), tuple(orphans))


def judge_shard(
    rows: Sequence[ShardRow],
    compared: Comparison,
    working: Collection[str],
    policy: GarbagePolicy,
    *,
    now: datetime,
    file_now_ns: int,
    totals: Totals,
) -> ShardPlan:
    """Decide about one shard and add it to ``totals``.

    ``compared`` are its rows against its files, ``working`` the keys, among those
    of files without a row, that a job may still publish. ``now`` is the database's
    time, ``file_now_ns`` the store's: ages never mix clocks.
    """
    plan = ShardPlan()
    live_entries = live_bytes = pinned = 0
    for row in rows:
        if row.state == EntryState.LIVE:
            live_entries += 1
            live_bytes += row.size_bytes
            pinned += row.is_pinned
            if policy.may_choose(row.last_used_at, now):
                plan.candidates.append(
                    Candidate(row.key, row.path, row.size_bytes, row.created_at, row.last_used_at, row.is_pinned)
                )
        elif row.condemned_at is not None:
            if row.state == EntryState.CONDEMNED and (row.is_pinned or row.last_used_at > row.condemned_at):
                plan.revive.append(row.key)
            elif now - row.condemned_at > policy.grace:
                plan.reap.append(ReapableEntry(row.key, row.path, row.size_bytes))
    totals.live_entries += live_entries
    totals.live_bytes += live_bytes
    totals.pinned += pinned
    totals.rows += compared.rows
    totals.files += compared.files
    plan.lost.extend(row for row in compared.lost if row.state == EntryState.LIVE)
    created = {row.key: row.created_at for row in rows} if compared.orphans else {}
    for file in compared.orphans:
        key = key_of(file.path)
        # A file whose key has another row by now was replaced; until the grace after that, a reader may still open it.
        superseded = key in created
        if key in working or not is_older(file, policy.grace, file_now_ns):
            continue
        if superseded and now - created[key] <= policy.grace:
            continue
        plan.leftovers.append(Leftover(file, Why.SUPERSEDED if superseded else Why.NO_ROW))
    return plan


def is_older(file: FoundFile, age: timedelta, file_now_ns: int) -> bool:
    """Return whether a file was last changed longer than ``age`` ago by the clock of its own store."""
    return file_now_ns - file.modified_ns > age // timedelta(microseconds=1) * 1000
