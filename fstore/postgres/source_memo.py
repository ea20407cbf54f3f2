"""Postgres: the memo of content digests of foreign Parquet files."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict

from fstore.errors import ManifestUnavailable
from fstore.fingerprint import ObjectStamp, SourceStamp
from fstore.model import Fingerprint
from fstore.postgres.pool import Database
from fstore.postgres.queries import statements

log = logging.getLogger("fstore.source_memo")


class PostgresSourceMemo:
    """Remembers what a source's content was when its stamp was taken; a memo that cannot be reached only costs a scan."""

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


def _text(stamp: SourceStamp | ObjectStamp) -> str:
    # The digest's format belongs to the name: a later format must not believe an earlier one's memo.
    return json.dumps({"format": Fingerprint.FORMAT, **asdict(stamp)}, sort_keys=True)
