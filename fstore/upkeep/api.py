"""The four upkeep jobs, as schedules, commands and the library call them.

``collection.run``, ``sweep``, ``reconcile`` and ``usage`` do the work; here it is
decided when a scheduled run is one too many, and everything is answered in JSON.
"""

from __future__ import annotations

from typing import Any

from fstore.postgres import Kind
from fstore.resources import Resources
from fstore.upkeep.collection.plan import make_plan
from fstore.upkeep.collection.policy import GarbagePolicy
from fstore.upkeep.collection.report import GarbageReport
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.reconcile import run_reconciliation
from fstore.upkeep.runner import Progress, run_alone, silent
from fstore.upkeep.safety import refuse_other_store
from fstore.upkeep.sweep import run_sweep
from fstore.upkeep.usage import UsageFlush

SAME_TICK_S = 45.0
"""Two runs of one cron minute (of two Beats, or of messages that piled up) end closer together than two of different minutes."""


def collect_garbage(
    resources: Resources,
    policy: GarbagePolicy | None = None,
    *,
    dry_run: bool = False,
    force: bool = False,
    scheduled: bool = False,
    detail: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Give up what the policy no longer keeps, and return the report.

    See ``fstore.upkeep.collection.run``. With ``detail`` the report lists every entry and file with its reason.
    """
    report = run_collection(
        resources,
        policy,
        dry_run=dry_run,
        force=force,
        unless_within_s=SAME_TICK_S if scheduled else 0,
        progress=progress,
    )
    return report.as_dict(detail=detail) if isinstance(report, GarbageReport) else report.as_dict()


def sweep_integrity(resources: Resources, *, scheduled: bool = False) -> dict[str, Any]:
    """Re-read the entries that were longest not verified, within the byte budget of a run.

    See ``fstore.upkeep.sweep``.
    """
    budget = resources.settings.integrity_bytes_per_run
    return run_sweep(resources, byte_budget=budget, unless_within_s=SAME_TICK_S if scheduled else 0).as_dict()


def verify_entries(
    resources: Resources,
    *,
    everything: bool = True,
    repair: bool = False,
    sources: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Read live entries at full speed and return what was found.

    That is ``integrity_ok``, ``issues``, ``checked`` and ``bytes_read``. Without ``everything`` only as much as one
    scheduled run would; with ``repair`` faulty entries are quarantined and computed again; with ``sources`` the raw
    data in users' files are read too.
    """
    return run_sweep(
        resources,
        byte_budget=None if everything else resources.settings.integrity_bytes_per_run,
        bytes_per_s=None,
        repair=repair,
        sources=sources,
        force=force,
        progress=progress,
    ).as_dict()


def reconcile_jobs(resources: Resources, *, scheduled: bool = False) -> dict[str, Any]:
    """Send lost jobs again and bury dead ones; see ``fstore.upkeep.reconcile``."""
    period_s = resources.settings.reconcile_period_s
    return run_reconciliation(resources, unless_within_s=period_s / 2 if scheduled else 0).as_dict()


def flush_usage(resources: Resources, *, scheduled: bool = False) -> dict[str, Any]:
    """Take usage and counters from Redis to Postgres; a minute of them is lost at most.

    See ``fstore.upkeep.usage``.
    """
    period_s = resources.settings.flush_period_s
    usage = UsageFlush.of(resources)
    within_s = period_s / 2 if scheduled else 0
    return run_alone(resources.runs, "flush", lambda lock: usage.move(lock.check), unless_within_s=within_s).as_dict()


def count_orphans(resources: Resources, *, progress: Progress = silent) -> int:
    """Return how many files no row names and no job may still publish, older than the grace."""
    policy = GarbagePolicy.from_settings(resources.settings)
    refuse_other_store(resources.manifest, resources.entries)
    plan = make_plan(
        resources.entries,
        resources.staging,
        resources.upkeep,
        policy,
        now=resources.runs.now(),
        live_bytes=0,  # nobody asks what would be evicted, so nothing is held for it
        progress=progress,
    )
    return plan.totals.strays


def list_runs(resources: Resources, kind: Kind | None = "gc", *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the last runs of one kind of upkeep, or of all, newest first.

    A run without an end was killed or goes on.
    """
    return [
        {
            "id": run.id,
            "kind": run.kind,
            "started_ts": run.started_at.isoformat(),
            "finished_ts": run.finished_at.isoformat() if run.finished_at else None,
            "report": run.report,
        }
        for run in resources.runs.list_runs(kind, limit=limit)
    ]
