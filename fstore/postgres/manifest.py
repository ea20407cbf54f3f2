"""Postgres: the manifest, which alone says what is in the store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fstore.errors import ManifestBusy
from fstore.model import Claim, Entry, EntryState, HashMethod, KeyParts, Locator, NewEntry
from fstore.postgres.pool import Database, Row
from fstore.postgres.queries import statements
from fstore.runtime import deadline

_COLUMNS = (
    "key, symbol, feature, feature_version, config::text, fingerprint, hash_method, source_digest, path, rows, "
    "file_size_bytes, content_digest, start_ts, end_ts, compute_seconds, library_versions, state, attempt, "
    "created_ts, condemned_ts, verified_ts, source"
)
# A restart of Postgres, or somebody who holds the table for long, must not cost a finished computation.
PUBLISH_WITHIN_S = 45.0
_GROUPS = {"symbol", "feature"}


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a published file.

    ``fenced`` says that the file stayed out, because its claim was no longer the
    current one or another file answers already; ``live_path`` is the file that
    answers for the key now, if any. The lock's times are the whole transaction's,
    shared by all files in it; what the calls took beyond holding the lock counts as
    waiting, round trips included.
    """

    key: str
    fenced: bool
    live_path: str | None
    lock_wait_s: float = field(default=0.0, compare=False)
    lock_hold_s: float = field(default=0.0, compare=False)


