"""Integrity sweeps: re-read what was longest not verified.

What is wrong is hidden, and computed again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fstore.entries import quarantine_entry
from fstore.errors import StorageUnavailable
from fstore.model import EntryState, Locator
from fstore.postgres import Manifest, UpkeepQueries
from fstore.resources import Resources
from fstore.runtime.counters import Recorder
from fstore.storage import EntryStore, Fault, FaultKind, Pace
from fstore.upkeep.recompute import Recomputer, SourceIssue, check_sources
from fstore.upkeep.runner import Progress, RunLock, Skipped, run_alone, run_beside, silent
from fstore.upkeep.safety import refuse_many_missing, refuse_other_store

log = logging.getLogger("fstore.sweep")

PAGE = 200
MOST_UNREAD = 20  # files of one run that cannot be read though the store is there: beyond that the store is at fault
BYTES_PER_S = 64_000_000.0  # a scheduled sweep leaves most of a disk to those who wait for it


@dataclass(slots=True)
class IntegrityReport:
    """What a sweep read and found.

    ``complete`` means that it came to the end of what was live at its start. ``unread`` are entries that the store
    could not give while it gave others: what they hold nobody knows, and the run counts as one that failed.
    """

    repair: bool
    checked: int = 0
    bytes_read: int = 0
    faults: list[Fault] = field(default_factory=list)
    unread: list[tuple[Locator, str]] = field(default_factory=list)
    source_issues: list[SourceIssue] = field(default_factory=list)
    quarantined: int = 0
    recomputing: int = 0
    complete: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        issues = [{"key": f.key, "path": f.path, "kind": str(f.kind), "detail": f.detail} for f in self.faults]
        issues += [{"key": f.key, "path": f.path, "kind": "unavailable", "detail": why} for f, why in self.unread]
        failed = {}
        if self.unread:
            found, why = self.unread[0]
            told = f"not read though the store was there: {len(self.unread)} of the entries, first {found.path}: {why}"
            failed = {"error": "StorageUnavailable", "message": told}
        return {
            "kind": "sweep",
            **failed,
            "repair": self.repair,
            "integrity_ok": not issues,
            "issues": issues,
            "source_issues": [issue.as_dict() for issue in self.source_issues],
            "checked": self.checked,
            "bytes_read": self.bytes_read,
            "quarantined": self.quarantined,
            "recomputing": self.recomputing,
            "complete": self.complete,
            "seconds": round(self.seconds, 6),
        }


def run_sweep(
    resources: Resources,
    *,
    byte_budget: int | None = None,
    bytes_per_s: float | None = BYTES_PER_S,
    repair: bool = True,
    sources: bool = False,
    force: bool = False,
    unless_within_s: float = 0,
    progress: Progress = silent,
) -> IntegrityReport | Skipped:
    """Read live entries, the longest unverified first, until ``byte_budget`` is used up.

    None means all of them. With ``repair`` a wrong entry is quarantined, row first, then file, and computed again
    where its raw data are unchanged; without it faults are only reported, also while another sweep is going on.
    ``sources`` also reads the raw data that lie in files of users. Raises ``StoreMismatch`` for another store's
    folder, and ``UpkeepRefused`` when so many files are missing that the folder rather than the files is at fault,
    unless ``force``; nothing is quarantined of the page where that shows. A file that cannot be read while the
    store can (a bad sector, say) is told of and left as it is.
    """
    refuse_other_store(resources.manifest, resources.entries)
    queries, runs = resources.upkeep, resources.runs

    def work(lock: RunLock) -> IntegrityReport:
        report = IntegrityReport(repair)
        began = time.monotonic()
        sweeper = _Sweeper(
            resources.entries,
            resources.manifest,
            queries,
            resources.recorder,
            Recomputer(resources.jobs, resources.broker, resources.staging, resources.memo, resources.settings),
            report,
            lock,
            Pace(bytes_per_s),
            repair=repair,
            force=force,
        )
        for page in sweeper.pages(byte_budget, progress):
            sweeper.check(page)
        if sources:
            report.source_issues = check_sources(queries, resources.settings, progress=progress)
        report.seconds = time.monotonic() - began
        return report

    if not repair:
        return run_beside(runs, "sweep", work)
    return run_alone(runs, "sweep", work, unless_within_s=unless_within_s)


class _Sweeper:
    """Works through the entries page by page."""

    def __init__(
        self,
        entries: EntryStore,
        manifest: Manifest,
        queries: UpkeepQueries,
        recorder: Recorder,
        recomputer: Recomputer,
        report: IntegrityReport,
        lock: RunLock,
        pace: Pace,
        *,
        repair: bool,
        force: bool,
    ) -> None:
        self._entries, self._manifest, self._queries = entries, manifest, queries
        self._recorder, self._recomputer = recorder, recomputer
        self._report, self._lock, self._pace = report, lock, pace
        self._repair, self._force = repair, force

    def pages(self, byte_budget: int | None, progress: Progress) -> Iterator[Sequence[Locator]]:
        """Give the entries to read, at least one, for as long as their sizes fit the budget."""
        live, _ = self._manifest.count_by_state().get(EntryState.LIVE, (0, 0))
        left = byte_budget
        after: tuple[datetime, str] | None = None
        while True:
            progress("verifying", min(self._report.checked, live), live)
            self._lock.check()
            rows = self._queries.longest_unverified(before=self._lock.started_at, after=after, limit=PAGE)
            if not rows:
                self._report.complete = True
                progress("verifying", live, live)
                return
            page = []
            for found, _ in rows:
                if left is not None and left <= 0:
                    break
                page.append(found)
                left = None if left is None else left - found.file_size_bytes
            unread = len(self._report.unread)
            yield page
            if left is not None:  # what could not be read cost nothing, and must not be all that a run gets to
                left += sum(found.file_size_bytes for found, _ in self._report.unread[unread:])
                if left == 0 or (left < 0 and len(page) < len(rows)):
                    return
            after = (rows[len(page) - 1][1], rows[len(page) - 1][0].key)

    def check(self, page: Sequence[Locator]) -> None:
        """Read a page of entries; hide what is wrong and record what is right."""
        right: list[Locator] = []
        unread = len(self._report.unread)
        faults: list[tuple[Locator, Fault]] = []
        for found in page:
            try:
                fault, size_bytes = self._entries.inspect(found, self._pace)
            except StorageUnavailable as error:
                self._pass_over(found, error)
                continue
            self._report.bytes_read += size_bytes
            if fault is None:
                right.append(found)
            elif self._still_stands(fault):
                faults.append((found, fault))
        self._report.checked += len(page) - (len(self._report.unread) - unread)
        wrong = [fault for _, fault in faults]
        self._refuse_if_suspicious(wrong)
        self._report.faults += wrong
        self._queries.mark_verified(right)
        if self._repair:
            for found, fault in faults:
                self._quarantine(found, fault)

    def _pass_over(self, found: Locator, error: StorageUnavailable) -> None:
        """Note an entry that cannot be read.

        Raises the error where that is the store's fault and not this file's.
        """
        refuse_other_store(self._manifest, self._entries)
        if len(self._report.unread) >= MOST_UNREAD:
            raise error
        self._report.unread.append((found, error.reason))
        log.warning("cannot be read: key=%s path=%s %s", found.key[:12], found.path, error.reason)

    def _still_stands(self, fault: Fault) -> bool:
        """Return whether the row still names that file.

        An entry condemned, reaped or replaced meanwhile has no fault.
        """
        current = self._manifest.find_live(fault.key)
        return current is not None and current.path == fault.path

    def _refuse_if_suspicious(self, faults: Sequence[Fault]) -> None:
        if self._repair and not self._force:
            lost = sum(fault.kind is FaultKind.MISSING for fault in (*self._report.faults, *faults))
            refuse_many_missing(lost=lost, checked=self._report.checked)

    def _quarantine(self, found: Locator, fault: Fault) -> None:
        if not quarantine_entry(self._manifest, self._entries, self._recorder, found, str(fault)):
            return
        self._report.quarantined += 1
        entry = self._manifest.find_entry(found.key)
        if entry is not None and self._recomputer.ask_again(entry):
            self._report.recomputing += 1
