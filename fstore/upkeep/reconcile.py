"""Gets lost computations going again."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from fstore.broker.client import COMPUTE_QUEUE
from fstore.broker.messages import parse_compute
from fstore.compute.executor import bury
from fstore.errors import BrokerUnavailable, InvalidRequest
from fstore.postgres.maintenance import Ledger
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
    """Send jobs again whose message or worker was lost, and bury those that killed their workers too often."""
    queries = Ledger(resources.database)
    return run_alone(queries, "reconcile", lambda _: _reconcile(resources, queries), unless_within_s=unless_within_s)


def _reconcile(resources: Resources, queries: Ledger) -> ReconcileReport:
    buried = bury(resources)
    if buried:
        log.warning("computations buried after too many starts: %s", ", ".join(key[:12] for key in buried))
    resources.jobs.settle()
    abandoned = queries.abandon_callers()
    sent = unsent = 0
    for key, message in resources.jobs.take_stale(idle=resources.coordination.is_drained(COMPUTE_QUEUE)):
        try:
            resources.broker.send_compute(parse_compute(message))
            sent += 1
        except InvalidRequest as error:
            # Written by another version of fstore, which will know how to send it.
            log.warning("cannot send again: key=%s %s", key[:12], error)
            unsent += 1
        except BrokerUnavailable as error:
            log.warning("cannot send again now: key=%s %s", key[:12], error)
            unsent += 1
    forgotten = resources.jobs.forget_old_failures()
    return ReconcileReport(sent, len(buried), unsent, len(abandoned), forgotten)
