"""Gets lost computations going again."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from fstore.compute import Recovery
from fstore.resources import Resources
from fstore.upkeep.runner import Skipped, run_alone

log = logging.getLogger("fstore.reconcile")


@dataclass(frozen=True, slots=True)
class ReconcileReport:
    """What one look at the jobs led to."""

    sent: int = 0
    buried: int = 0
    unsent: int = 0
    abandoned: int = 0
    forgotten: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {"kind": "reconcile", **asdict(self)}


def run_reconciliation(resources: Resources, *, unless_within_s: float = 0) -> ReconcileReport | Skipped:
    """Send jobs again whose message or worker was lost.

    Those that killed their workers too often are buried.
    """
    return run_alone(resources.runs, "reconcile", lambda _: _reconcile(resources), unless_within_s=unless_within_s)


def _reconcile(resources: Resources) -> ReconcileReport:
    recovery = Recovery.of(resources)
    buried = recovery.bury()
    if buried:
        log.warning("computations buried after too many starts: %s", ", ".join(key[:12] for key in buried))
    resources.jobs.delete_published()
    abandoned = resources.jobs.abandon_callers()
    resent = recovery.resend()
    for key, refused in resent.refused.items():
        log.warning("cannot send again: key=%s %s", key[:12], refused)
    for key, away in resent.unsent.items():
        log.warning("cannot send again now: key=%s %s", key[:12], away)
    forgotten = resources.jobs.delete_old_failures()
    return ReconcileReport(
        sent=len(resent.sent),
        buried=len(buried),
        unsent=len(resent.refused) + len(resent.unsent),
        abandoned=len(abandoned),
        forgotten=forgotten,
    )
