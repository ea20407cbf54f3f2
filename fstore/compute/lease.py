"""Holding claims: renewed by a heartbeat for as long as the work takes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fstore.model import Claim
from fstore.postgres import Jobs
from fstore.runtime.heartbeat import heartbeat

log = logging.getLogger("fstore.lease")


class HeldClaims:
    """The claims that one lease keeps alive; ``drop`` those that are done with."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._claims = {claim.key: claim for claim in claims}

    def drop(self, key: str) -> None:
        """Renew this one no longer: it has its result, its failure note, or was given back."""
        self._claims.pop(key, None)

    def renew(self, jobs: Jobs) -> bool:
        """Prolong all that are held in one round trip; those that were lost stop being renewed."""
        asked = dict(self._claims)
        renewed = jobs.renew(asked.values()) if asked else set()
        for key in asked.keys() - renewed:
            if self._claims.pop(key, None) is not None:
                log.warning("lease lost: key=%s attempt=%s", key[:12], asked[key].attempt)
        return bool(self._claims)


@contextmanager
def hold_claims(jobs: Jobs, claims: Iterable[Claim], *, every_s: float) -> Iterator[HeldClaims]:
    """Renew ``claims`` every ``every_s`` while the block runs.

    A claim that is lost meanwhile (the process was frozen for longer than the lease)
    stops being renewed; the work may go on, the fence keeps its result out.
    """
    held = HeldClaims(claims)
    with heartbeat("fstore-lease", every_s, lambda: held.renew(jobs)):
        yield held
