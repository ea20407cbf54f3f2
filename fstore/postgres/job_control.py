"""Postgres: computations as an operator sees them: list, cancel, let start anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fstore.model import FailureNote, Job, JobState
from fstore.postgres.pool import Database
from fstore.postgres.queries import statements

CANCELLED = "Cancelled"
_COLUMNS = (
    "j.state, j.attempt, j.starts, j.owner, coalesce(j.lease_until < now(), false), "
    "coalesce(j.finished_ts > now() - make_interval(secs => %(memory_s)s), false), "
    "j.requested_ts, j.started_ts, j.finished_ts, j.error"
)


class JobControl:
    """What an operator does to jobs, one method each; every method may raise ``ManifestUnavailable``."""

    def __init__(self, database: Database, *, memory_s: float) -> None:
        self._database = database
        self._memory_s = memory_s
        self._sql = {name: text.replace("{columns}", _COLUMNS) for name, text in statements("job_control").items()}

    def list_jobs(
        self,
        *,
        state: JobState | None = None,
        symbol: str | None = None,
        feature: str | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Return jobs with their requests: what runs, what waits the longest, then what failed or died last."""
        wanted = {"state": state and str(state), "symbol": symbol, "feature": feature, "limit": limit}
        return [_job(*row) for row in self._database.query(self._sql["list"], {**wanted, "memory_s": self._memory_s})]

    def cancel_jobs(self, keys: Sequence[str], *, by: str) -> set[str]:
        """Stop queued and running jobs until somebody retries or forgets them; return their keys.

        Waiters are told. A worker that computes one is not interrupted, but what it
        returns is not published any more.
        """
        note = FailureNote(CANCELLED, f"by {by}; 'fstore jobs retry' or 'fstore jobs forget' lets it start again")
        wanted = {"keys": list(keys), "error": json.dumps(asdict(note))}
        return {key for (key,) in self._database.transact(self._sql["cancel"], wanted)}

    def restart_jobs(self, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Queue failed and dead jobs anew and return their requests by key: the caller sends them.

        Those whose raw data only their caller had are left as they are.
        """
        return dict(self._database.transact(self._sql["retry"], {"keys": list(keys)}))

    def forget_jobs(self, keys: Sequence[str]) -> set[str]:
        """Drop failed and dead jobs, so that the next request computes; return their keys."""
        return {key for (key,) in self._database.transact(self._sql["forget"], {"keys": list(keys)})}


def _job(key: str, *row: Any) -> Job:
    state, attempt, starts, owner, lapsed, remembered, requested, started, finished, error, request = row
    return Job(
        key=key,
        state=JobState(state),
        attempt=attempt,
        starts=starts,
        owner=owner,
        lapsed=lapsed,
        remembered=remembered,
        requested_ts=requested,
        started_ts=started,
        finished_ts=finished,
        failure=FailureNote(**error) if error else None,
        request=request,
    )
