"""Upkeep and reads over a store that is no folder: the interface is all they know."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fstore.entries import read_entry
from fstore.upkeep.collection.report import GarbageReport
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.sweep import IntegrityReport, run_sweep
from tests.memory_storage import Objects, memory_storage
from tests.support.shelf import HOUR, RULES, WEEK, Shelf, key


class MemoryShelf(Shelf):
    """A shelf whose files are objects in memory."""

    objects: Objects

    def age_file(self, path: str, age: timedelta) -> None:
        """Make an object older."""
        data, at = self.objects.held[path]
        self.objects.held[path] = data, at - int(age.total_seconds() * 1e9)


@pytest.fixture
def shelf(house):
    objects = Objects()
    storage = memory_storage(objects)
    storage.entries.create(house.store.resources.manifest.store_identity()[0])
    made = MemoryShelf(replace(house.store.resources, entries=storage.entries, staging=storage.staging))
    made.objects = objects
    return made


def test_a_collection_needs_no_folder(shelf):
    """What is used stays, the rest goes in its order, by the store's own clock."""
    kept = shelf.publish("kept", age=10 * WEEK, unused=2 * HOUR)
    expired = shelf.publish("expired", age=10 * WEEK)
    shelf.publish("due", age=10 * WEEK)
    shelf.condemn("due", 30 * HOUR)
    lost = shelf.publish("lost", age=WEEK)
    shelf.resources.entries.delete(lost.path)
    orphan, young = shelf.write("orphan"), shelf.write("young")
    shelf.age_file(orphan.path, 30 * HOUR)
    staged = shelf.resources.staging.write(key("raw"), shelf.resources.entries.read(kept))
    shelf.age_file(staged, 30 * HOUR)

    report = run_collection(shelf.resources, RULES)

    assert isinstance(report, GarbageReport)
    assert report.faults == []
    assert set(shelf.objects.held) == {"STORE_ID", kept.path, expired.path, young.path}
    states = {name: shelf.state(name) for name in ("kept", "expired", "due", "lost")}
    assert states == {"kept": "live", "expired": "condemned", "due": None, "lost": "quarantined"}


def test_a_sweep_and_a_read_quarantine_there_too(shelf):
    """A wrong object leaves its place, and its row is hidden."""
    swept, read = shelf.publish("swept"), shelf.publish("read")
    for found in (swept, read):
        shelf.objects.put(found.path, b"rot")

    assert read_entry(shelf.resources, read) is None
    report = run_sweep(shelf.resources)

    assert isinstance(report, IntegrityReport)
    assert [(fault.path, str(fault.kind)) for fault in report.faults] == [(swept.path, "size")]
    assert {shelf.state(name) for name in ("swept", "read")} == {"quarantined"}
    assert {path.partition("/")[0] for path in shelf.objects.held} == {"STORE_ID", "quarantine"}


@pytest.mark.parametrize("act", [run_collection, run_sweep])
def test_an_outage_hides_no_row(shelf, act):
    """While the store is out of reach nothing is taken for lost or wrong."""
    found = shelf.publish("kept", age=10 * WEEK, unused=2 * HOUR)
    shelf.objects.fault = "503"

    with pytest.raises(Exception, match="503"):
        act(shelf.resources)
    with pytest.raises(Exception, match="503"):
        read_entry(shelf.resources, found)

    shelf.objects.fault = None
    assert shelf.state("kept") == "live"
    assert read_entry(shelf.resources, found).num_rows == 3
