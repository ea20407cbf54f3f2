"""Postgres: what upkeep asks and writes, shard by shard and in bounded batches, and the record of its runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from fstore.errors import ManifestBusy, ManifestUnavailable
from fstore.model import Doomed, Locator, ShardRow
from fstore.postgres.pool import Database, Session
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


class Ledger:
    """Upkeep's statements, one method each; every method may raise ``ManifestUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("upkeep")

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

    @contextmanager
    def shard_reader(self) -> Iterator[Callable[[str], Callable[[], list[ShardRow]]]]:
        """Lend a connection to ask for the rows of one shard after the other: the answer is fetched by calling the result.

        Postgres works on the answer while the caller does something else.
        """
        with self._database.session() as session:

            def ask(shard: str) -> Callable[[], list[ShardRow]]:
                receive = session.ask(self._sql["shard_rows"], {"shard": shard})
                return lambda: list(map(ShardRow._make, receive()))

            yield ask

    def paths_of(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the path that the row of each key names now, for keys that have a row."""
        return dict(self._database.query(self._sql["rows_of"], {"keys": list(keys)}))

    def working_keys(self, keys: Sequence[str]) -> set[str]:
        """Return those of ``keys`` that are queued or being computed."""
        return {key for (key,) in self._database.query(self._sql["working_keys"], {"keys": list(keys)})}

    def working_paths(self) -> set[str]:
        """Return the raw data that queued and running computations read."""
        return {path for (path,) in self._database.query(self._sql["working_paths"]) if path is not None}

    def condemn_unused(self, chosen: Sequence[tuple[str, str, datetime]]) -> set[str]:
        """Condemn entries, given as key, path and last known use, unless they were used since; return whose turn it was."""
        keys, paths, last_used = ([c[i] for c in chosen] for i in range(3))
        wanted = {"keys": keys, "paths": paths, "last_used": last_used}
        return {key for (key,) in self._database.transact(self._sql["condemn_unused"], wanted)}

    def revive_used(self, keys: Sequence[str]) -> set[str]:
        """Take back condemned entries that were used meanwhile, and return their keys."""
        return {key for (key,) in self._database.transact(self._sql["revive_used"], {"keys": list(keys)})}

    def reap(self, keys: Sequence[str], *, grace: timedelta) -> list[Doomed]:
        """Delete rows that were condemned or quarantined longer than ``grace`` ago and not used since; their files may go after."""
        wanted = {"keys": list(keys), "grace_s": grace.total_seconds()}
        return [Doomed(*row) for row in self._database.transact(self._sql["reap"], wanted)]

    def quarantine_lost(self, lost: Sequence[tuple[str, str]]) -> set[str]:
        """Hide live entries, given as key and path, whose files are gone; return the keys that were still live."""
        keys, paths = [key for key, _ in lost], [path for _, path in lost]
        return {key for (key,) in self._database.transact(self._sql["quarantine_lost"], {"keys": keys, "paths": paths})}

    def forget_leftovers(self, *, older_than: timedelta) -> None:
        """Drop the usage of entries that are gone, and memos of sources nobody asked for in half a year."""
        self._database.transact(self._sql["forget_usage"], {"older_s": older_than.total_seconds()})
        self._database.transact(self._sql["forget_sources"])
        self._database.transact(self._sql["forget_activity"])

    def longest_unverified(
        self, *, before: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> list[tuple[Locator, datetime]]:
        """Return a page of live entries, the longest unverified first, and when each was verified last."""
        ts, key = after if after is not None else ("-infinity", "")
        wanted = {"before": before, "after_ts": ts, "after_key": key, "limit": limit}
        rows = self._database.query(self._sql["longest_unverified"], wanted)
        return [(Locator(*row[:5]), row[5]) for row in rows]

    def mark_verified(self, verified: Sequence[Locator]) -> None:
        """Record that these files were read to the end and found right just now."""
        wanted = {"keys": [v.key for v in verified], "paths": [v.path for v in verified]}
        self._database.transact(self._sql["mark_verified"], wanted)

    def add_usage(self, hits: Mapping[str, int], counters: Mapping[str, int]) -> None:
        """Add hits and counters in one statement; what was hit counts as used now."""
        wanted = {
            "keys": list(hits),
            "hits": list(hits.values()),
            "names": list(counters),
            "values": list(counters.values()),
        }
        self._database.transact(self._sql["add_usage"], wanted)

    def live_sources(self) -> list[tuple[str, str, str, int]]:
        """Return path, fingerprint, hash method and number of live entries for every Parquet source of users."""
        return [
            (path, fingerprint, method, n)
            for path, fingerprint, method, n in self._database.query(self._sql["live_sources"])
        ]

    def abandon_callers(self) -> list[str]:
        """Drop jobs that only their caller could run and whose caller has been silent for a minute; return their keys."""
        return [key for (key,) in self._database.transact(self._sql["abandon_callers"])]

    def vacuum(self) -> dict[str, str]:
        """Clean up after deletes, on a connection of its own, and return what became of each step.

        The manifest gets half a second a step, because publishers wait for it; what is
        not done by then is left to autovacuum, which gives way to them.
        """
        outcome = {}
        for step, seconds in (
            ("vacuum_manifest", 0.5),
            ("analyze_manifest", 0.5),
            ("vacuum_usage", 30.0),
            ("vacuum_jobs", 30.0),
        ):
            with self._database.session() as session:
                try:
                    session.query(f"SET statement_timeout = {round(seconds * 1000)}")
                    session.query(self._sql[step], seconds=seconds + 5)
                    outcome[step] = "done"
                except ManifestBusy:
                    outcome[step] = f"left to autovacuum after {seconds:g} s"
                finally:
                    session.query("SET statement_timeout = '10s'")
        return outcome
