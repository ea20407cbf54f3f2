"""Decides, for one shard at a time, what garbage collection does with rows and files; touches nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from fstore.model import EntryState, ReapableEntry, ShardRow
from fstore.settings.rules import shortest_grace
from fstore.storage.layout import FoundFile, key_of
from fstore.upkeep.gc_policy import RECENT_USE, Candidate, Eviction, EvictionPolicy
from fstore.upkeep.integrity import Comparison


class Why(StrEnum):
    """Why a file without a row goes."""

    NO_ROW = "no row"
    SUPERSEDED = "superseded"
    UNFINISHED = "unfinished"
    STAGED = "staged, no longer needed"
    QUARANTINED = "quarantined long ago"


@dataclass(frozen=True, slots=True)
class GarbageRules:
    """What a run of garbage collection keeps, and for how long it only hides."""

    retention: timedelta
    grace: timedelta
    max_bytes: int | None = None
    quarantine_kept: timedelta = timedelta(days=7)

    def eviction(self) -> EvictionPolicy:
        """Return the policy for live entries; a grace below an hour, which only tests may set, shortens the guards too."""
        guard = min(RECENT_USE, self.grace)
        return EvictionPolicy(
            max_age=self.retention,
            min_age=guard,
            recently_used=guard,
            high_watermark_bytes=self.max_bytes,
            low_watermark_bytes=0 if self.max_bytes is None else self.max_bytes * 9 // 10,
        )


@dataclass(frozen=True, slots=True)
class Stray:
    """A file to remove that no row names."""

    file: FoundFile
    why: Why


@dataclass(slots=True)
class Totals:
    """What was looked at and found, whether or not the plan has room for all of it."""

    rows: int = 0
    live_entries: int = 0
    live_bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    strays: int = 0
    stray_bytes: int = 0
    unexplained: int = 0
    lost: int = 0
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class Shard:
    """What is to be done in one shard; ``candidates`` are the live entries that the eviction policy may choose."""

    candidates: list[Candidate] = field(default_factory=list)
    revive: list[str] = field(default_factory=list)
    reap: list[ReapableEntry] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    lost: list[ShardRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GarbagePlan:
    """Everything a run is going to do, in the order it does it; a dry run prints this very plan."""

    made_at: datetime
    revive: tuple[str, ...]
    reap: tuple[ReapableEntry, ...]
    evictions: tuple[Eviction, ...]
    lost: tuple[ShardRow, ...]
    strays: tuple[Stray, ...]
    totals: Totals
    postponed: str | None = None


def judge_shard(
    rows: Sequence[ShardRow],
    compared: Comparison[ShardRow],
    working: Collection[str],
    rules: GarbageRules,
    *,
    now: datetime,
    file_now_ns: int,
    totals: Totals,
) -> Shard:
    """Decide about one shard and add it to ``totals``.

    ``compared`` are its rows against its files, ``working`` the keys, among those
    of files without a row, that a job may still publish. ``now`` is the database's
    time, ``file_now_ns`` the file system's: ages never mix clocks.
    """
    shard = Shard()
    unused_since = now - rules.retention
    is_over_budget_possible = rules.max_bytes is not None
    live_entries = live_bytes = 0
    for row in rows:
        if row.state == EntryState.LIVE:
            live_entries += 1
            live_bytes += row.size_bytes
            if is_over_budget_possible or row.last_used_at < unused_since:
                shard.candidates.append(Candidate(row.key, row.path, row.size_bytes, row.created_at, row.last_used_at))
        elif row.condemned_at is not None:
            if row.state == EntryState.CONDEMNED and row.last_used_at > row.condemned_at:
                shard.revive.append(row.key)
            elif now - row.condemned_at > rules.grace:
                shard.reap.append(ReapableEntry(row.key, row.path, row.size_bytes))
    totals.live_entries += live_entries
    totals.live_bytes += live_bytes
    totals.rows += compared.rows
    totals.files += compared.files
    shard.lost.extend(row for row in compared.lost if row.state == EntryState.LIVE)
    created = {row.key: row.created_at for row in rows} if compared.orphans else {}
    for file in compared.orphans:
        key = key_of(file.path)
        # A file whose key has another row by now was replaced; until the grace after that, a reader may still open it.
        superseded = key in created
        if key in working or not is_older(file, rules.grace, file_now_ns):
            continue
        if superseded and now - created[key] <= rules.grace:
            continue
        shard.strays.append(Stray(file, Why.SUPERSEDED if superseded else Why.NO_ROW))
    return shard


def is_older(file: FoundFile, age: timedelta, file_now_ns: int) -> bool:
    """Return whether a file was last changed longer than ``age`` ago by the clock of its own file system."""
    return file_now_ns - file.modified_ns > age // timedelta(microseconds=1) * 1000


def grace_fault(grace: timedelta, *, compute_limit: timedelta) -> str | None:
    """Return why a grace is too short for writers and readers that are at work, or None."""
    least = shortest_grace(compute_limit)
    if grace >= least:
        return None
    return f"a grace of {grace} is shorter than {least} (one hour, and twice the compute limit of {compute_limit})"
