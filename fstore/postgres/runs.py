"""Postgres: whose turn upkeep is, by a row with a lease for each kind, and the record of its runs.

No lock of a session: behind a pooler it would stay with a server connection that nobody finds again.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fstore.errors import ManifestUnavailable
from fstore.postgres.pool import Database
from fstore.postgres.queries import statements
from fstore.runtime.heartbeat import heartbeat

Kind = Literal["gc", "sweep", "reconcile", "flush"]

LEASE_S = 15.0  # a run that was killed keeps others out for so long
RENEW_S = 4.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run of upkeep as ``upkeep_runs`` remembers it; without ``finished_at`` it runs or was killed."""

    id: int
    kind: Kind
    started_at: datetime
    finished_at: datetime | None
    report: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to do one kind of upkeep.

    ``owner`` is that of no other turn, and what tells it from a later one.
    """

    kind: Kind
    owner: str


class UpkeepRuns:
    """The statements about runs, one method each; every method may raise ``ManifestUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("runs")

    @contextmanager
    def alone(self, kind: Kind) -> Iterator[Turn | None]:
        """Have the turn of one kind of upkeep while the block runs; gives None when another run has it.

        It is renewed until the block ends; a process that is killed keeps it for ``LEASE_S``.
        """
        turn = Turn(kind, _new_owner())
        if not self._database.query(self._sql["take_turn"], _columns_of(turn)):
            yield None
            return
        try:
            with heartbeat("fstore-turn", RENEW_S, lambda: self.still_alone(turn)):
                yield turn
        finally:
            with suppress(ManifestUnavailable):  # then the lease runs out
                self._database.query(self._sql["end_turn"], _columns_of(turn))

    def still_alone(self, turn: Turn) -> bool:
        """Prolong a turn, and return whether it is still this one's.

        That is, nobody else has begun since it was taken.
        """
        return bool(self._database.query(self._sql["keep_turn"], _columns_of(turn)))

    def ran_within(self, kind: Kind, seconds: float) -> bool:
        """Return whether a run of this kind ended within the last ``seconds``; dry runs do not count."""
        return bool(self._database.query(self._sql["ran_within"], {"kind": kind, "seconds": seconds})[0][0])

    def begin_run(self, kind: Kind) -> tuple[int, datetime]:
        """Record that a run starts, and return its number and the time; old records of the kind go."""
        self._database.query(self._sql["forget_runs"], {"kind": kind})
        number, started = self._database.query(self._sql["begin_run"], {"kind": kind})[0]
        return number, started

    def finish_run(self, number: int, report: Mapping[str, Any]) -> None:
        """Record how a run ended."""
        self._database.query(self._sql["finish_run"], {"id": number, "report": json.dumps(report)})

    def list_runs(self, kind: Kind | None = None, *, limit: int = 20) -> list[Run]:
        """Return the last runs, newest first."""
        return [Run(*row) for row in self._database.query(self._sql["list_runs"], {"kind": kind, "limit": limit})]

    def now(self) -> datetime:
        """Return the database's time, the only clock by which entries age."""
        moment: datetime = self._database.query(self._sql["now"])[0][0]
        return moment


def _new_owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"


def _columns_of(turn: Turn) -> dict[str, Any]:
    return {"kind": turn.kind, "owner": turn.owner, "lease_s": LEASE_S}
