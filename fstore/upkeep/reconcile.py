"""Moves usage from Redis to Postgres, and gets lost computations going again."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

from fstore.compute.recovery import Recovery
from fstore.resources import Resources
from fstore.upkeep.runner import Skipped, run_alone

log = logging.getLogger("fstore.reconcile")

FLUSH_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class FlushReport:
    """What one flush moved."""

    keys: int = 0
    hits: int = 0
    counters: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {"kind": "flush", **asdict(self)}


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


def flush_usage(resources: Resources, *, unless_within_s: float = 0) -> FlushReport | Skipped:
    """Move the notes of usage and the counters from Redis to Postgres; a minute of them is lost at most."""
    return run_alone(resources, "flush", lambda _: move_notes(resources), unless_within_s=unless_within_s)


def move_notes(resources: Resources) -> FlushReport:
    """Write down what Redis noted, then drop it there; only under the lock of flushes.

    A crash in between counts some hits twice, which no decision depends on: an entry
    is at worst kept for as long as it would have been after one more use.
    """
    resources.recorder.flush()
    notes = resources.usage_buffer.take()
    if notes.hits or notes.counters:
        resources.usage.add(notes.hits, notes.counters)
        resources.usage_buffer.drop()
    resources.usage_buffer.known_for(resources.runs.now().timestamp())  # sets the mark again soon after Redis lost it
    return FlushReport(len(notes.hits), sum(notes.hits.values()), sum(notes.counters.values()))


def move_notes_in_turn(resources: Resources) -> bool:
    """Write down what Redis noted, after whoever does so right now; False when that takes too long.

    Two at once would drop notes that only one of them has written.
    """
    ends_at = time.monotonic() + FLUSH_PATIENCE_S
    while True:
        with resources.runs.alone("flush") as session:
            if session is not None:
                move_notes(resources)
                return True
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.05)


def reconcile_jobs(resources: Resources, *, unless_within_s: float = 0) -> ReconcileReport | Skipped:
    """Send jobs again whose message or worker was lost, and bury those that killed their workers too often."""
    return run_alone(resources, "reconcile", lambda _: _reconcile(resources), unless_within_s=unless_within_s)


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
