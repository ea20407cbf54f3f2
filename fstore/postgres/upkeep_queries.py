"""Postgres: what upkeep asks and changes, shard by shard and in bounded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from fstore.errors import ManifestBusy
from fstore.model import Locator, ReapableEntry, ShardRow
from fstore.postgres.pool import Database
from fstore.postgres.queries import LOCATOR, statements


class UpkeepQueries:
    """Upkeep's statements, one method each; every method may raise ``ManifestUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("upkeep")

    @contextmanager
    def shard_reader(self) -> Iterator[Callable[[str], Callable[[], list[ShardRow]]]]:
        """Lend a connection to ask for the rows of one shard after the other.

        The answer is fetched by calling the result. Postgres works on the answer while the caller does something
        else.
        """
        with self._database.session() as session:

            def ask(shard: str) -> Callable[[], list[ShardRow]]:
                receive = session.ask(self._sql["shard_rows"], {"shard": shard})
                return lambda: list(map(ShardRow._make, receive()))

            yield ask

    def rows_of_packs(self, packs: Sequence[str]) -> list[ShardRow]:
        """Return the live rows of entries in some packs, by the names of their files."""
        return list(map(ShardRow._make, self._database.query(self._sql["rows_of_packs"], {"packs": list(packs)})))

    def superseded(self, *, limit: int) -> list[tuple[str, str, int, datetime, datetime]]:
        """Return live segments that others hold all of, at most so many.

        Key, path, bytes, when made, when last used.
        """
        rows = self._database.query(self._sql["superseded"], {"limit": limit})
        return [(key, path, size, made, used) for key, path, size, made, used in rows]

    def paths_of(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the path that the row of each key names now, for keys that have a row."""
        return dict(self._database.query(self._sql["rows_of"], {"keys": list(keys)}))

    def working_keys(self, keys: Sequence[str]) -> set[str]:
        """Return those of ``keys`` that are queued or being computed."""
        return {key for (key,) in self._database.query(self._sql["working_keys"], {"keys": list(keys)})}

    def named_packs(self, packs: Sequence[str]) -> set[str]:
        """Return those of ``packs``, by the names of their files, in which some row says that it lies."""
        return {pack for (pack,) in self._database.query(self._sql["named_packs"], {"packs": list(packs)})}

    def unsettled_keys(self, keys: Sequence[str], *, grace: timedelta) -> set[str]:
        """Return those of ``keys`` that are queued or being computed, or were published within ``grace``."""
        wanted = {"keys": list(keys), "grace_s": grace.total_seconds()}
        return {key for (key,) in self._database.query(self._sql["unsettled_keys"], wanted)}

    def working_paths(self) -> set[str]:
        """Return the raw data that queued and running computations read."""
        return {path for (path,) in self._database.query(self._sql["working_paths"]) if path is not None}

    def condemn_unused(self, chosen: Sequence[tuple[str, str, datetime]]) -> set[str]:
        """Condemn entries unless they were used since, and return whose turn it was.

        They are given as key, path and last known use.
        """
        keys, paths, last_used = ([c[i] for c in chosen] for i in range(3))
        wanted = {"keys": keys, "paths": paths, "last_used": last_used}
        return {key for (key,) in self._database.transact(self._sql["condemn_unused"], wanted)}

    def revive_used(self, keys: Sequence[str]) -> set[str]:
        """Take back condemned entries that were used meanwhile, and return their keys."""
        return {key for (key,) in self._database.transact(self._sql["revive_used"], {"keys": list(keys)})}

    def reap(self, keys: Sequence[str], *, grace: timedelta) -> list[ReapableEntry]:
        """Delete rows that were condemned or quarantined longer than ``grace`` ago.

        Only if they were not used since; their files may go after.
        """
        wanted = {"keys": list(keys), "grace_s": grace.total_seconds()}
        return [ReapableEntry(*row) for row in self._database.transact(self._sql["reap"], wanted)]

    def quarantine_lost(self, lost: Sequence[tuple[str, str]]) -> set[str]:
        """Hide live entries, given as key and path, whose files are gone.

        Returns the keys that were still live.
        """
        keys, paths = [key for key, _ in lost], [path for _, path in lost]
        return {key for (key,) in self._database.transact(self._sql["quarantine_lost"], {"keys": keys, "paths": paths})}

    def longest_unverified(
        self, *, before: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> list[tuple[Locator, datetime]]:
        """Return a page of live entries, the longest unverified first, and when each was verified last."""
        ts, key = after if after is not None else ("-infinity", "")
        wanted = {"before": before, "after_ts": ts, "after_key": key, "limit": limit}
        rows = self._database.query(self._sql["longest_unverified"], wanted)
        return [(LOCATOR.read(row[:-1]), row[-1]) for row in rows]

    def mark_verified(self, verified: Sequence[Locator]) -> None:
        """Record that these files were read to the end and found right just now."""
        wanted = {"keys": [v.key for v in verified], "paths": [v.path for v in verified]}
        self._database.transact(self._sql["mark_verified"], wanted)

    def live_sources(self) -> list[tuple[str, str, str, int]]:
        """Return path, fingerprint, hash method and number of live entries for every Parquet source of users."""
        return [
            (path, fingerprint, method, n)
            for path, fingerprint, method, n in self._database.query(self._sql["live_sources"])
        ]

    def forget_sources(self) -> None:
        """Drop memos of sources that nobody asked for in half a year."""
        self._database.transact(self._sql["forget_sources"])

    def forget_segments(self) -> None:
        """Drop what is known of segments that are no more."""
        self._database.transact(self._sql["forget_segments"])

    def vacuum(self) -> dict[str, str]:
        """Clean up after deletes, on a connection of its own, and return what became of each step.

        The manifest gets half a second a step, because publishers wait for it; what is
        not done by then is left to autovacuum, which gives way to them. So is all of it
        behind a pooler, where the server cannot be told of that half second.
        """
        outcome = {}
        for step, seconds in (
            ("vacuum_manifest", 0.5),
            ("analyze_manifest", 0.5),
            ("vacuum_usage", 30.0),
            ("vacuum_jobs", 30.0),
        ):
            with self._database.session() as session:
                if session.is_pooled and "manifest" in step:
                    outcome[step] = "left to autovacuum behind a pooler"
                    continue
                try:
                    session.maintain(self._sql[step], seconds=seconds)
                    outcome[step] = "done"
                except ManifestBusy:
                    outcome[step] = f"left to autovacuum after {seconds:g} s"
        return outcome
