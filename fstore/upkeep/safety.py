"""Why upkeep refuses: another store's files, a grace that hurts, more missing than garbage explains."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from fstore.errors import UpkeepRefused
from fstore.postgres import Manifest
from fstore.settings import Settings, shortest_grace
from fstore.storage import EntryStore
from fstore.upkeep.collection.policy import GarbagePolicy
from fstore.upkeep.collection.shard import GarbagePlan

LOOKS_WRONG_SHARE = 0.05
LOOKS_WRONG_COUNT = 100
LEAST_SKEW_S = 60.0


def refuse_other_store(manifest: Manifest, entries: EntryStore) -> None:
    """Raise ``StoreMismatch`` unless files and database belong together."""
    store_id, _ = manifest.store_identity()
    entries.check_identity(store_id)


def refuse_short_grace(policy: GarbagePolicy, settings: Settings, *, force: bool) -> None:
    """Raise ``UpkeepRefused`` for a grace that may hurt whoever is at work."""
    fault = grace_fault(policy.grace, compute_limit_s=settings.compute_time_limit_s)
    if fault and not (force or settings.gc_grace_unsafe):
        raise UpkeepRefused(fault, "raise FEATURE_STORE_GC_GRACE_HOURS, or use --force when nobody else uses the store")


def refuse_suspicious_plan(plan: GarbagePlan, *, force: bool) -> None:
    """Raise ``UpkeepRefused`` when so much looks orphaned or lost that the store looks like another's."""
    found = plan.totals
    reason = looks_wrong(
        orphans=found.unexplained, lost=found.lost, total_rows=found.live_entries, total_files=found.files
    )
    if reason and not force:
        raise UpkeepRefused(
            reason, "nothing was changed; check both settings, then see 'fstore gc --dry-run --force --verbose'"
        )


def refuse_strange_clock(
    plan: GarbagePlan, entries: EntryStore, now: Callable[[], datetime], grace: timedelta, *, force: bool
) -> None:
    """Raise ``UpkeepRefused`` while a store's clock, which is many servers', is not to be believed.

    Looked at before the files were listed and after: ages are differences of its readings,
    and one that jumps in between makes young files old.
    """
    if force or not entries.capabilities.clock_is_remote:
        return
    off_s = [
        plan.file_now_ns / 1e9 - plan.made_at.timestamp(),
        entries.now_ns() / 1e9 - now().timestamp(),
    ]
    worst = max(off_s, key=abs)
    if abs(worst) > max(grace.total_seconds() / 4, LEAST_SKEW_S):
        raise UpkeepRefused(
            f"the object store's clock is {worst:+.0f} s from the database's: ages of files cannot be told",
            "nothing was changed; have both set by NTP, or use --force when the store's is steady",
        )


def refuse_many_missing(*, lost: int, checked: int) -> None:
    """Raise ``UpkeepRefused`` when a sweep misses so many files that the folder is at fault."""
    if reason := looks_wrong(orphans=0, lost=lost, total_rows=checked, total_files=checked):
        raise UpkeepRefused(
            reason, "no further entry was touched; check FEATURE_STORE_PATH and the mount, then use --force"
        )


def grace_fault(grace: timedelta, *, compute_limit_s: float) -> str | None:
    """Return why a grace is too short for writers and readers that are at work, or None."""
    limit = timedelta(seconds=compute_limit_s)
    least = shortest_grace(limit)
    if grace >= least:
        return None
    return f"a grace of {grace} is shorter than {least} (one hour, and twice the compute limit of {limit})"


def looks_wrong(*, orphans: int, lost: int, total_rows: int, total_files: int) -> str | None:
    """Return why the folder and the database seem not to belong together.

    None when all looks ordinary. More than a twentieth and more than a hundred files without a row, or rows without
    a file, are the mark of an empty database, an unmounted folder or a restored backup, not of garbage.
    """
    if orphans > LOOKS_WRONG_COUNT and orphans > LOOKS_WRONG_SHARE * total_files:
        return f"{orphans} of {total_files} files have no row: the database may be empty, restored from a backup or another store's"
    if lost > LOOKS_WRONG_COUNT and lost > LOOKS_WRONG_SHARE * total_rows:
        return f"{lost} of {total_rows} entries have no file: the folder may be unmounted, emptied or another store's"
    return None
