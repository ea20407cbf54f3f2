"""Looks at every row and every file of a store, one shard at a time, and turns that into a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from fstore.model import ReapableEntry, ShardRow
from fstore.postgres import UpkeepQueries
from fstore.storage import SHARDS_IN_TURN, EntryStore, FoundFile, Listing, StagingArea, key_of, packed_at
from fstore.upkeep.collection.packs import Packs, unheld_packs
from fstore.upkeep.collection.policy import Candidate, Eviction, GarbagePolicy, plan_eviction, plan_superseded
from fstore.upkeep.collection.shard import GarbagePlan, Leftover, Totals, Why, compare, is_older, judge_shard
from fstore.upkeep.runner import Progress, silent

AT_MOST = 50_000  # of each kind in one run: bounds the memory of a plan; the next run takes the rest
PACKS_AT_ONCE = 200  # whose rows are asked for together

T = TypeVar("T")


def make_plan(
    entries: EntryStore,
    staging: StagingArea,
    queries: UpkeepQueries,
    policy: GarbagePolicy,
    *,
    now: datetime,
    live_bytes: int,
    postponed: str | None = None,
    progress: Progress = silent,
) -> GarbagePlan:
    """Decide what goes and why; changes nothing but for a probe that is gone again.

    Memory holds one shard and the plan. The plan is right for the moment it was
    made; whoever carries it out checks each step once more. ``postponed`` says why
    nothing may be condemned now, if so.
    """
    survey = _Survey(entries, staging, queries, policy, now)
    survey.look_at_packs()
    at_most = live_bytes + survey.totals.pack_bytes  # dead bytes of packs count as well
    chosen = plan_eviction(survey.shards(progress), policy, now=survey.now, total_bytes=at_most)
    evictions = survey.entries_of(chosen)
    superseded = [Candidate(*each) for each in queries.superseded(limit=AT_MOST)]
    evictions += plan_superseded(superseded, evictions, policy, now=survey.now)
    survey.judge_packs()
    survey.look_at_staging()
    survey.look_at_quarantine()
    return GarbagePlan(
        made_at=survey.now,
        revive=tuple(survey.revive),
        reap=tuple(survey.reap),
        evictions=() if postponed else evictions[:AT_MOST],
        lost=tuple(survey.lost),
        leftovers=tuple(survey.leftovers),
        totals=survey.totals,
        postponed=postponed,
        file_now_ns=survey.file_now_ns,
        faults=tuple(survey.faults),
        pack_sizes=survey.packs.sizes(),
    )


class _Survey:
    """What was found so far."""

    def __init__(
        self, entries: EntryStore, staging: StagingArea, queries: UpkeepQueries, policy: GarbagePolicy, now: datetime
    ) -> None:
        self.entries, self.staging, self.queries, self.policy, self.now = entries, staging, queries, policy, now
        self.file_now_ns = entries.now_ns()
        self.totals = Totals()
        self.revive: list[str] = []
        self.reap: list[ReapableEntry] = []
        self.leftovers: list[Leftover] = []
        self.lost: list[ShardRow] = []
        self.packs = Packs()
        self.faults: list[str] = []

    def look_at_packs(self) -> None:
        """List what holds several entries, before any row is read."""
        for listing in self.entries.list_packs():
            self.packs.add(listing.files)
            self.totals.foreign += listing.foreign
            self._take(Leftover(file, Why.UNFINISHED) for file in listing.temporary if self._is_stale(file))
        sizes = self.packs.sizes()
        self.totals.packs, self.totals.pack_bytes = len(sizes), sum(sizes.values())
        self.totals.files += self.totals.packs
        self.totals.file_bytes += self.totals.pack_bytes

    def judge_packs(self) -> None:
        """Find packs that no row names, and count what is dead in the others; after all rows were read."""
        unnamed = [file for file in self.packs.unnamed() if self._is_stale(file)]
        self._take(
            unheld_packs(unnamed, self.entries, self.queries, self.policy, lambda fault: _keep(self.faults, [fault]))
        )
        self.totals.dead_pack_bytes = self.packs.dead_bytes()

    def shards(self, progress: Progress) -> Iterator[Candidate]:
        """Look at one shard after the other, and give the live entries that may go on to the eviction policy."""
        for done, (listing, rows) in enumerate(self._look()):
            progress("looking", done, len(SHARDS_IN_TURN))
            single, unlisted = self.packs.note(rows)
            self.totals.rows += len(rows) - len(single)
            compared = compare(single, listing.files)
            stale = [key_of(file.path) for file in compared.orphans if self._is_stale(file)]
            shard = judge_shard(
                rows,
                compared,
                self.queries.working_keys(stale) if stale else (),
                self.policy,
                now=self.now,
                file_now_ns=self.file_now_ns,
                totals=self.totals,
            )
            self.totals.file_bytes += sum(file.size_bytes for file in listing.files)
            self.totals.foreign += listing.foreign
            lost = [row for row in (*shard.lost, *unlisted) if not self.entries.exists(row.path)]
            self.totals.lost += len(lost)
            _keep(self.lost, lost)
            _keep(self.revive, shard.revive)
            _keep(self.reap, shard.reap)
            self._take(shard.leftovers)
            self._take(Leftover(file, Why.UNFINISHED) for file in listing.temporary if self._is_stale(file))
            yield from (each for each in shard.candidates if packed_at(each.path) is None)
        yield from self.packs.candidates()
        progress("looking", len(SHARDS_IN_TURN), len(SHARDS_IN_TURN))

    def entries_of(self, chosen: Sequence[Eviction]) -> tuple[Eviction, ...]:
        """Return the entries of what was chosen, no more than a run hides.

        Of a pack all that answer, in its place.
        """
        found: list[Eviction] = []
        for start in range(0, len(chosen), PACKS_AT_ONCE):
            if len(found) >= AT_MOST:
                break
            some = chosen[start : start + PACKS_AT_ONCE]
            inside = self.packs.inside([each.candidate.path for each in some], self.queries)
            for each in some:
                path = each.candidate.path
                entries = inside.get(path, []) if path in self.packs else [each.candidate]
                found += [Eviction(candidate, each.reason) for candidate in entries]
        return tuple(found)

    def _look(self) -> Iterator[tuple[Listing, list[ShardRow]]]:
        """Give each shard's files and rows; while Postgres answers for one shard, the next one is listed.

        Rows are asked for after the files of their shard were listed: a row inserted
        in between explains its file, the other way round it would not.
        """
        listings = self.entries.list_shards(SHARDS_IN_TURN)
        with self.queries.shard_reader() as ask:
            listing = next(listings)
            answer = ask(SHARDS_IN_TURN[0])
            for name, following in zip(SHARDS_IN_TURN[1:], listings, strict=True):
                rows = answer()
                answer = ask(name)
                yield listing, rows
                listing = following
            yield listing, answer()

    def look_at_staging(self) -> None:
        """Find staged and unfinished files that no job needs."""
        for listing in self.staging.list_staged():
            unfinished = (file for file in listing.temporary if self._is_stale(file))
            self._take(Leftover(file, Why.UNFINISHED, is_staged=True) for file in unfinished)
            stale = [file for file in listing.files if self._is_stale(file)]
            if stale:
                self._take(Leftover(file, Why.STAGED, is_staged=True) for file in unneeded(stale, self.queries))

    def look_at_quarantine(self) -> None:
        """Find what lay in quarantine for long enough."""
        for file in self.entries.list_quarantine().files:
            if is_older(file, self.policy.quarantine_kept, self.file_now_ns):
                self._take([Leftover(file, Why.QUARANTINED)])

    def _is_stale(self, file: FoundFile) -> bool:
        return is_older(file, self.policy.grace, self.file_now_ns)

    def _take(self, leftovers: Iterable[Leftover]) -> None:
        found = list(leftovers)
        self.totals.strays += len(found)
        self.totals.stray_bytes += sum(leftover.file.size_bytes for leftover in found)
        self.totals.unexplained += sum(leftover.why is Why.NO_ROW for leftover in found)
        _keep(self.leftovers, found)


def unneeded(staged: list[FoundFile], queries: UpkeepQueries) -> list[FoundFile]:
    """Return those of some staged files that no queued or running job reads or may still publish."""
    read = queries.working_paths()
    working = queries.working_keys([key_of(file.path) for file in staged])
    return [file for file in staged if file.path not in read and key_of(file.path) not in working]


def _keep(kept: list[T], found: list[T]) -> None:
    kept += found[: AT_MOST - len(kept)]
