"""A store filled by hand, with entries, files and jobs of any age, for tests of upkeep."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
from blake3 import blake3

from fstore.broker.messages import ComputeRequest, RawReference
from fstore.model import Claim, Entry, EntryFacts, HashMethod, KeyParts, Locator
from fstore.resources import Resources
from fstore.storage import result_bytes
from fstore.upkeep.collection.policy import GarbagePolicy

WEEK = timedelta(weeks=1)
HOUR = timedelta(hours=1)
RULES = GarbagePolicy(retention=4 * WEEK, grace=24 * HOUR)


def key(name: str) -> str:
    """Return the key that stands for a name."""
    return blake3(name.encode()).hexdigest()


class Shelf:
    """Puts things into a store, and makes them older."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.root: Path = resources.entries.capabilities.folder
        # Redis is new in every test; its notes of usage count as complete from long ago.
        resources.usage_buffer.known_for(1.0)

    def write(self, name: str, rows: int = 3) -> Locator:
        """Write a file durably under a final name, without a row."""
        table = pa.table({"x": list(range(rows)), "name": [name] * rows})
        stored = self.resources.entries.publish(key(name), table)
        return Locator(key(name), stored.path, rows, stored.file_size_bytes, stored.content_digest)

    def write_together(self, names: Sequence[str]) -> list[Locator]:
        """Write results of some names into one file, without rows."""
        tables = [pa.table({"x": [0, 1, 2], "name": [name] * 3}) for name in names]
        data = [(key(name), result_bytes(table)) for name, table in zip(names, tables, strict=True)]
        return [
            Locator(key(name), one.path, 3, one.file_size_bytes, one.content_digest)
            for name, one in zip(names, self.resources.entries.publish_together(data), strict=True)
        ]

    def claim(self, name: str) -> Claim:
        """Take the right to compute a name."""
        claim = self.resources.jobs.claim(key(name), self.request(name).wire())
        assert claim is not None
        return claim

    def request(self, name: str) -> ComputeRequest:
        """Return a request as a trainer would send it."""
        return ComputeRequest(
            symbol=name,
            feature="m:f",
            raw_data=RawReference(kind="staged", path=f"staging/raw/{name}"),
            key=key(name),
            waits=False,
        )

    def insert(
        self, name: str, claim: Claim, written: Locator, *, source: dict[str, str] | None = None, **changes: object
    ) -> bool:
        """Insert the row of a written file; False when the claim no longer held."""
        new = replace(self.facts(name, written, source=source), **changes)  # type: ignore[arg-type]
        return self.resources.manifest.publish([(new, claim)])[key(name)].live_path == written.path

    def insert_together(self, written: Mapping[str, tuple[Claim, Locator]]) -> set[str]:
        """Insert the rows of several names in one transaction; return those whose claims held."""
        offered = [(self.facts(name, found), claim) for name, (claim, found) in written.items()]
        published = self.resources.manifest.publish(offered)
        return {name for name, (_, found) in written.items() if published[key(name)].live_path == found.path}

    def facts(self, name: str, written: Locator, *, source: dict[str, str] | None = None) -> EntryFacts:
        """Return what the row of a written file is to say."""
        return EntryFacts(
            key=key(name), parts=KeyParts(name, "m:f", "1", "{}", "b3m1:" + "0" * 64), hash_method=HashMethod.FULL,
            source_digest="", path=written.path, rows=written.rows, file_size_bytes=written.file_size_bytes,
            content_digest=written.content_digest, start_ts=None, end_ts=None, compute_seconds=0.1, library_versions={}, source=source,
        )  # fmt: skip

    def publish(
        self, name: str, *, age: timedelta = timedelta(0), unused: timedelta | None = None, rows: int = 3
    ) -> Locator:
        """Publish an entry made ``age`` ago and, if said, last used ``unused`` ago."""
        claim = self.claim(name)
        written = self.write(name, rows)
        assert self.insert(name, claim, written)
        self.age(name, age)
        if unused is not None:
            self.used(name, unused)
        return written

    def age(self, name: str, age: timedelta) -> None:
        """Make an entry and its file older."""
        self.sql(
            "UPDATE manifest SET created_ts = now() - %(age)s, verified_ts = now() - %(age)s WHERE key = %(key)s",
            age=age,
            key=key(name),
        )
        self.age_file(self.entry(name).path, age)

    def age_file(self, path: str, age: timedelta) -> None:
        """Make a file older."""
        about = (self.root / path).stat()
        moment = about.st_mtime - age.total_seconds()
        os.utime(self.root / path, (moment, moment))

    def make_unreadable(self, path: str) -> None:
        """Have every read of a file fail for another reason than its bytes, as a bad sector does."""
        (self.root / path).unlink()
        (self.root / path).mkdir()

    def used(self, name: str, ago: timedelta) -> None:
        """Record that an entry was last used some time ago."""
        self.sql(
            "INSERT INTO usage VALUES (%(key)s, now() - %(ago)s, 1) ON CONFLICT (key) DO UPDATE SET last_accessed_ts = EXCLUDED.last_accessed_ts",
            key=key(name), ago=ago,
        )  # fmt: skip

    def condemn(self, name: str, ago: timedelta) -> None:
        """Condemn an entry some time ago."""
        self.sql(
            "UPDATE manifest SET state = 'condemned', condemned_ts = now() - %(ago)s WHERE key = %(key)s",
            key=key(name),
            ago=ago,
        )

    def state(self, name: str) -> str | None:
        """Return the state of an entry, None when it has no row."""
        rows = self.sql("SELECT state FROM manifest WHERE key = %(key)s", key=key(name))
        return str(rows[0][0]) if rows else None

    def entry(self, name: str) -> Entry:
        """Return the row of a name."""
        found = self.resources.manifest.find_entry(key(name))
        assert found is not None
        return found

    def files(self) -> set[str]:
        """Return all files of the store but its marker."""
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file() and p.name != "STORE_ID"}

    def sql(self, statement: str, **params: object) -> list[tuple[object, ...]]:
        """Run a statement."""
        return list(self.resources.database.query(statement, params))


def frame(rows: int = 5) -> pd.DataFrame:
    """Return a small frame of prices."""
    return pd.DataFrame({"price": [float(i) for i in range(rows)]})
