"""Any order of publishing, alone and together, reading, pinning, condemning, sweeping, collecting, crashing and time passing keeps the promises.

FSTORE_MACHINE_RUNS sets the number of random histories (default 20).
"""

from __future__ import annotations

import os
import random
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fstore.entries import read_entry
from fstore.model import Claim, Locator
from fstore.postgres.upkeep_queries import UpkeepQueries
from fstore.storage import file_of, packed_at
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.sweep import run_sweep
from tests.conftest import build_house
from tests.support.shelf import HOUR, RULES, Shelf, key

NAMES = ("a", "b", "c")
STEPS = {
    UpkeepQueries: (
        "revive_used",
        "reap",
        "condemn_unused",
        "quarantine_lost",
        "mark_verified",
        "working_keys",
        "paths_of",
        "named_packs",
        "unsettled_keys",
        "rows_of_packs",
    ),
    FolderEntries: ("delete", "drop_unfinished", "exists", "keys_in"),
    FolderStaging: ("drop_unless_reserved",),
}


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Kills upkeep after so many of its steps; None lets it run."""

    left: int | None = None

    @classmethod
    def install(cls, patch: pytest.MonkeyPatch) -> None:
        for kind, names in STEPS.items():
            for name in names:
                patch.setattr(kind, name, cls._burning(getattr(kind, name)))

    @classmethod
    def _burning(cls, act):
        def stepping(*args, **kwargs):
            result = act(*args, **kwargs)
            if cls.left is not None:
                cls.left -= 1
                if cls.left < 0:
                    cls.left = None
                    raise Killed
            return result

        return stepping


class Upkeep(RuleBasedStateMachine):
    """A store, the model of what must still be there, and everything that can happen to it."""

    shelf: Shelf

    def __init__(self) -> None:
        super().__init__()
        self.shelf.sql(
            "DELETE FROM manifest; DELETE FROM usage; DELETE FROM pins; DELETE FROM jobs; DELETE FROM upkeep_runs"
        )
        for path in self.shelf.files():
            (self.shelf.root / path).unlink()
        self.writers: dict[str, tuple[Claim, Locator]] = {}
        self.readers: list[tuple[str, Locator]] = []
        self.owed: dict[str, timedelta] = {}  # name -> how long ago it was last published or read; nobody gave it up
        self.pinned: set[str] = set()
        self.damaged: set[str] = set()

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        """A writer takes the job and writes its file, then freezes before it inserts the row."""
        if name in self.writers:
            return
        claim = self.shelf.resources.jobs.claim(key(name), self.shelf.request(name).wire())
        if claim is not None:
            self.writers[name] = (claim, self.shelf.write(name))

    @rule()
    def write_together(self) -> None:
        """A writer takes all jobs that it can have and writes one file, then freezes before it inserts the rows."""
        asked = {name: self.shelf.request(name).wire() for name in NAMES if name not in self.writers}
        claims = {name: self.shelf.resources.jobs.claim(key(name), request) for name, request in asked.items()}
        held = {name: claim for name, claim in claims.items() if claim is not None}
        if held:
            written = self.shelf.write_together(sorted(held))
            self.writers |= {name: (held[name], found) for name, found in zip(sorted(held), written, strict=True)}

    @rule(name=st.sampled_from(NAMES))
    def publish(self, name: str) -> None:
        """A writer does all of its work at once."""
        self.write(name)
        self.insert(name)

    @rule()
    def publish_together(self) -> None:
        """A writer of one file does all of its work at once."""
        self.write_together()
        for name in NAMES:
            self.insert(name)

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def wake_writer(self, data: st.DataObject) -> None:
        """A frozen writer goes on."""
        self.insert(data.draw(st.sampled_from(sorted(self.writers))))

    def insert(self, name: str) -> None:
        """A writer publishes what it wrote into one file, save that whose claim it lost."""
        written = self.leave(name)
        for one in self.shelf.insert_together(written) if written else ():
            assert self.file(written[one][1].path).exists()
            self.owed[one] = timedelta(0)

    def leave(self, name: str) -> dict[str, tuple[Claim, Locator]]:
        """Take the writer of a name away, and return all that it wrote into the same file."""
        if name not in self.writers:
            return {}
        file = file_of(self.writers[name][1].path)
        together = [other for other, (_, found) in self.writers.items() if file_of(found.path) == file]
        return {other: self.writers.pop(other) for other in together}

    def file(self, path: str) -> Path:
        """Return the file of an entry."""
        return self.shelf.root / file_of(path)

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def kill_writer(self, data: st.DataObject) -> None:
        """A frozen writer dies; its job ends."""
        ended = "UPDATE jobs SET state = 'failed', finished_ts = now() - interval '1 minute' WHERE owner = %(owner)s"
        for claim, _ in self.leave(data.draw(st.sampled_from(sorted(self.writers)))).values():
            self.shelf.sql(ended, owner=claim.owner)

    @rule(name=st.sampled_from(NAMES))
    def get(self, name: str) -> None:
        """A reader sees the row and reads the file at once."""
        self.look(name)
        self.read(-1)

    @rule(name=st.sampled_from(NAMES))
    def look(self, name: str) -> None:
        """A reader sees the row and is frozen before it opens the file."""
        found = self.shelf.resources.manifest.find_live(key(name))
        if found is not None:
            self.readers.append((name, found))

    @precondition(lambda self: self.readers)
    @rule()
    def wake_reader(self) -> None:
        """The reader that was frozen first goes on."""
        self.read(0)

    def read(self, which: int) -> None:
        """A reader opens the file: it gets right bytes or a miss."""
        if self.readers:
            name, found = self.readers.pop(which)
            table = read_entry(self.shelf.resources, found)
            if table is not None:
                assert table.column("name").to_pylist() == [name] * 3
                if name in self.owed:
                    self.owed[name] = timedelta(0)
            elif self.is_live_at(name, found.path):
                raise AssertionError("a live entry was not served")

    @rule(name=st.sampled_from(NAMES))
    def invalidate(self, name: str) -> None:
        """Somebody gives the entry up."""
        self.shelf.resources.manifest.condemn(key=key(name))
        self.owed.pop(name, None)

    @rule(name=st.sampled_from(NAMES))
    def revive(self, name: str) -> None:
        """A request takes a condemned entry back."""
        self.shelf.resources.manifest.revive(key(name), youngest_s=RULES.grace.total_seconds() / 2)

    @rule(name=st.sampled_from(NAMES), wanted=st.booleans())
    def pin(self, name: str, wanted: bool) -> None:
        """Somebody wants a live entry kept, or no longer."""
        live = self.shelf.state(name) == "live"
        self.shelf.resources.manifest.pin([key(name)], wanted=wanted)
        if not wanted:
            self.pinned.discard(name)
        elif live:
            self.pinned.add(name)

    @rule(name=st.sampled_from(NAMES), gone=st.booleans())
    def damage(self, name: str, gone: bool) -> None:
        """The disk loses a file, with all that lies in it, or changes the bytes of one entry."""
        found = self.shelf.resources.manifest.find_live(key(name))
        if found is None:
            return
        path, packed = self.file(found.path), packed_at(found.path)
        hurt = {name: found.path}
        if gone:
            path.unlink(missing_ok=True)
            hurt = {other: at for other, at in self.live_paths().items() if file_of(at) == file_of(found.path)}
        elif path.exists():
            data = bytearray(path.read_bytes())
            first = 0 if packed is None else packed.offset
            data[first + random.randrange(found.file_size_bytes)] ^= 1 << random.randrange(8)
            about = path.stat()
            path.chmod(0o640)
            path.write_bytes(data)
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        self.damaged.update(hurt.values())
        for other in hurt:
            self.owed.pop(other, None)

    def live_paths(self) -> dict[str, str]:
        """Return where the live entries of names lie."""
        found = {name: self.shelf.resources.manifest.find_live(key(name)) for name in NAMES}
        return {name: one.path for name, one in found.items() if one is not None}

    @rule(steps=st.one_of(st.none(), st.integers(0, 12)))
    def collect(self, steps: int | None) -> None:
        """Garbage collection runs, to its end or to its death."""
        Fuse.left = steps
        with suppress(Killed):
            run_collection(self.shelf.resources, RULES)
        Fuse.left = None

    @rule(steps=st.one_of(st.none(), st.integers(0, 12)))
    def collect_for_space(self, steps: int | None) -> None:
        """The same with no room at all: what is pinned or was used within the hour stays, and packs of such."""
        Fuse.left = steps
        with suppress(Killed):
            run_collection(self.shelf.resources, replace(RULES, max_bytes=1))
        Fuse.left = None
        gone = [name for name, unused in self.owed.items() if unused >= RULES.guard and name not in self.pinned]
        for name in gone:
            del self.owed[name]

    @rule(steps=st.one_of(st.none(), st.integers(0, 4)))
    def sweep(self, steps: int | None) -> None:
        """An integrity sweep runs, to its end or to its death."""
        Fuse.left = steps
        with suppress(Killed):
            run_sweep(self.shelf.resources, bytes_per_s=None)
        Fuse.left = None

    @rule(hours=st.sampled_from([1, 13, 25, 25, 24 * 20, 24 * 29]))
    def wait(self, hours: int) -> None:
        """Time passes for rows and files alike."""
        self.pass_time(hours * HOUR)

    @invariant()
    def live_entries_have_their_files(self) -> None:
        """What the manifest calls live lies in the folder, unless the disk lost it."""
        for (path,) in self.shelf.sql("SELECT path FROM manifest WHERE state = 'live'"):
            assert self.file(str(path)).exists() or path in self.damaged

    @invariant()
    def what_is_in_use_is_kept(self) -> None:
        """An entry published or read within the retention, or pinned, and not given up, is live."""
        for name, unused in self.owed.items():
            if unused < RULES.retention or name in self.pinned:
                assert self.shelf.state(name) == "live", f"{name}, unused for {unused}"

    def teardown(self) -> None:
        """Once all is quiet, collections leave nothing but live entries and their files."""
        self.shelf.sql("DELETE FROM jobs")
        for _ in range(3):
            run_collection(self.shelf.resources, RULES)
            self.pass_time(timedelta(days=8))
        # Files in quarantine are as old as their change of name, which no test can set back.
        run_collection(self.shelf.resources, replace(RULES, quarantine_kept=timedelta(0)))
        rows = self.shelf.sql("SELECT path, state FROM manifest WHERE state <> 'condemned'")
        assert {state for _, state in rows} <= {"live"}
        hidden = {
            file_of(str(path)) for (path,) in self.shelf.sql("SELECT path FROM manifest WHERE state = 'condemned'")
        }
        live = {file_of(str(path)) for path, _ in rows}
        assert live <= self.shelf.files() <= live | hidden

    def pass_time(self, hours: timedelta) -> None:
        self.shelf.sql(
            "UPDATE manifest SET created_ts = created_ts - %(d)s, condemned_ts = condemned_ts - %(d)s, verified_ts = verified_ts - %(d)s;"
            "UPDATE usage SET last_accessed_ts = last_accessed_ts - %(d)s;"
            "UPDATE jobs SET lease_until = lease_until - %(d)s, finished_ts = finished_ts - %(d)s",
            d=hours,
        )
        for path in self.shelf.files():
            self.shelf.age_file(path, hours)
        self.owed = {name: unused + hours for name, unused in self.owed.items()}

    def is_live_at(self, name: str, path: str) -> bool:
        found = self.shelf.resources.manifest.find_live(key(name))
        return found is not None and found.path == path


def test_every_history_keeps_the_promises(servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No history of crashes, races and damage serves wrong bytes, loses what is in use or leaves anything behind."""
    monkeypatch.setattr(
        "fstore.upkeep.collection.plan.SHARDS_IN_TURN", tuple(sorted({key(name)[:2] for name in NAMES}))
    )
    monkeypatch.setattr("fstore.storage.folder.entries._NOT_YET_VISIBLE_WAITS_S", ())
    Fuse.install(monkeypatch)
    with ExitStack() as stack:
        Upkeep.shelf = Shelf(build_house(servers, tmp_path, stack).store.resources)
        run_state_machine_as_test(
            Upkeep,
            settings=settings(
                max_examples=int(os.environ.get("FSTORE_MACHINE_RUNS", "20")),
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[p for p in Phase if p is not Phase.shrink],
            ),
        )
