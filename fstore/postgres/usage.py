"""Postgres: what was used and counted, by entry, by counter and by hour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from fstore.postgres.pool import Database
from fstore.postgres.queries import statements


class Usage:
    """The statements about hits and counters, one method each.

    Every method may raise ``ManifestUnavailable``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("usage")

    def add(self, hits: Mapping[str, int], counters: Mapping[str, int]) -> None:
        """Add hits and counters in one statement; what was hit counts as used now."""
        wanted = {
            "keys": list(hits),
            "hits": list(hits.values()),
            "names": list(counters),
            "values": list(counters.values()),
        }
        self._database.transact(self._sql["add_usage"], wanted)

    def of_entry(self, key: str) -> tuple[int, datetime] | None:
        """Return hits and last access of an entry as far as they were flushed.

        None when it was not used yet.
        """
        rows = self._database.query(self._sql["usage_of"], {"key": key})
        return (int(rows[0][0]), rows[0][1]) if rows else None

    def count_unused_since(self, before: datetime) -> int:
        """Return how many live entries were not used since."""
        return int(self._database.query(self._sql["count_unused_since"], {"before": before})[0][0])

    def longest_unused_s(self) -> float:
        """Return the seconds since the last use of the live entry that was least recently used."""
        return float(self._database.query(self._sql["longest_unused"])[0][0] or 0.0)

    def counters(self) -> dict[str, int]:
        """Return every counter as far as it was flushed."""
        return {name: int(value) for name, value in self._database.query(self._sql["read_counters"])}

    def activity(self, since: datetime) -> list[tuple[datetime, str, int]]:
        """Return what was counted in each hour, in their order: hour, counter, value."""
        return [(hour, name, n) for hour, name, n in self._database.query(self._sql["activity"], {"since": since})]

    def forget(self, *, older_than: timedelta) -> None:
        """Drop the usage of entries that are gone, and hours of more than a year ago."""
        self._database.transact(self._sql["forget_usage"], {"older_s": older_than.total_seconds()})
        self._database.transact(self._sql["forget_activity"])