class Manifest:
    """The manifest's statements, one method each; every method may raise ``ManifestUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = {name: text.replace("{columns}", _COLUMNS) for name, text in statements("manifest").items()}

    def find_live(self, key: str) -> Locator | None:
        """Return where the live entry of ``key`` lies, or None."""
        rows = self._database.query(self._sql["find_live"], {"key": key})
        return Locator(*rows[0]) if rows else None

    def find_live_many(self, keys: Sequence[str]) -> dict[str, Locator]:
        """Return the live entries among ``keys``, in one round trip."""
        rows = self._database.query(self._sql["find_live_many"], {"keys": list(keys)})
        return {row[0]: Locator(*row) for row in rows}

    def find_entry(self, key: str) -> Entry | None:
        """Return the row of ``key`` in whatever state it is, or None."""
        rows = self._database.query(self._sql["find_entry"], {"key": key})
        return _entry(rows[0]) if rows else None

    def find_live_entries(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the whole rows of the live entries among ``keys``, in one round trip."""
        rows = self._database.query(self._sql["find_live_entries"], {"keys": list(keys)})
        return {row[0]: _entry(row) for row in rows}

    def find_by_prefix(self, prefix: str, *, limit: int = 20) -> list[Entry]:
        """Return the rows whose key starts with ``prefix``, in the order of their keys."""
        bounds = {"low": prefix, "high": prefix + "g", "limit": limit}  # keys are hex: "g" follows every digit
        return [_entry(row) for row in self._database.query(self._sql["find_by_prefix"], bounds)]

    def list_entries(
        self,
        *,
        symbol: str | None = None,
        feature: str | None = None,
        state: EntryState | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Return rows, newest first."""
        wanted = {"symbol": symbol, "feature": feature, "state": state, "limit": limit}
        return [_entry(row) for row in self._database.query(self._sql["list_entries"], wanted)]

    def nearest_entries(self, parts: KeyParts, *, limit: int = 200) -> list[Entry]:
        """Return rows of the same feature, those of the same symbol first, newest first."""
        wanted = {"feature": parts.feature, "symbol": parts.symbol, "limit": limit}
        return [_entry(row) for row in self._database.query(self._sql["nearest_entries"], wanted)]

    def other_source(self, feature: str, feature_version: str, source_digest: str, source_format: str) -> Entry | None:
        """Return an entry of this version whose source has another digest of the given format, if there is one."""
        wanted = {"feature": feature, "feature_version": feature_version, "source_digest": source_digest}
        rows = self._database.query(self._sql["other_source"], {**wanted, "source_format": source_format})
        return _entry(rows[0]) if rows else None

    def publish(self, offers: Iterable[tuple[NewEntry, Claim]]) -> dict[str, Published]:
        """Insert rows for files that are durable, if their claims still hold, and end their jobs, in one transaction.

        The files must be complete, fsynced and under their final names: once the row
        is committed, any reader on any host may open them. Safe to repeat. Publishers
        that come at once share transactions: see migration 0004.
        """
        rows = [_offer(entry, claim) for entry, claim in offers]
        wanted = {"offers": json.dumps(rows)}
        began = time.monotonic()
        outcome = self._database.transact(self._sql["publish"], wanted, tries=25, total_s=PUBLISH_WITHIN_S)
        while not outcome:
            if time.monotonic() - began > PUBLISH_WITHIN_S or deadline.is_due():
                raise ManifestBusy("publishing", f"it was others' turn for {PUBLISH_WITHIN_S:g} s")
            outcome = self._database.transact(self._sql["settle"], wanted, tries=25, total_s=PUBLISH_WITHIN_S)
        waited_s = time.monotonic() - began
        offered = {row["key"]: row["path"] for row in rows}
        return {
            key: Published(key, live_path != offered[key], live_path, max(0.0, waited_s - held_s), held_s)
            for key, live_path, held_s in outcome
        }

    def quarantine(self, key: str, path: str) -> bool:
        """Hide an entry because its file is wrong; return whether this call did it.

        A row that points to another file by now is left alone.
        """
        return bool(self._database.transact(self._sql["quarantine"], {"key": key, "path": path}))

    def condemn(self, *, key: str | None = None, symbol: str | None = None, feature: str | None = None) -> int:
        """Hide all live entries that fit every given condition, and return how many."""
        wanted = {"key": key, "symbol": symbol, "feature": feature}
        return len(self._database.transact(self._sql["condemn"], wanted))

    def revive(self, key: str, *, youngest_s: float) -> Locator | None:
        """Take a condemned entry back unless it was condemned more than ``youngest_s`` ago, when it may be reaped any moment."""
        rows = self._database.transact(self._sql["revive"], {"key": key, "youngest_s": youngest_s})
        return Locator(*rows[0]) if rows else None

    def count_by_state(self) -> dict[EntryState, tuple[int, int]]:
        """Return entries and bytes by state."""
        return {
            EntryState(state): (n, int(size)) for state, n, size in self._database.query(self._sql["count_by_state"])
        }

    def totals_by(self, column: str, *, limit: int = 1000) -> dict[str, tuple[int, int]]:
        """Return live entries and bytes by ``symbol`` or ``feature``, the largest first."""
        if column not in _GROUPS:
            raise ValueError(f"cannot group by {column!r}: one of {sorted(_GROUPS)}")
        rows = self._database.query(self._sql["totals_by"].replace("{column}", column), {"limit": limit})
        return {name: (n, int(size)) for name, n, size in rows}

    def usage_of(self, key: str) -> tuple[int, datetime] | None:
        """Return hits and last access of an entry as far as they were flushed, or None when it was not used yet."""
        rows = self._database.query(self._sql["usage_of"], {"key": key})
        return (int(rows[0][0]), rows[0][1]) if rows else None

    def expected_seconds(self, feature: str) -> float | None:
        """Return the median of the last computations of ``feature``, or None when there were none."""
        return self._database.query(self._sql["expected_seconds"], {"feature": feature})[0][0]  # type: ignore[no-any-return]

    def store_identity(self) -> tuple[str, int]:
        """Return the store's id and the format of its layout."""
        rows = self._database.query(self._sql["store_identity"])
        return str(rows[0][0]), int(rows[0][1])


def _offer(entry: NewEntry, claim: Claim) -> Mapping[str, Any]:
    return {
        "key": entry.key,
        "symbol": entry.parts.symbol,
        "feature": entry.parts.feature,
        "feature_version": entry.parts.feature_version,
        "config": entry.parts.config,
        "fingerprint": entry.parts.fingerprint,
        "hash_method": entry.hash_method,
        "source_digest": entry.source_digest,
        "source": entry.source,
        "path": entry.path,
        "start_ts": entry.start_ts.isoformat() if entry.start_ts else None,
        "end_ts": entry.end_ts.isoformat() if entry.end_ts else None,
        "rows": entry.rows,
        "file_size_bytes": entry.file_size_bytes,
        "content_digest": entry.content_digest,
        "compute_seconds": entry.compute_seconds,
        "library_versions": entry.library_versions,
        "attempt": claim.attempt,
        "owner": claim.owner,
    }


def _entry(row: Row) -> Entry:
    key, symbol, feature, version, config, fingerprint, method, source_digest, *rest = row
    (
        path,
        rows,
        size,
        content_digest,
        start,
        end,
        seconds,
        libraries,
        state,
        attempt,
        created,
        condemned,
        verified,
        source,
    ) = rest
    return Entry(
        key=key,
        parts=KeyParts(symbol, feature, version, config, fingerprint),
        hash_method=HashMethod(method),
        source_digest=source_digest,
        path=path,
        rows=rows,
        file_size_bytes=size,
        content_digest=content_digest,
        start_ts=start,
        end_ts=end,
        compute_seconds=seconds,
        library_versions=libraries,
        state=EntryState(state),
        attempt=attempt,
        created_ts=created,
        condemned_ts=condemned,
        verified_ts=verified,
        source=source,
    )
