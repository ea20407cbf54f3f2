"""What Beat sends and when: a pure function of the settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery.schedules import crontab

from fstore.broker import COLLECT_GARBAGE, FLUSH_USAGE, RECONCILE_JOBS, SWEEP_INTEGRITY, UPKEEP_QUEUE, read_schedules
from fstore.settings import Settings


def schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the Beat schedule; raises ``ConfigurationError`` for times that Celery cannot follow.

    Every entry expires after its period: after an hour without workers one run
    catches up, not sixty.
    """
    upkeep = read_schedules(settings)
    entries = {
        "reconcile-jobs": _every(RECONCILE_JOBS, settings.reconcile_period_s),
        "flush-usage": _every(FLUSH_USAGE, settings.flush_period_s),
    }
    if settings.gc_enabled:
        entries["collect-garbage"] = _cron(COLLECT_GARBAGE, upkeep.gc)
    if settings.integrity_enabled:
        entries["sweep-integrity"] = _cron(SWEEP_INTEGRITY, upkeep.integrity)
    return entries


def _every(task: str, seconds: float) -> dict[str, Any]:
    return {
        "task": task,
        "schedule": timedelta(seconds=seconds),
        "options": {"expires": seconds, "queue": UPKEEP_QUEUE},
    }


def _cron(task: str, times: crontab) -> dict[str, Any]:
    return {"task": task, "schedule": times, "options": {"expires": _period_s(times), "queue": UPKEEP_QUEUE}}


def _period_s(times: Any) -> float:
    """Return a period that is never longer than the gap between two runs: a minute, an hour or a day."""
    if len(times.minute) > 1:
        return 60.0
    return 3600.0 if len(times.hour) > 1 else 86400.0
