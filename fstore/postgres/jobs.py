"""Postgres: computations being queued or run.

Claims, leases, the fence, failure notes, and what an operator does.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fstore.model import Claim, EntryState, FailureNote, Job, JobState, KeyStatus
from fstore.postgres import job_functions
from fstore.postgres.pool import Database
from fstore.postgres.queries import JOB, JOB_STATUS, LOCATOR, MOST_BYTES, Row, statements
from fstore.settings import LeaseTimes

CANCELLED = "Cancelled"
MAX_STOPS = 30  # orderly stops that are not held against a computation
_WIDTH = len(LOCATOR.names)

# A crash of Postgres may undo these, and nothing is wrong then: a job that was forgotten is registered again, and a
# claim that was forgotten can no longer publish, for its owner is not the one who claims next; a job that comes back has
# a live entry, or is computed again. So nobody waits for a flush.
_UNFLUSHED = "SELECT set_config('synchronous_commit', 'off', true); "


class Jobs:
    """The job table's statements, one method each; every method may raise ``ManifestUnavailable``.

    ``times`` say how long claims and failures hold and when a job counts as lost,
    ``max_starts`` how often a computation may end its worker.
    """

    def __init__(self, database: Database, *, times: LeaseTimes, max_starts: int) -> None:
        self._database = database
        self._sql = {**statements("jobs"), **statements("job_control"), **job_functions.calls()}
        self._whole = {name: statements("jobs")[name] for name in ("bury", "take_stale")}  # of all jobs, for upkeep
        self._sql |= {
            name: _UNFLUSHED + self._sql[name] for name in ("enqueue", "claim", "claim_many", "renew", "complete")
        }
        self._rules = {
            **asdict(times),
            "max_starts": max_starts,
            "max_stops": MAX_STOPS,
            "most_request_bytes": MOST_BYTES,
        }

    def enqueue(self, requests: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Register computations that nobody has registered yet, and return their keys."""
        rows = [{"key": key, "request": request} for key, request in requests.items()]
        return {
            key
            for (key,) in self._database.transact(self._sql["enqueue"], {**self._rules, "requests": json.dumps(rows)})
        }

    def claim(self, key: str, request: Mapping[str, Any]) -> Claim | None:
        """Take the right to compute ``key`` if it is free and has no live entry, or return None.

        ``look`` then tells why.
        """
        owner = _new_owner()
        wanted = {**self._rules, "key": key, "owner": owner, "request": json.dumps(request)}
        rows = self._database.query(self._sql["claim"], wanted)
        return Claim(key, rows[0][0], owner, starts=rows[0][1], revivable=rows[0][2]) if rows else None

    def claim_many(self, requests: Mapping[str, Mapping[str, Any]]) -> dict[str, Claim]:
        """Take the right to compute those of many keys that are free and were never started.

        In one round trip.
        """
        owner = _new_owner()
        rows = [{"key": key, "request": request} for key, request in requests.items()]
        wanted = {**self._rules, "owner": owner, "requests": json.dumps(rows)}
        return {
            key: Claim(key, attempt, owner) for key, attempt in self._database.transact(self._sql["claim_many"], wanted)
        }

    def renew(self, claims: Iterable[Claim]) -> set[str]:
        """Prolong leases, and return the keys still held; a result of any other can no longer be published."""
        return {key for (key,) in self._database.query(self._sql["renew"], {**self._rules, **_columns_of(claims)})}

    def return_unstarted(self, claims: Iterable[Claim]) -> set[str]:
        """Give claims back that were not begun, and return their keys; the caller sends them again."""
        return {key for (key,) in self._database.transact(self._sql["return_unstarted"], _columns_of(claims))}

    def complete(self, claim: Claim) -> bool:
        """End a job whose key needs no new result."""
        return bool(self._database.transact(self._sql["complete"], asdict(claim)))

    def release(self, claim: Claim) -> bool:
        """Give the claim back unfinished, so that another worker takes over at once.

        A stop that was ordered is not held against the computation, up to ``MAX_STOPS``.
        """
        return bool(self._database.transact(self._sql["release"], {**self._rules, **asdict(claim)}))

    def fail(self, claim: Claim, note: FailureNote) -> bool:
        """End the job with a note that all its waiters are told."""
        return bool(self._database.transact(self._sql["fail"], {**asdict(claim), "error": json.dumps(asdict(note))}))

    def bury(self, keys: Sequence[str] | None = None) -> list[str]:
        """Mark jobs dead that were started ``max_starts`` times without an end; return their keys."""
        wanted = {**self._rules, "keys": None if keys is None else list(keys)}
        sql = (self._whole if keys is None else self._sql)["bury"]
        return [key for (key,) in self._database.transact(sql, wanted)]

    def take_stale(
        self, keys: Sequence[str] | None = None, *, drained: Sequence[str | None] = (), limit: int = 500
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Return jobs (key, request) whose message or worker was lost: send them again.

        Each is returned to one caller only. ``drained`` names the queues that are empty, so that a job still queued
        there has no message: None is the one that features share, others have one of their own.
        """
        empty = [name or "" for name in drained]
        wanted = {**self._rules, "keys": None if keys is None else list(keys), "drained": empty, "limit": limit}
        sql = (self._whole if keys is None else self._sql)["take_stale"]
        return [(key, request) for key, request in self._database.transact(sql, wanted)]

    def delete_published(self, keys: Sequence[str] | None = None) -> int:
        """End jobs whose key has a live entry already, and return how many."""
        return len(self._database.query(self._sql["delete_published"], {"keys": None if keys is None else list(keys)}))

    def look(self, keys: Sequence[str]) -> dict[str, KeyStatus]:
        """Return for every key its entry and its job, in one round trip."""
        rows = self._database.query(self._sql["look"], {**self._rules, "keys": list(keys)}, repeated=True)
        return {row[0]: _status(row) for row in rows}

    def find(self, key: str) -> Job | None:
        """Return the job of ``key`` with its request, or None."""
        rows = self._database.query(self._sql["find_job"], {**self._rules, "key": key})
        return JOB.read(rows[0]) if rows else None

    def find_by_prefix(self, prefix: str, *, limit: int = 20) -> tuple[str, ...]:
        """Return the keys of jobs that start with ``prefix``, in their order."""
        bounds = {"low": prefix, "high": prefix + "g", "limit": limit}  # keys are hex: "g" follows every digit
        return tuple(key for (key,) in self._database.query(self._sql["find_jobs_by_prefix"], bounds))

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
        return [JOB.read(row) for row in self._database.query(self._sql["list"], {**self._rules, **wanted})]

    def cancel(self, keys: Sequence[str], *, by: str) -> set[str]:
        """Stop queued and running jobs until somebody restarts or forgets them; return their keys.

        Waiters are told. A worker that computes one is not interrupted, but what it
        returns is not published any more.
        """
        note = FailureNote(CANCELLED, f"by {by}; 'fstore jobs retry' or 'fstore jobs forget' lets it start again")
        wanted = {"keys": list(keys), "error": json.dumps(asdict(note))}
        return {key for (key,) in self._database.transact(self._sql["cancel"], wanted)}

    def restart(self, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Queue failed and dead jobs anew and return their requests by key: the caller sends them.

        Those whose raw data only their caller had are left as they are.
        """
        return dict(self._database.transact(self._sql["restart"], {"keys": list(keys)}))

    def forget(self, keys: Sequence[str]) -> set[str]:
        """Drop failed and dead jobs, so that the next request computes; return their keys."""
        return {key for (key,) in self._database.transact(self._sql["forget"], {"keys": list(keys)})}

    def reset(self, key: str) -> bool:
        """Let a failed or dead job start anew when it is asked for again."""
        return bool(self._database.transact(self._sql["reset"], {"key": key}))

    def reset_failure(self, key: str, owner: str) -> bool:
        """Let a job that failed under this owner's claim, as ``look`` shows it, start anew.

        One that somebody began meanwhile is left alone.
        """
        return bool(self._database.transact(self._sql["reset_failure"], {"key": key, "owner": owner}))

    def delete_old_failures(self) -> int:
        """Drop failure notes older than a day, and return how many."""
        return len(self._database.transact(self._sql["delete_old_failures"]))

    def abandon_callers(self) -> list[str]:
        """Drop jobs that only their caller could run, and return their keys.

        Those whose caller has been silent for long.
        """
        return [key for (key,) in self._database.transact(self._sql["abandon_callers"], self._rules)]

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs stand in each state."""
        return {JobState(state): n for state, n in self._database.query(self._sql["count_by_state"])}


def _status(row: Row) -> KeyStatus:
    key, state, *found = row
    entry, job = tuple(found[:_WIDTH]), tuple(found[_WIDTH:])
    return KeyStatus(
        key=key,
        entry=LOCATOR.read(entry) if state == EntryState.LIVE else None,
        condemned=state == EntryState.CONDEMNED,
        job=JOB_STATUS.read(job) if job[0] is not None else None,
    )


def _new_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"


def _columns_of(claims: Iterable[Claim]) -> dict[str, list[Any]]:
    held = list(claims)
    return {
        "keys": [claim.key for claim in held],
        "attempts": [claim.attempt for claim in held],
        "owners": [claim.owner for claim in held],
    }
