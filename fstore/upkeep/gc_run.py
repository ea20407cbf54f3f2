"""Garbage collection: make a plan, then do exactly that in small steps, each of which may be the last."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from fstore.errors import BrokerUnavailable, StorageUnavailable, UpkeepRefused
from fstore.model import ReapableEntry, ShardRow
from fstore.resources import Resources
from fstore.settings.schema import Settings
from fstore.storage.layout import FoundFile, key_of
from fstore.storage.listing import Inventory
from fstore.upkeep.gc_plan import Progress, make_plan, silent, unneeded, usage_fault
from fstore.upkeep.gc_policy import Candidate, Eviction
from fstore.upkeep.gc_report import GarbageReport, Phase
from fstore.upkeep.gc_shard import GarbagePlan, GarbageRules, Stray, Why, grace_fault
from fstore.upkeep.integrity import looks_wrong
from fstore.upkeep.reconcile import move_notes_in_turn
from fstore.upkeep.runner import Skipped, Turn, run_alone

log = logging.getLogger("fstore.collect")

REAP_BATCH = 50  # as many files a killed run may leave without a row: half of what begins to look wrong
BATCH = 200
MOST_FAULTS = 20  # told one by one; the rest is only counted

T = TypeVar("T")


def rules_of(settings: Settings, *, retention_weeks: float | None = None, max_bytes: int | None = None) -> GarbageRules:
    """Return what the settings keep, or what a caller wants instead."""
    weeks = settings.gc_retention_weeks if retention_weeks is None else retention_weeks
    return GarbageRules(
        retention=timedelta(weeks=weeks),
        grace=timedelta(hours=settings.gc_grace_hours),
        max_bytes=settings.gc_max_bytes if max_bytes is None else max_bytes,
    )


def collect_garbage(
    resources: Resources,
    rules: GarbageRules | None = None,
    *,
    dry_run: bool = False,
    force: bool = False,
    unless_within_s: float = 0,
    progress: Progress = silent,
) -> GarbageReport | Skipped:
    """Give up what the rules no longer keep: hide it now, delete it after the grace period.

    In this order: delete what was condemned longer than the grace ago (row, commit,
    file), condemn what is unused or over budget, hide entries whose files are gone,
    remove files that nobody needs, vacuum. A run that is killed anywhere leaves
    nothing that the next one does not clean.

    With ``dry_run`` nothing is changed, the report carries the plan that a run now
    would carry out. Raises ``StoreMismatch`` for another store's folder and
    ``UpkeepRefused`` when the plan looks wrong or the grace is too short, unless
    ``force``.
    """
    chosen = rules or rules_of(resources.settings)
    refuse_unless_safe(resources, chosen, force=force)

    def work(turn: Turn) -> GarbageReport:
        report = GarbageReport(dry_run=dry_run, forced=force, run_id=turn.run_id, started_at=turn.started_at)
        with report.timed("plan"):
            fault = _note_usage(resources)
            plan = make_plan(resources, chosen, progress=progress)
            report.plan = plan = replace(plan, evictions=(), postponed=fault) if fault else plan
        refuse_if_suspicious(plan, force=force)
        if not dry_run:
            _Collector(resources, chosen, report, turn, progress).carry_out(plan)
            resources.recorder.count("gc_runs")
            resources.recorder.count("files_cleaned", report.files_deleted)
            resources.recorder.count("bytes_freed", report.bytes_freed)
        return report

    return run_alone(resources, "gc", work, unless_within_s=unless_within_s)


def refuse_unless_safe(resources: Resources, rules: GarbageRules, *, force: bool) -> None:
    """Raise ``StoreMismatch`` for another store's folder, ``UpkeepRefused`` for a grace that may hurt whoever is at work."""
    store_id, _ = resources.manifest.store_identity()
    resources.files.check(store_id)
    fault = grace_fault(rules.grace, compute_limit=timedelta(seconds=resources.settings.compute_time_limit_s))
    if fault and not (force or resources.settings.gc_grace_unsafe):
        raise UpkeepRefused(fault, "raise FEATURE_STORE_GC_GRACE_HOURS, or use --force when nobody else uses the store")


def refuse_if_suspicious(plan: GarbagePlan, *, force: bool) -> None:
    """Raise ``UpkeepRefused`` when so much looks orphaned or lost that folder and database hardly belong together."""
    found = plan.totals
    reason = looks_wrong(
        orphans=found.unexplained, lost=found.lost, total_rows=found.live_entries, total_files=found.files
    )
    if reason and not force:
        raise UpkeepRefused(
            reason, "nothing was changed; check both settings, then see 'fstore gc --dry-run --force --verbose'"
        )


def _note_usage(resources: Resources) -> str | None:
    """Bring the use of entries up to date; return why that failed, and nothing may be condemned."""
    try:
        return None if move_notes_in_turn(resources) else "nothing is condemned: another flush of usage does not end"
    except BrokerUnavailable as error:
        return f"nothing is condemned while the notes of usage cannot be read: {error}"


