"""Postgres: the manifest, which alone says what is in the store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from fstore.errors import ManifestBusy
from fstore.increments import KnownSegment, SegmentFacts
from fstore.model import Claim, Entry, EntryFacts, EntryState, KeyParts, Locator
from fstore.postgres.pool import Database
from fstore.postgres.queries import ENTRY, LOCATOR, statements
from fstore.records import flat
from fstore.runtime import deadline

# A restart of Postgres, or somebody who holds the table for long, must not cost a finished computation.
PUBLISH_WITHIN_S = 45.0
NO_SEGMENTS: Mapping[str, SegmentFacts] = {}
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
        self._sql = statements("manifest")

    def find_live(self, key: str) -> Locator | None:
        """Return where the live entry of ``key`` lies, or None."""
        rows = self._database.query(self._sql["find_live"], {"key": key}, repeated=True)
        return LOCATOR.read(rows[0]) if rows else None

    def find_live_many(self, keys: Sequence[str]) -> dict[str, Locator]:
        """Return the live entries among ``keys``, in one round trip."""
        rows = self._database.query(self._sql["find_live_many"], {"keys": list(keys)})
        return {row[0]: LOCATOR.read(row) for row in rows}

    def find_entry(self, key: str) -> Entry | None:
        """Return the row of ``key`` in whatever state it is, or None."""
        rows = self._database.query(self._sql["find_entry"], {"key": key})
        return ENTRY.read(rows[0]) if rows else None

    def find_live_entries(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the whole rows of the live entries among ``keys``, in one round trip."""
        rows = self._database.query(self._sql["find_live_entries"], {"keys": list(keys)})
        return {row[0]: ENTRY.read(row) for row in rows}

    def find_by_prefix(self, prefix: str, *, limit: int = 20) -> list[Entry]:
        """Return the rows whose key starts with ``prefix``, in the order of their keys."""
        bounds = {"low": prefix, "high": prefix + "g", "limit": limit}  # keys are hex: "g" follows every digit
        return [ENTRY.read(row) for row in self._database.query(self._sql["find_by_prefix"], bounds)]

    def list_entries(
        self,
        *,
        symbol: str | None = None,
        feature: str | None = None,
        state: EntryState | None = None,
        pinned: bool = False,
        limit: int = 100,
    ) -> list[Entry]:
        """Return rows, newest first; with ``pinned`` only those that are."""
        wanted = {"symbol": symbol, "feature": feature, "state": state, "pinned": pinned, "limit": limit}
        return [ENTRY.read(row) for row in self._database.query(self._sql["list_entries"], wanted)]

    def nearest_entries(self, parts: KeyParts, *, limit: int = 200) -> list[Entry]:
        """Return rows of the same feature, those first that share most parts of the key.

        Of equals the newest comes first.
        """
        wanted = {**asdict(parts), "limit": limit}
        return [ENTRY.read(row) for row in self._database.query(self._sql["nearest_entries"], wanted)]

    def other_source(self, feature: str, feature_version: str, source_digest: str, source_format: str) -> Entry | None:
        """Return an entry of this version whose source has another digest, if there is one.

        A digest of the given format.
        """
        wanted = {"feature": feature, "feature_version": feature_version, "source_digest": source_digest}
        rows = self._database.query(self._sql["other_source"], {**wanted, "source_format": source_format})
        return ENTRY.read(rows[0]) if rows else None

    def find_segments(self, wanted: Sequence[tuple[bytes, str]], *, limit: int = 64) -> list[KnownSegment]:
        """Return live entries that hold partitions of series and periods.

        The latest of each first, and at most so many of each.
        """
        asked = {"series": [each[0].hex() for each in wanted], "periods": [each[1] for each in wanted], "limit": limit}
        rows = self._database.query(self._sql["find_segments"], asked)
        return [KnownSegment(LOCATOR.read(row[3:]), bytes(row[0]), row[1], tuple(map(bytes, row[2]))) for row in rows]

    def find_segment(self, key: str) -> SegmentFacts | None:
        """Return which partitions the entry of ``key`` holds; None if it is no segment."""
        rows = self._database.query(self._sql["find_segment"], {"key": key})
        return SegmentFacts(bytes(rows[0][0]), rows[0][1], tuple(map(bytes, rows[0][2]))) if rows else None

    def segments_of(self, keys: Sequence[str]) -> dict[str, SegmentFacts]:
        """Return, by key, which partitions those entries hold that are segments."""
        rows = self._database.query(self._sql["segments_of"], {"keys": list(keys)})
        return {
            key: SegmentFacts(bytes(series), period, tuple(map(bytes, names))) for key, series, period, names in rows
        }

    def count_segments(self) -> tuple[int, int]:
        """Return how many live entries are segments, and how many partitions they hold."""
        rows = self._database.query(self._sql["count_segments"])
        return int(rows[0][0]), int(rows[0][1])

    def publish(
        self, offers: Iterable[tuple[EntryFacts, Claim]], segments: Mapping[str, SegmentFacts] = NO_SEGMENTS
    ) -> dict[str, Published]:
        """Insert rows for files that are durable, if their claims still hold, and end their jobs.

        All in one transaction. The files must be complete, fsynced and under their final names: once the row is
        committed, any reader on any host may open them. Safe to repeat. Publishers that come at once share
        transactions: see migration 0004. ``segments`` tell, by key, which partitions a file holds; one that was
        copied from an entry which does not answer any more stays out, and its job ends.
        """
        rows = [
            {**flat(facts), "attempt": claim.attempt, "owner": claim.owner, **_said_of(segments.get(facts.key))}
            for facts, claim in offers
        ]
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
        """Hide all live entries that fit every given condition, and return how many.

        A trainer with a role of its own may name a key only; ``NotPermitted`` otherwise.
        """
        wanted = {"key": key, "symbol": symbol, "feature": feature}
        one = key is not None and symbol is None and feature is None
        return len(self._database.transact(self._sql["condemn_one" if one else "condemn"], wanted))

    def pin(self, keys: Sequence[str], *, wanted: bool = True) -> set[str]:
        """Have garbage collection leave live entries alone, or no longer; return the keys that this changed."""
        found = self._database.transact(self._sql["pin"], {"keys": list(keys), "wanted": wanted})
        return {key for (key,) in found}

    def revive(self, key: str, *, youngest_s: float) -> Locator | None:
        """Take a condemned entry back, if that is safe.

        One condemned more than ``youngest_s`` ago may be reaped any moment.
        """
        rows = self._database.transact(self._sql["revive"], {"key": key, "youngest_s": youngest_s})
        return LOCATOR.read(rows[0]) if rows else None

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

    def expected_seconds(self, feature: str) -> float | None:
        """Return the median of the last computations of ``feature``, or None when there were none."""
        return self._database.query(self._sql["expected_seconds"], {"feature": feature})[0][0]  # type: ignore[no-any-return]

    def store_identity(self) -> tuple[str, int]:
        """Return the store's id and the format of its layout."""
        rows = self._database.query(self._sql["store_identity"])
        return str(rows[0][0]), int(rows[0][1])


def _said_of(segment: SegmentFacts | None) -> dict[str, object]:
    if segment is None:
        return {}
    said: dict[str, object] = {
        "series": segment.series.hex(),
        "period": segment.period,
        "names": [name.hex() for name in segment.names],
    }
    if segment.copied is not None:
        said["copied"] = {"key": segment.copied[0], "path": segment.copied[1]}
    return {"segment": said}
