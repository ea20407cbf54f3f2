"""Postgres: whose turn upkeep is, by an advisory lock a kind, and the record of its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fstore.errors import ManifestUnavailable
from fstore.postgres.connection import Session
from fstore.postgres.pool import Database
from fstore.postgres.queries import statements

Kind = Literal["gc", "sweep", "reconcile", "flush"]

_LOCK_SPACE = 0x66737470  # "fstp": advisory locks of upkeep, apart from everybody else's
_LOCKS: Mapping[Kind, int] = {"gc": 1, "sweep": 2, "reconcile": 3, "flush": 4}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of upkeep as ``upkeep_runs`` remembers it; without ``finished_at`` it runs or was killed."""

    id: int
    kind: Kind
    started_at: datetime
    finished_at: datetime | None
    report: Mapping[str, Any] | None


class UpkeepRuns:
    """The statements about runs, one method each; every method may raise ``ManifestUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("runs")

    @contextmanager
    def alone(self, kind: Kind) -> Iterator[Session | None]:
        """Hold the advisory lock of one kind of upkeep while the block runs; gives None when another run holds it."""
        lock = {"space": _LOCK_SPACE, "lock": _LOCKS[kind]}
        with self._database.session() as session:
            if not session.query(self._sql["try_lock"], lock)[0][0]:
                yield None
                return
            try:
                yield session
            finally:
                with suppress(ManifestUnavailable):  # the server drops the lock with the connection
                    session.query(self._sql["unlock"], lock)

    def still_alone(self, session: Session, kind: Kind) -> bool:
        """Return whether the lock taken on ``session`` is still held; raises ``ManifestUnavailable`` if the session is gone."""
        return bool(session.query(self._sql["still_locked"], {"space": _LOCK_SPACE, "lock": _LOCKS[kind]})[0][0])

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
