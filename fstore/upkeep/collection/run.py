"""Garbage collection: make a plan, then do exactly that.

In small steps, each of which may be the last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from fstore.errors import StorageUnavailable
from fstore.model import EntryState, ReapableEntry, ShardRow
from fstore.postgres import UpkeepQueries
from fstore.resources import Resources
from fstore.runtime.counters import Recorder
from fstore.runtime.parallel import each_of
from fstore.storage import EntryStore, FoundFile, StagingArea, is_pack, key_of, packed_at
from fstore.upkeep.collection.packs import unheld_packs
from fstore.upkeep.collection.plan import make_plan, unneeded
from fstore.upkeep.collection.policy import Candidate, Eviction, GarbagePolicy
from fstore.upkeep.collection.report import GarbageReport, PhaseReport
from fstore.upkeep.collection.shard import GarbagePlan, Leftover, Why
from fstore.upkeep.runner import Progress, RunLock, Skipped, run_alone, silent
from fstore.upkeep.safety import refuse_other_store, refuse_short_grace, refuse_strange_clock, refuse_suspicious_plan
from fstore.upkeep.usage import UsageFlush

log = logging.getLogger("fstore.collect")

REAP_BATCH = 50  # as many files a killed run may leave without a row: half of what begins to look wrong
BATCH = 200
_WITHOUT_ROW = (Why.NO_ROW, Why.SUPERSEDED)
MOST_FAULTS = 20  # told one by one; the rest is only counted

T = TypeVar("T")


def run_collection(
    resources: Resources,
    policy: GarbagePolicy | None = None,
    *,
    dry_run: bool = False,
    force: bool = False,
    unless_within_s: float = 0,
    progress: Progress = silent,
) -> GarbageReport | Skipped:
    """Give up what the policy no longer keeps: hide it now, delete it after the grace period.

    In this order: delete what was condemned longer than the grace ago (row, commit,
    file), condemn what is unused or over budget, hide entries whose files are gone,
    remove files that nobody needs, vacuum. A run that is killed anywhere leaves
    nothing that the next one does not clean.

    With ``dry_run`` nothing is changed, the report carries the plan that a run now
    would carry out. Raises ``StoreMismatch`` for another store's folder and
    ``UpkeepRefused`` when the plan looks wrong or the grace is too short, unless
    ``force``.
    """
    kept = policy or GarbagePolicy.from_settings(resources.settings)
    refuse_other_store(resources.manifest, resources.entries)
    refuse_short_grace(kept, resources.settings, force=force)
    entries, staging, recorder = resources.entries, resources.staging, resources.recorder
    queries, usage = resources.upkeep, UsageFlush.of(resources)

    def work(lock: RunLock) -> GarbageReport:
        report = GarbageReport(dry_run=dry_run, forced=force, run_id=lock.run_id, started_at=lock.started_at)
        with report.timed("plan"):
            stale = usage.bring_up_to_date()
            live_bytes = resources.manifest.count_by_state().get(EntryState.LIVE, (0, 0))[1]
            plan = make_plan(
                entries,
                staging,
                queries,
                kept,
                now=resources.runs.now(),
                live_bytes=live_bytes,
                postponed=stale or usage.why_unknown(kept.guard),
                progress=progress,
            )
            report.plan = plan
            for fault in plan.faults:
                _tell(report, report.phases["plan"], fault)
        refuse_suspicious_plan(plan, force=force)
        refuse_strange_clock(plan, entries, resources.runs.now, kept.grace, force=force)
        if not dry_run:
            _Collector(entries, staging, queries, usage, recorder, kept, report, lock, progress).carry_out(plan)
            recorder.count("gc_runs")
            recorder.count("files_cleaned", report.files_deleted)
            recorder.count("bytes_freed", report.bytes_freed)
        return report

    return run_alone(resources.runs, "gc", work, unless_within_s=unless_within_s)


class _Collector:
    """Carries out one plan."""

    def __init__(
        self,
        entries: EntryStore,
        staging: StagingArea,
        queries: UpkeepQueries,
        usage: UsageFlush,
        recorder: Recorder,
        policy: GarbagePolicy,
        report: GarbageReport,
        lock: RunLock,
        progress: Progress,
    ) -> None:
        self._entries, self._staging, self._queries = entries, staging, queries
        self._usage, self._recorder, self._policy = usage, recorder, policy
        self._report, self._lock, self._progress = report, lock, progress
        self._pack_sizes: Mapping[str, int] = {}

    def carry_out(self, plan: GarbagePlan) -> None:
        self._pack_sizes = plan.pack_sizes
        with self._report.timed("revive") as phase:
            for keys in self._batches("reviving", plan.revive, BATCH):
                phase.count += len(self._queries.revive_used(keys))
        with self._report.timed("reap") as phase:
            for doomed in self._batches("deleting", plan.reap, REAP_BATCH):
                self._reap(doomed, phase)
        with self._report.timed("condemn") as phase:
            for evictions in self._batches("hiding", plan.evictions, BATCH):
                self._condemn(evictions, phase)
        if not self._policy.grace:  # somebody asked for space now and forced it: see the runbook on full disks
            with self._report.timed("reap") as phase:
                for evictions in self._batches("deleting", plan.evictions, REAP_BATCH):
                    self._reap([e.candidate for e in evictions], phase)
        with self._report.timed("lost") as phase:
            for lost in self._batches("hiding lost entries", plan.lost, BATCH):
                self._hide_lost(lost, phase)
        with self._report.timed("strays") as phase:
            for leftovers in self._batches("removing strays", plan.leftovers, BATCH):
                self._remove(leftovers, phase)
        with self._report.timed("vacuum"):
            self._usage.forget(older_than=max(self._policy.retention, self._policy.grace))
            self._queries.forget_sources()
            self._queries.forget_segments()
            self._report.vacuum = self._queries.vacuum()

    def _batches(self, what: str, items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
        for start in range(0, len(items), size):
            self._progress(what, start, len(items))
            self._lock.check()
            yield items[start : start + size]

    def _reap(self, doomed: Sequence[ReapableEntry | Candidate], phase: PhaseReport) -> None:
        gone = self._queries.reap([d.key for d in doomed], grace=self._policy.grace)
        self._delete([one for one in gone if packed_at(one.path) is None], phase)
        packs = {packed.path for one in gone if (packed := packed_at(one.path)) is not None}
        files = [FoundFile(path, self._pack_sizes.get(path, 0), 0) for path in sorted(packs)]
        self._delete(self._unheld(files, phase), phase)

    def _condemn(self, evictions: Sequence[Eviction], phase: PhaseReport) -> None:
        # What was used since the plan was made stays; if Redis went away or was emptied meanwhile, so does everything.
        fault = self._usage.bring_up_to_date() or self._usage.why_unknown(self._policy.guard)
        if fault:
            self._tell(phase, fault)
            return
        chosen = [e.candidate for e in evictions]
        hidden = self._queries.condemn_unused([(c.key, c.path, c.last_used_at) for c in chosen])
        phase.count += len(hidden)
        phase.bytes += sum(c.size_bytes for c in chosen if c.key in hidden)

    def _hide_lost(self, lost: Sequence[ShardRow], phase: PhaseReport) -> None:
        still = [row for row in lost if not self._entries.exists(row.path)]
        hidden = self._queries.quarantine_lost([(row.key, row.path) for row in still])
        for row in still:
            if row.key in hidden:
                log.warning("file lost: key=%s path=%s", row.key[:12], row.path)
                phase.count += 1
                phase.bytes += row.size_bytes
        self._recorder.count("corrupt_detected", len(hidden))

    def _remove(self, leftovers: Sequence[Leftover], phase: PhaseReport) -> None:
        self._delete(self._still_unneeded(leftovers, phase), phase)

    def _unheld(self, packs: Sequence[FoundFile], phase: PhaseReport) -> list[Leftover]:
        return unheld_packs(packs, self._entries, self._queries, self._policy, lambda fault: self._tell(phase, fault))

    def _still_unneeded(self, leftovers: Sequence[Leftover], phase: PhaseReport) -> list[Leftover]:
        """Ask again, just before they go, whether anybody came to need these files."""
        packs = self._unheld([s.file for s in leftovers if s.why in _WITHOUT_ROW and is_pack(s.file.path)], phase)
        published = [s for s in leftovers if s.why in _WITHOUT_ROW and not is_pack(s.file.path)]
        keys = [key_of(s.file.path) for s in published]
        named = set(self._queries.paths_of(keys).values()) if keys else set()
        working = self._queries.working_keys(keys) if keys else set()
        staged = [s.file for s in leftovers if s.why is Why.STAGED]
        free = {file.path for file in unneeded(staged, self._queries)} if staged else set()
        return packs + [
            s
            for s in leftovers
            if s.why in (Why.UNFINISHED, Why.QUARANTINED)
            or (s.why is Why.STAGED and s.file.path in free)
            or (s in published and s.file.path not in named and key_of(s.file.path) not in working)
        ]

    def _delete(self, gone: Sequence[Leftover | ReapableEntry], phase: PhaseReport) -> None:
        at_once = self._entries.capabilities.deletions_at_once
        for one, outcome in zip(gone, each_of(self._try_to_delete, gone, at_once=at_once), strict=True):
            if isinstance(outcome, StorageUnavailable):
                self._tell(phase, str(outcome))
            elif outcome:
                phase.count += 1
                phase.bytes += (one.file if isinstance(one, Leftover) else one).size_bytes

    def _try_to_delete(self, gone: Leftover | ReapableEntry) -> bool | StorageUnavailable:
        try:
            return self._is_deleted(gone)
        except StorageUnavailable as error:
            return error

    def _is_deleted(self, gone: Leftover | ReapableEntry) -> bool:
        if isinstance(gone, ReapableEntry):
            return self._entries.delete(gone.path)
        if gone.is_staged:
            return self._staging.drop_unless_reserved(gone.file)
        if gone.why is Why.UNFINISHED:
            return self._entries.drop_unfinished(gone.file)
        return self._entries.delete(gone.file.path)

    def _tell(self, phase: PhaseReport, fault: str) -> None:
        _tell(self._report, phase, fault)


def _tell(report: GarbageReport, phase: PhaseReport, fault: str) -> None:
    phase.failed += 1
    if len(report.faults) < MOST_FAULTS:
        report.faults.append(fault)
    log.warning("garbage collection: %s", fault)