class _Collector:
    """Carries out one plan."""

    def __init__(
        self, resources: Resources, rules: GarbageRules, report: GarbageReport, turn: Turn, progress: Progress
    ) -> None:
        self._resources, self._rules, self._report, self._turn = resources, rules, report, turn
        self._progress = progress
        self._queries = resources.upkeep
        self._inventory = Inventory(resources.files.root)

    def carry_out(self, plan: GarbagePlan) -> None:
        with self._report.timed("revive") as phase:
            for keys in self._batches("reviving", plan.revive, BATCH):
                phase.count += len(self._queries.revive_used(keys))
        with self._report.timed("reap") as phase:
            for doomed in self._batches("deleting", plan.reap, REAP_BATCH):
                self._reap(doomed, phase)
        with self._report.timed("condemn") as phase:
            for evictions in self._batches("hiding", plan.evictions, BATCH):
                self._condemn(evictions, phase)
        if not self._rules.grace:  # somebody asked for space now and forced it: see the runbook on full disks
            with self._report.timed("reap") as phase:
                for evictions in self._batches("deleting", plan.evictions, REAP_BATCH):
                    self._reap([e.candidate for e in evictions], phase)
        with self._report.timed("lost") as phase:
            for lost in self._batches("hiding lost entries", plan.lost, BATCH):
                self._hide_lost(lost, phase)
        with self._report.timed("strays") as phase:
            for strays in self._batches("removing strays", plan.strays, BATCH):
                self._remove(strays, phase)
        with self._report.timed("vacuum"):
            self._resources.usage.forget(older_than=max(self._rules.retention, self._rules.grace))
            self._queries.forget_sources()
            self._report.vacuum = self._queries.vacuum()

    def _batches(self, what: str, items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
        for start in range(0, len(items), size):
            self._progress(what, start, len(items))
            self._turn.check()
            yield items[start : start + size]

    def _reap(self, doomed: Sequence[ReapableEntry | Candidate], phase: Phase) -> None:
        for gone in self._queries.reap([d.key for d in doomed], grace=self._rules.grace):
            self._unlink(gone, phase)

    def _condemn(self, evictions: Sequence[Eviction], phase: Phase) -> None:
        # What was used since the plan was made stays; if Redis went away or was emptied meanwhile, so does everything.
        fault = _note_usage(self._resources) or usage_fault(self._resources, self._rules)
        if fault:
            self._tell(phase, fault)
            return
        chosen = [e.candidate for e in evictions]
        hidden = self._queries.condemn_unused([(c.key, c.path, c.last_used_at) for c in chosen])
        phase.count += len(hidden)
        phase.bytes += sum(c.size_bytes for c in chosen if c.key in hidden)

    def _hide_lost(self, lost: Sequence[ShardRow], phase: Phase) -> None:
        still = [row for row in lost if not self._inventory.exists(row.path)]
        hidden = self._queries.quarantine_lost([(row.key, row.path) for row in still])
        for row in still:
            if row.key in hidden:
                log.warning("file lost: key=%s path=%s", row.key[:12], row.path)
                phase.count += 1
                phase.bytes += row.size_bytes
        self._resources.recorder.count("corrupt_detected", len(hidden))

    def _remove(self, strays: Sequence[Stray], phase: Phase) -> None:
        for stray in self._still_strays(strays):
            self._unlink(stray.file, phase, touchable=stray.why in (Why.UNFINISHED, Why.STAGED))

    def _still_strays(self, strays: Sequence[Stray]) -> list[Stray]:
        """Ask again, just before they go, whether anybody came to need these files."""
        published = [s for s in strays if s.why in (Why.NO_ROW, Why.SUPERSEDED)]
        keys = [key_of(s.file.path) for s in published]
        named = set(self._queries.paths_of(keys).values()) if keys else set()
        working = self._queries.working_keys(keys) if keys else set()
        staged = [s.file for s in strays if s.why is Why.STAGED]
        free = {file.path for file in unneeded(staged, self._queries)} if staged else set()
        return [
            s
            for s in strays
            if s.why in (Why.UNFINISHED, Why.QUARANTINED)
            or (s.why is Why.STAGED and s.file.path in free)
            or (s in published and s.file.path not in named and key_of(s.file.path) not in working)
        ]

    def _unlink(self, file: FoundFile | ReapableEntry, phase: Phase, *, touchable: bool = False) -> None:
        try:
            if isinstance(file, FoundFile) and touchable:
                gone = self._inventory.remove_unless_touched(file)
            else:
                gone = self._inventory.remove(file.path)
        except StorageUnavailable as error:
            self._tell(phase, str(error))
            return
        if gone:
            phase.count += 1
            phase.bytes += file.size_bytes

    def _tell(self, phase: Phase, fault: str) -> None:
        phase.failed += 1
        if len(self._report.faults) < MOST_FAULTS:
            self._report.faults.append(fault)
        log.warning("garbage collection: %s", fault)
