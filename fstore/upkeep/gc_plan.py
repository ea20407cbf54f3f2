"""Looks at every row and every file of a store, one shard at a time, and turns that into a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from fstore.errors import BrokerUnavailable
from fstore.model import EntryState, ReapableEntry, ShardRow
from fstore.postgres.upkeep_queries import UpkeepQueries
from fstore.resources import Resources
from fstore.storage.layout import FoundFile, key_of
from fstore.storage.listing import SHARDS, Inventory, Listing
from fstore.upkeep.gc_policy import Candidate, plan_eviction
from fstore.upkeep.gc_shard import GarbagePlan, GarbageRules, Stray, Totals, Why, is_older, judge_shard
from fstore.upkeep.integrity import compare

AT_MOST = 50_000  # of each kind in one run: bounds the memory of a plan; the next run takes the rest

T = TypeVar("T")
Progress = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """Show nobody how far a run is."""


def make_plan(resources: Resources, rules: GarbageRules, *, progress: Progress = silent) -> GarbagePlan:
    """Decide what goes and why; changes nothing but for a probe file that is gone again.

    Memory holds one shard and the plan. The plan is right for the moment it was
    made; whoever carries it out checks each step once more.
    """
    postponed = usage_fault(resources, rules)
    survey = _Survey(Inventory(resources.files.root), resources.upkeep, rules, resources.runs.now())
    live_bytes = resources.manifest.count_by_state().get(EntryState.LIVE, (0, 0))[1]
    evictions = plan_eviction(survey.shards(progress), rules.eviction(), now=survey.now, total_bytes=live_bytes)
    survey.look_at_staging()
    return GarbagePlan(
        made_at=survey.now,
        revive=tuple(survey.revive),
        reap=tuple(survey.reap),
        evictions=() if postponed else evictions[:AT_MOST],
        lost=tuple(survey.lost),
        strays=tuple(survey.strays),
        totals=survey.totals,
        postponed=postponed,
    )


def usage_fault(resources: Resources, rules: GarbageRules) -> str | None:
    """Return why nothing may be condemned by last use now, or None.

    Redis holds the notes of the last minute. When it lost them, an entry that
    looks unused may have been used just then, so nothing is condemned until that
    moment is further away than the use that protects.
    """
    needed_s = rules.eviction().recently_used.total_seconds()
    try:
        known_s = resources.usage_buffer.known_for(resources.runs.now().timestamp())
    except BrokerUnavailable as error:
        return f"nothing is condemned while the notes of usage cannot be read: {error}"
    if known_s >= needed_s:
        return None
    return f"nothing is condemned yet: usage is known for {known_s:.0f} s only, {needed_s:.0f} s are needed (Redis is new or was emptied)"


class _Survey:
    """What was found so far."""

    def __init__(self, inventory: Inventory, queries: UpkeepQueries, rules: GarbageRules, now: datetime) -> None:
        self.inventory, self.queries, self.rules, self.now = inventory, queries, rules, now
        self.file_now_ns = inventory.now_ns()
        self.totals = Totals()
        self.revive: list[str] = []
        self.reap: list[ReapableEntry] = []
        self.strays: list[Stray] = []
        self.lost: list[ShardRow] = []

    def shards(self, progress: Progress) -> Iterator[Candidate]:
        """Look at one shard after the other, and give the live entries that may go on to the eviction policy."""
        for done, (listing, rows) in enumerate(self._look()):
            progress("looking", done, len(SHARDS))
            compared = compare(rows, listing.files)
            stale = [key_of(file.path) for file in compared.orphans if self._is_stale(file)]
            shard = judge_shard(
                rows,
                compared,
                self.queries.working_keys(stale) if stale else (),
                self.rules,
                now=self.now,
                file_now_ns=self.file_now_ns,
                totals=self.totals,
            )
            self.totals.file_bytes += sum(file.size_bytes for file in listing.files)
            self.totals.foreign += listing.foreign
            lost = [row for row in shard.lost if not self.inventory.exists(row.path)]
            self.totals.lost += len(lost)
            _keep(self.lost, lost)
            _keep(self.revive, shard.revive)
            _keep(self.reap, shard.reap)
            self._take(shard.strays)
            self._take(Stray(file, Why.UNFINISHED) for file in listing.temporary if self._is_stale(file))
            yield from shard.candidates
        progress("looking", len(SHARDS), len(SHARDS))

    def _look(self) -> Iterator[tuple[Listing, list[ShardRow]]]:
        """Give each shard's files and rows; while Postgres answers for one shard, the next one is listed.

        Rows are asked for after the files of their shard were listed: a row inserted
        in between explains its file, the other way round it would not.
        """
        with self.queries.shard_reader() as ask:
            listing = self.inventory.shard(SHARDS[0])
            answer = ask(SHARDS[0])
            for name in SHARDS[1:]:
                following = self.inventory.shard(name)
                rows = answer()
                answer = ask(name)
                yield listing, rows
                listing = following
            yield listing, answer()

    def look_at_staging(self) -> None:
        """Find staged and unfinished files that no job needs, and what lay in quarantine for long enough."""
        for listing in self.inventory.staged():
            self._take(Stray(file, Why.UNFINISHED) for file in listing.temporary if self._is_stale(file))
            stale = [file for file in listing.files if self._is_stale(file)]
            if stale:
                self._take(Stray(file, Why.STAGED) for file in unneeded(stale, self.queries))
        kept = self.rules.quarantine_kept
        for file in self.inventory.quarantined().files:
            if is_older(file, kept, self.file_now_ns):
                self._take([Stray(file, Why.QUARANTINED)])

    def _is_stale(self, file: FoundFile) -> bool:
        return is_older(file, self.rules.grace, self.file_now_ns)

    def _take(self, strays: Iterable[Stray]) -> None:
        found = list(strays)
        self.totals.strays += len(found)
        self.totals.stray_bytes += sum(stray.file.size_bytes for stray in found)
        self.totals.unexplained += sum(stray.why is Why.NO_ROW for stray in found)
        _keep(self.strays, found)


def unneeded(staged: list[FoundFile], queries: UpkeepQueries) -> list[FoundFile]:
    """Return those of some staged files that no queued or running job reads or may still publish."""
    read = queries.working_paths()
    working = queries.working_keys([key_of(file.path) for file in staged])
    return [file for file in staged if file.path not in read and key_of(file.path) not in working]


def _keep(kept: list[T], found: list[T]) -> None:
    kept += found[: AT_MOST - len(kept)]
