"""Postgres: the memo of what was found in Parquet files: content digests, and tables of partitions."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from fstore.errors import ManifestUnavailable
from fstore.fingerprint import ObjectStamp, SourceStamp
from fstore.model import Fingerprint
from fstore.postgres.pool import Database
from fstore.postgres.queries import statements

log = logging.getLogger("fstore.source_memo")


class PostgresSourceMemo:
    """Remembers what a source's content was when its stamp was taken.

    A memo that cannot be reached only costs a scan.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("sources")

    def recall(self, stamp: SourceStamp | ObjectStamp) -> str | None:
        """Return the content digest recorded for exactly this state of the source, or None."""
        try:
            rows = self._database.query(self._sql["recall"], {"stamp": _text(stamp)})
        except ManifestUnavailable as error:
            log.info("source memo not read: %s", error)
            return None
        return str(rows[0][0]) if rows else None

    def remember(self, stamp: SourceStamp | ObjectStamp, digest: str) -> None:
        """Record a digest for this state of the source."""
        try:
            self._database.query(self._sql["remember"], {"stamp": _text(stamp), "path": stamp.path, "digest": digest})
        except ManifestUnavailable as error:
            log.info("source memo not written: %s", error)


class PostgresPartitionMemo:
    """Remembers the partitions of files as they were when their stamps were taken.

    In the same table; all of a folder at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = statements("sources")

    def recall(self, stamps: Sequence[SourceStamp] | Sequence[ObjectStamp], by: str) -> list[bytes | None]:
        """Find the packed tables recorded for exactly these states of files and this way of cutting."""
        names = [_text(stamp, by) for stamp in stamps]
        try:
            rows = self._database.query(self._sql["recall_many"], {"stamps": names})
        except ManifestUnavailable as error:
            log.info("source memo not read: %s", error)
            return [None] * len(names)
        known = {str(name): str(table).encode() for name, table in rows}
        return [known.get(name) for name in names]

    def remember(self, tables: Mapping[SourceStamp, bytes] | Mapping[ObjectStamp, bytes], by: str) -> None:
        """Record packed tables, which are text."""
        found = {
            "stamps": [_text(stamp, by) for stamp in tables],
            "paths": [stamp.path for stamp in tables],
            "digests": [table.decode("ascii") for table in tables.values()],
        }
        try:
            self._database.query(self._sql["remember_many"], found)
        except ManifestUnavailable as error:
            log.info("source memo not written: %s", error)


def _text(stamp: SourceStamp | ObjectStamp, by: str | None = None) -> str:
    # The digest's format belongs to the name: a later format must not believe an earlier one's memo.
    said = {"format": Fingerprint.FORMAT, **asdict(stamp)}
    return json.dumps(said if by is None else {**said, "partitions": by}, sort_keys=True)
