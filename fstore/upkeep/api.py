"""The four upkeep jobs, as schedules, commands and the library call them.

``fstore.upkeep.gc_run``, ``fstore.upkeep.sweep`` and ``fstore.upkeep.reconcile`` do the work; here it is
decided when a scheduled run is one too many, and everything is answered in JSON.
"""

from __future__ import annotations

from typing import Any

from fstore.postgres.runs import Kind
from fstore.resources import Resources
from fstore.upkeep import gc_run as collect
from fstore.upkeep import reconcile, sweep
from fstore.upkeep.gc_plan import Progress, make_plan, silent
from fstore.upkeep.gc_report import GarbageReport
from fstore.upkeep.gc_run import refuse_unless_safe, rules_of
from fstore.upkeep.gc_shard import GarbageRules

SAME_TICK_S = 45.0
"""Two runs of one cron minute (of two Beats, or of messages that piled up) end closer together than two of different minutes."""


def collect_garbage(
    resources: Resources,
    rules: GarbageRules | None = None,
    *,
    dry_run: bool = False,
    force: bool = False,
    scheduled: bool = False,
    detail: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Give up what the rules no longer keep, and return the report; see ``fstore.upkeep.gc_run``.

    With ``detail`` the report lists every entry and file with its reason.
    """
    report = collect.collect_garbage(
        resources,
        rules,
        dry_run=dry_run,
        force=force,
        unless_within_s=SAME_TICK_S if scheduled else 0,
        progress=progress,
    )
    return report.as_dict(detail=detail) if isinstance(report, GarbageReport) else report.as_dict()


def sweep_integrity(resources: Resources, *, scheduled: bool = False) -> dict[str, Any]:
    """Re-read the entries that were longest not verified, within the byte budget of a run; see ``fstore.upkeep.sweep``."""
    budget = resources.settings.integrity_bytes_per_run
    return sweep.sweep_integrity(
        resources, byte_budget=budget, unless_within_s=SAME_TICK_S if scheduled else 0
    ).as_dict()


def validate(
    resources: Resources,
    *,
    everything: bool = True,
    repair: bool = False,
    sources: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Read live entries at full speed and return ``integrity_ok``, ``issues``, ``checked`` and ``bytes_read``.

    Without ``everything`` only as much as one scheduled run would; with ``repair``
    faulty entries are quarantined and computed again; with ``sources`` the raw data
    in users' files are read too.
    """
    return sweep.sweep_integrity(
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
    return reconcile.reconcile_jobs(resources, unless_within_s=period_s / 2 if scheduled else 0).as_dict()


def flush_usage(resources: Resources, *, scheduled: bool = False) -> dict[str, Any]:
    """Take usage and counters from Redis to Postgres; see ``fstore.upkeep.reconcile``."""
    period_s = resources.settings.flush_period_s
    return reconcile.flush_usage(resources, unless_within_s=period_s / 2 if scheduled else 0).as_dict()


def count_orphans(resources: Resources, *, progress: Progress = silent) -> int:
    """Return how many files no row names and no job may still publish, older than the grace."""
    rules = rules_of(resources.settings)
    refuse_unless_safe(resources, rules, force=True)
    return make_plan(resources, rules, progress=progress).totals.strays


def history(resources: Resources, kind: Kind | None = "gc", *, limit: int = 20) -> list[dict[str, Any]]:
    """Return the last runs of one kind of upkeep, or of all, newest first; a run without an end was killed or goes on."""
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
