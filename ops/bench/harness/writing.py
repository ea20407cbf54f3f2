"""Rows for publishers to write: claimed jobs made in advance, and the bare statements that fstore's publish is compared with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from fstore.model import Claim, EntryFacts, HashMethod, KeyParts
from fstore.postgres import Database, Manifest
from fstore.records import flat

Offered = tuple[EntryFacts, Claim]

OWNER = "bench"
LIBRARIES = {"python": "3", "pandas": "3", "pyarrow": "26", "numpy": "2", "fstore": "0"}

LOCK = "LOCK TABLE manifest IN EXCLUSIVE MODE"
DELETE = "DELETE FROM jobs WHERE key = %(key)s AND attempt = %(attempt)s AND owner = %(owner)s AND state = 'running'"
INSERT = """
INSERT INTO manifest (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, source, path,
    start_ts, end_ts, rows, file_size_bytes, content_digest, compute_seconds, library_versions, attempt, state, created_ts,
    verified_ts)
VALUES (%(key)s, %(symbol)s, %(feature)s, %(feature_version)s, %(source_digest)s, %(config)s, %(fingerprint)s,
    %(hash_method)s, %(source)s, %(path)s, NULL, NULL, %(rows)s, %(file_size_bytes)s, %(content_digest)s,
    %(compute_seconds)s, %(library_versions)s, %(attempt)s, 'live', now(), now())
"""

# The keys of a batch, the same in SQL and in Python, spread like digests.
KEY_SQL = "md5('{batch} ' || i) || md5('{batch}.' || i)"
FILL_SQL = """
INSERT INTO manifest (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, source, path,
    rows, file_size_bytes, content_digest, compute_seconds, library_versions, attempt, state, created_ts, verified_ts)
SELECT k, 'S' || i % 500, 'bench:f' || i % 20, '1', md5(i::text), json_build_object('n', i), 'b3m1:' || k, 'full',
    json_build_object('kind', 'staged', 'path', k), 'entries/' || left(k, 2) || '/' || k || '.0.parquet', 390, 20000, k, 0.1,
    '{libraries}'::jsonb, 1, 'live', now() - i * interval '1 second', now() - i * interval '1 second'
FROM (SELECT i, md5('fill ' || i) || md5('fill.' || i) AS k FROM generate_series(1, {rows}) AS i) AS made
"""
JOBS_SQL = f"""
INSERT INTO jobs (key, state, attempt, starts, owner, lease_until, request, requested_ts, started_ts)
SELECT {KEY_SQL}, 'running', 1, 1, '{OWNER}', now() + interval '1 day', '{{{{}}}}', now(), now()
FROM generate_series(1, {{rows}}) AS i
"""  # noqa: S608 constants of this file


def key_of(batch: str, number: int) -> str:
    """Return the key that ``KEY_SQL`` makes."""
    return "".join(hashlib.md5(f"{batch}{mark}{number}".encode()).hexdigest() for mark in (" ", "."))  # noqa: S324


def fill_sql(rows: int) -> str:
    """Return the statement that gives the manifest so many rows."""
    return FILL_SQL.format(rows=rows, libraries=json.dumps(LIBRARIES))


def jobs_sql(batch: str, rows: int) -> str:
    """Return the statement that makes the claimed jobs of a batch."""
    return JOBS_SQL.format(batch=batch, rows=rows)


def offers(batch: str) -> Iterator[Offered]:
    """Yield what a worker would offer for each job of a batch."""
    number = 0
    while True:
        number += 1
        key = key_of(batch, number)
        parts = KeyParts(f"S{number % 500}", "bench:write", "1", f'{{"n":{number}}}', f"b3m1:{key}")
        source = {"kind": "staged", "path": key}
        path = f"entries/{key[:2]}/{key}.{number:016x}.parquet"
        entry = EntryFacts(
            key=key, parts=parts, hash_method=HashMethod.FULL, source_digest=key, source=source, path=path, rows=390,
            file_size_bytes=20_000, content_digest=key, start_ts=None, end_ts=None, compute_seconds=0.1, library_versions=LIBRARIES,
        )  # fmt: skip
        yield entry, Claim(key, 1, OWNER)


class Publisher:
    """One connection's worth of publishing, by fstore or bare; each call writes its rows, bare ones one, in one transaction."""

    def __init__(self, url: str) -> None:
        self._manifest = Manifest(Database(url, application_name="bench"))
        self._url = url
        self._bare: pg.connection | None = None

    def fstore(self, offered: Sequence[Offered]) -> bool:
        """Publish as workers do."""
        return not any(published.fenced for published in self._manifest.publish(offered).values())

    def bare(self, offered: Sequence[Offered]) -> bool:
        """Run the statements one after the other."""
        connection = self._connected(autocommit=False)
        row = as_row(*offered[0])
        with connection, connection.cursor() as cursor:
            cursor.execute(LOCK)
            cursor.execute(DELETE, row)
            cursor.execute(INSERT, row)
        return True

    def bare_at_once(self, offered: Sequence[Offered]) -> bool:
        """Run the statements as one string, hence one implicit transaction and one round trip."""
        connection = self._connected(autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute(f"{LOCK}; {DELETE}; {INSERT}", as_row(*offered[0]))
        return True

    def _connected(self, *, autocommit: bool) -> pg.connection:
        if self._bare is None or self._bare.closed:
            self._bare = psycopg2.connect(self._url)
        if self._bare.autocommit != autocommit:
            self._bare.autocommit = autocommit
        return self._bare

    def forget(self) -> None:
        """Drop the bare connection: its server was started anew."""
        self._bare = None


def as_row(entry: EntryFacts, claim: Claim) -> dict[str, Any]:
    """Return the row that is written, for the bare statements."""
    return {
        **flat(entry),
        "source": json.dumps(entry.source),
        "library_versions": json.dumps(entry.library_versions),
        "attempt": claim.attempt,
        "owner": claim.owner,
    }
