"""Postgres: what monitors, reports and the doctor ask of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fstore.errors import ManifestUnavailable
from fstore.postgres.connection import SESSION_SETTINGS
from fstore.postgres.pool import Database
from fstore.postgres.queries import Row, statements


class Figures:
    """The statements of dashboards, one method each; every method may raise ``ManifestUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("figures")

    def jobs_by_state(self) -> dict[str, tuple[int, float]]:
        """Return how many jobs stand in each state, and the age of the oldest in seconds."""
        return {state: (n, age) for state, n, age in self._database.query(self._sql["jobs_by_state"])}

    def slowest_features(self, since: datetime, *, limit: int) -> list[Row]:
        """Return the features that take longest.

        Name, computations, median, 95th percentile and sum of seconds.
        """
        return self._database.query(self._sql["slowest_features"], {"since": since, "limit": limit})

    def failing_features(self, *, limit: int) -> list[Row]:
        """Return the features that failed most, as far as it is remembered.

        Name, failed and dead jobs, when the last of them ended, its symbol and its error.
        """
        return self._database.query(self._sql["failing_features"], {"limit": limit})

    def last_runs(self) -> dict[str, Row]:
        """Return the last run of upkeep of each kind that ended, dry runs aside, by kind.

        Seconds since its end, its seconds, whether it failed; of a collection files and
        bytes removed and entries condemned; of a sweep entries and bytes read and
        entries quarantined.
        """
        return {kind: tuple(run) for kind, *run in self._database.query(self._sql["last_runs"])}

    def runs_since(self, since: datetime) -> list[tuple[str, datetime, datetime | None, dict[str, Any] | None]]:
        """Return collections and sweeps in their order: kind, start, end and report."""
        rows = self._database.query(self._sql["runs_since"], {"since": since})
        return [(kind, started, ended, report) for kind, started, ended, report in rows]

    def server(self) -> Row:
        """Return what the doctor judges.

        Version and its number; whether lock_timeout outlasts deadlock_timeout, and both;
        whether fsync is on; whether it is a replica; its time.
        """
        return self._database.query(self._sql["server"])[0]

    def pooler_fault(self) -> str | None:
        """Return why a pooler between here and Postgres cannot carry fstore.

        "" if it can, None if there is none.
        """
        with self._database.session() as session:
            if not session.is_pooled:
                return None
            kept = session.query("SHOW lock_timeout")[0][0]
            if kept != SESSION_SETTINGS["lock_timeout"]:
                return f"it takes apart what is sent as one message: lock_timeout is {kept}"
        try:
            with self._database.session() as session:
                session.query("BEGIN")
                processes = {session.query("SELECT pg_backend_pid()")[0][0] for _ in range(3)}
                session.query("COMMIT")
        except ManifestUnavailable as error:
            return f"it lets no transaction of several statements through ({error})"
        return "" if len(processes) == 1 else "it spreads a transaction over several server processes"

    def revisions(self) -> list[str]:
        """Return the revision of the tables; several or none where something is wrong."""
        if not self._database.query(self._sql["has_revision"])[0][0]:
            return []
        return [revision for (revision,) in self._database.query(self._sql["revision"])]
