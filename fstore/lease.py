"""Holding a claim: renewed by a heartbeat for as long as the work takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fstore.heartbeat import Pulse, heartbeat
from fstore.jobs import Jobs
from fstore.model import Claim

log = logging.getLogger("fstore.lease")


@contextmanager
def lease(jobs: Jobs, claim: Claim, *, every_s: float) -> Iterator[Pulse]:
    """Renew ``claim`` every ``every_s`` while the block runs.

    A claim that is lost meanwhile (the process was frozen for longer than the lease)
    stops being renewed; the work may go on, the fence keeps its result out.
    """
    with heartbeat(f"fstore-lease-{claim.key[:8]}", every_s, lambda: jobs.renew(claim)) as pulse:
        yield pulse
    if pulse.lost:
        log.warning("lease lost: key=%s attempt=%s", claim.key[:12], claim.attempt)
