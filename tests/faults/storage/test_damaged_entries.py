"""Files that rot, shrink or vanish behind their rows, while workers and trainers go on: never other numbers."""

from __future__ import annotations

import random

import pytest

from fstore.errors import EntryCorrupt
from fstore.model import EntryState
from fstore.upkeep import api as upkeep
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, Site
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.waiting import eventually


class Shelved:
    """One entry after another that a worker computed, and ways to damage its file."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.config = {"factor": 1}
        site.worker()

    def publish(self):
        """Have a new entry computed, and return its row."""
        self.config = {"factor": self.config["factor"] + 1}
        self.ask()
        return self.entry()

    def ask(self):
        """Ask for the entry; what comes is right."""
        frame = self.site.ask(self.config, scaled, timeout=30)
        assert frame.equals(RAW * self.config["factor"])

    def entry(self):
        """Return the entry's row as it is now, None when it is not live."""
        return self.site.store.peek("ROW", RAW, self.config, scaled)

    def damage(self, entry, change) -> None:
        """Change the bytes of a published file."""
        path = self.site.root / entry.path
        path.chmod(0o640)
        path.write_bytes(change(path.read_bytes()))

    def is_replaced(self, entry) -> bool:
        """Tell whether another file answers for the key, and the wrong one is out of the way."""
        found = self.entry()
        gone = not (self.site.root / entry.path).exists()
        return found is not None and found.state is EntryState.LIVE and found.path != entry.path and gone


@pytest.fixture
def shelved(site):
    return Shelved(site)


def flipped(at: int, bit: int):
    """Return a change that flips one bit."""

    def flip(data: bytes) -> bytes:
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]

    return flip


@row(
    29,
    fault="a bit of a cached file flips, in a page or in the footer",
    promise="noticed at every byte, quarantined, computed again; by readers and by the sweep",
    seconds=12,
)
def test_row_29_flipped_bit(shelved):
    """No byte can change unnoticed; whoever reads it next gets right numbers from a new file, and a sweep repairs it unasked."""
    site, rng = shelved.site, random.Random(29)
    entry = shelved.publish()
    path = site.root / entry.path
    found = site.store.resources.manifest.find_live(entry.key)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        shelved.damage(entry, lambda _, at=at: flipped(at, rng.randrange(8))(whole))
        with pytest.raises(EntryCorrupt):
            site.store.resources.entries.read(found)
    shelved.damage(entry, lambda _: whole)

    for part in (0.0, 0.2, 0.5, 0.8, 0.95, 1.0):
        entry = shelved.publish()
        shelved.damage(entry, flipped(int((entry.file_size_bytes - 1) * part), rng.randrange(8)))
        shelved.ask()
        assert shelved.is_replaced(entry)

    entry = shelved.publish()
    shelved.damage(entry, flipped(entry.file_size_bytes // 2, 3))
    report = upkeep.sweep_integrity(site.store.resources)
    assert report["quarantined"] == 1
    eventually(lambda: shelved.is_replaced(entry) or shelved.ask(), seconds=30, what="the entry to be computed again")
    assert site.store.get_cache_stats()["corrupt_detected"] == 7
    check_invariants(site)


@row(
    30,
    fault="a file is truncated, or missing, behind its row",
    promise="a miss, computed again, and the row names the new file",
    seconds=10,
)
@pytest.mark.parametrize(
    "change",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-1], None],
    ids=["half", "empty", "one byte short", "missing"],
)
def test_row_30_truncated_or_missing_file(shelved, change):
    """Many callers find the file wrong at once: all get right numbers, and it is computed again once."""
    site = shelved.site
    config = {"seconds": 0.2, "rows": 7, "marks": site.marks("damaged", most=2)}
    site.ask(config)
    entry = site.store.resources.manifest.find_live(site.key(config))
    if change is None:
        (site.root / entry.path).unlink()
    else:
        shelved.damage(entry, change)

    answers = [site.asking(config, timeout=30) for _ in range(8)]

    assert all(answer.answered().equals(RAW.head(7)) for answer in answers)
    found = site.store.resources.manifest.find_live(entry.key)
    assert found is not None
    assert found.path != entry.path
    assert len(site.starts("damaged")) == 2
    check_invariants(site)
