"""Postgres: computations being queued or run; claims, leases, the fence and failure notes."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fstore.model import Claim, EntryState, FailureNote, Job, JobState, Locator
from fstore.postgres.pool import Database, Row
from fstore.postgres.queries import statements

_COLUMNS = (
    "j.state, j.attempt, j.starts, j.owner, coalesce(j.lease_until < now(), false), "
    "coalesce(j.finished_ts > now() - make_interval(secs => %(memory_s)s), false), "
    "j.requested_ts, j.started_ts, j.finished_ts, j.error"
)

# A crash of Postgres may undo these, and nothing is wrong then: a job that was forgotten is registered again, and a
# claim that was forgotten can no longer publish, for its owner is not the one who claims next. So nobody waits for a flush.
_UNFLUSHED = "SELECT set_config('synchronous_commit', 'off', true); "


@dataclass(frozen=True, slots=True)
class View:
    """One key as a waiter sees it: the live entry, a condemned one that may be revived, or the job."""

    key: str
    entry: Locator | None
    condemned: bool
    job: Job | None


class Jobs:
    """The job table's statements, one method each; every method may raise ``ManifestUnavailable``.

    ``memory_s`` is how long a failure answers for its key, ``max_starts`` how
    often a computation may end its worker, ``lease_s`` how long a claim holds
    without being renewed.
    """

    def __init__(self, database: Database, *, lease_s: float, memory_s: float, max_starts: int) -> None:
        self._database = database
        self._sql = {name: text.replace("{columns}", _COLUMNS) for name, text in statements("jobs").items()}
        self._sql |= {name: _UNFLUSHED + self._sql[name] for name in ("enqueue", "claim", "claim_many", "renew")}
        self._rules = {"lease_s": lease_s, "memory_s": memory_s, "max_starts": max_starts}

    def enqueue(self, requests: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Register computations that nobody has registered yet, and return their keys."""
        rows = [{"key": key, "request": request} for key, request in requests.items()]
        return {
            key
            for (key,) in self._database.transact(self._sql["enqueue"], {**self._rules, "requests": json.dumps(rows)})
        }

    def claim(self, key: str, request: Mapping[str, Any]) -> Claim | None:
        """Take the right to compute ``key`` if it is free and has no live entry, or return None; ``look`` then tells why."""
        owner = _new_owner()
        wanted = {**self._rules, "key": key, "owner": owner, "request": json.dumps(request)}
        rows = self._database.query(self._sql["claim"], wanted)
        return Claim(key, rows[0][0], owner, starts=rows[0][1], revivable=rows[0][2]) if rows else None

    def claim_many(self, requests: Mapping[str, Mapping[str, Any]]) -> dict[str, Claim]:
        """Take the right to compute those of many keys that are free and were never started, in one round trip."""
        owner = _new_owner()
        rows = [{"key": key, "request": request} for key, request in requests.items()]
        wanted = {**self._rules, "owner": owner, "requests": json.dumps(rows)}
        return {
            key: Claim(key, attempt, owner) for key, attempt in self._database.transact(self._sql["claim_many"], wanted)
        }

    def renew(self, claims: Iterable[Claim]) -> set[str]:
        """Prolong leases, and return the keys still held; a result of any other can no longer be published."""
        return {key for (key,) in self._database.query(self._sql["renew"], {**self._rules, **_columns_of(claims)})}

    def hand_back(self, claims: Iterable[Claim]) -> set[str]:
        """Give claims back that were not begun, and return their keys; the caller sends them again."""
        return {key for (key,) in self._database.transact(self._sql["hand_back"], _columns_of(claims))}

    def finish(self, claim: Claim) -> bool:
        """End a job whose key needs no new result."""
        return bool(self._database.transact(self._sql["finish"], asdict(claim)))

    def release(self, claim: Claim) -> bool:
        """Give the claim back unfinished, so that another worker takes over at once."""
        return bool(self._database.transact(self._sql["release"], asdict(claim)))

    def fail(self, claim: Claim, note: FailureNote) -> bool:
        """End the job with a note that all its waiters are told."""
        return bool(self._database.transact(self._sql["fail"], {**asdict(claim), "error": json.dumps(asdict(note))}))

    def bury(self, keys: Sequence[str] | None = None) -> list[str]:
        """Mark jobs dead that were started ``max_starts`` times without an end; return their keys."""
        wanted = {**self._rules, "keys": None if keys is None else list(keys)}
        return [key for (key,) in self._database.transact(self._sql["bury"], wanted)]

    def take_stale(
        self, keys: Sequence[str] | None = None, *, idle: bool = False, limit: int = 500
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Return jobs (key, request) whose message or worker was lost, each to one caller only: send them again.

        ``idle`` says that the workers' queue is empty, so that a job still queued has
        no message in it.
        """
        wanted = {**self._rules, "keys": None if keys is None else list(keys), "idle": idle, "limit": limit}
        return [(key, request) for key, request in self._database.transact(self._sql["take_stale"], wanted)]

    def settle(self, keys: Sequence[str] | None = None) -> int:
        """End jobs whose key has a live entry already, and return how many."""
        return len(self._database.query(self._sql["settle"], {"keys": None if keys is None else list(keys)}))

    def look(self, keys: Sequence[str]) -> dict[str, View]:
        """Return for every key its entry and its job, in one round trip."""
        rows = self._database.query(self._sql["look"], {**self._rules, "keys": list(keys)})
        return {row[0]: _view(row) for row in rows}

    def find(self, key: str) -> Job | None:
        """Return the job of ``key`` with its request, or None."""
        rows = self._database.query(self._sql["find_job"], {**self._rules, "key": key})
        return _job(rows[0][0], rows[0][1:]) if rows else None

    def find_by_prefix(self, prefix: str, *, limit: int = 20) -> tuple[str, ...]:
        """Return the keys of jobs that start with ``prefix``, in their order."""
        bounds = {"low": prefix, "high": prefix + "g", "limit": limit}  # keys are hex: "g" follows every digit
        return tuple(key for (key,) in self._database.query(self._sql["find_jobs_by_prefix"], bounds))

    def list(self, *, limit: int = 100) -> list[Job]:
        """Return jobs with their requests, the longest waiting first."""
        rows = self._database.query(self._sql["list_jobs"], {**self._rules, "limit": limit})
        return [job for row in rows if (job := _job(row[0], row[1:]))]

    def forget(self, key: str) -> bool:
        """Let a failed or dead job start anew when it is asked for again."""
        return bool(self._database.transact(self._sql["forget"], {"key": key}))

    def forget_failure(self, key: str, owner: str) -> bool:
        """Let a job that failed under this owner's claim start anew; one that somebody began meanwhile is left alone."""
        return bool(self._database.transact(self._sql["forget_failure"], {"key": key, "owner": owner}))

    def forget_old_failures(self) -> int:
        """Drop failure notes older than a day, and return how many."""
        return len(self._database.transact(self._sql["forget_old_failures"]))

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs stand in each state."""
        return {JobState(state): n for state, n in self._database.query(self._sql["count_by_state"])}


def _view(row: Row) -> View:
    key, state, path, rows, size, digest, source_digest, *job = row
    live = state == EntryState.LIVE
    return View(
        key=key,
        entry=Locator(key, path, rows, size, digest, source_digest) if live else None,
        condemned=state == EntryState.CONDEMNED,
        job=_job(key, tuple(job)),
    )


def _job(key: str, row: Row) -> Job | None:
    state, attempt, starts, owner, lapsed, fresh, requested, started, finished, error, *request = row
    if state is None:
        return None
    return Job(
        key=key,
        state=JobState(state),
        attempt=attempt,
        starts=starts,
        owner=owner,
        lapsed=lapsed,
        remembered=fresh,
        requested_ts=requested,
        started_ts=started,
        finished_ts=finished,
        failure=FailureNote(**error) if error else None,
        request=request[0] if request else None,
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
