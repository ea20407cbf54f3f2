"""What is served is what was written: a file that rots, shrinks or disappears is a miss and a recompute, never other numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from fstore.errors import EntryCorrupt
from fstore.model import EntryState
from tests import sample_features
from tests.conftest import House
from tests.waiting import eventually

_case = itertools.count()


def entry_of(house: House, raw: pd.DataFrame):
    """Publish an entry of its own and return its row."""
    config = {"factor": 2, "case": next(_case)}
    house.store.get_or_compute("ROT", raw, config, sample_features.scaled, timeout=30)
    return config, house.store.peek("ROT", raw, config, sample_features.scaled)


def raw_of(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"price": np.random.default_rng(rows).normal(100, 1, rows)})


def rewrite(path, change) -> None:
    """Change a published file behind its row, as a failing disk would."""
    path.chmod(0o640)
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data))


def is_counted(house: House, before: int) -> bool:
    """Return whether damage was counted; notes whose answer is late on a busy machine are sent, and counted, again."""
    return house.store.get_cache_stats()["corrupt_detected"] > before


def flipped(position: float):
    def flip(data: bytearray) -> bytes:
        data[min(int(len(data) * position), len(data) - 1)] ^= 0x04
        return bytes(data)

    return flip


DAMAGE = {
    "a bit in the first page": flipped(0.1),
    "a bit in the middle": flipped(0.5),
    "a bit in the footer": flipped(0.97),
    "a bit in the last byte": flipped(1.0),
    "half of it": lambda data: bytes(data[: len(data) // 2]),
    "nothing left": lambda data: b"",
    "one byte more": lambda data: bytes(data) + b"\0",
    "zeros of the same size": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_never_served(staffed, damage):
    """The next caller gets right numbers; the damage is counted, and the file kept aside for a look."""
    raw = raw_of(500)
    config, entry = entry_of(staffed, raw)
    before = staffed.store.get_cache_stats()["corrupt_detected"]
    rewrite(staffed.root / entry.path, DAMAGE[damage])

    found = staffed.store.get_or_compute("ROT", raw, config, sample_features.scaled, timeout=30)

    assert found.equals(raw * 2)
    again = staffed.store.peek("ROT", raw, config, sample_features.scaled)
    assert again.state is EntryState.LIVE
    assert again.path != entry.path
    eventually(lambda: is_counted(staffed, before), seconds=10, what="the damage to be counted")
    assert (staffed.root / "quarantine" / (staffed.root / entry.path).name).exists()
    assert not (staffed.root / entry.path).exists()


def test_a_missing_file_is_a_miss(staffed):
    """A row whose file is gone is hidden, and the result computed again."""
    raw = raw_of(100)
    config, entry = entry_of(staffed, raw)
    before = staffed.store.get_cache_stats()["corrupt_detected"]
    (staffed.root / entry.path).unlink()

    assert staffed.store.get_or_compute("ROT", raw, config, sample_features.scaled, timeout=30).equals(raw * 2)

    eventually(lambda: is_counted(staffed, before), seconds=10, what="the damage to be counted")


def test_another_entrys_file_under_the_name_is_not_served(staffed):
    """A whole, readable file with other numbers is as wrong as a broken one."""
    raw, other = raw_of(100), raw_of(101).head(100)
    config, entry = entry_of(staffed, raw)
    _, impostor = entry_of(staffed, other)
    rewrite(staffed.root / entry.path, lambda _: (staffed.root / impostor.path).read_bytes())

    assert staffed.store.get_or_compute("ROT", raw, config, sample_features.scaled, timeout=30).equals(raw * 2)


def test_a_file_too_large_for_one_thread_is_verified_too(staffed):
    """Every byte counts in files of several megabytes as well."""
    raw = raw_of(600_000)
    config, entry = entry_of(staffed, raw)
    assert entry.file_size_bytes > 2 << 20
    rewrite(staffed.root / entry.path, flipped(0.7))

    assert staffed.store.get_or_compute("ROT", raw, config, sample_features.scaled, timeout=60).equals(raw * 2)


def test_published_files_cannot_be_written_by_accident(staffed):
    """They are read-only from the moment they have a name."""
    _, entry = entry_of(staffed, raw_of(10))
    assert (staffed.root / entry.path).stat().st_mode & 0o777 == 0o440


def test_many_callers_of_a_rotten_entry_compute_it_once(staffed, tmp_path):
    """Whoever notices first hides it; the others wait for the new one."""
    from functools import partial

    from tests.trainers import crowd

    raw = raw_of(50)
    config = {"rows": 5, "seconds": 0.5, "marks": str(tmp_path / "marks")}
    ask = partial(fetch, raw=raw, config=config)
    ask(staffed.store)
    entry = staffed.store.peek("ROT", raw, config, sample_features.slow)
    before = staffed.store.get_cache_stats()["corrupt_detected"]
    rewrite(staffed.root / entry.path, flipped(0.5))

    outcomes = crowd(staffed.environment, ask, processes=5, threads=4)

    assert [outcome.error for outcome in outcomes] == [None] * 20
    assert all(outcome.value.equals(raw.head(5)) for outcome in outcomes)
    assert len(list((tmp_path / "marks").iterdir())) == 2
    eventually(lambda: is_counted(staffed, before), seconds=10, what="the damage to be counted")


def fetch(store, raw, config):
    return store.get_or_compute("ROT", raw, config, sample_features.slow, timeout=60)


def test_loading_an_answer_whose_file_rotted_hides_the_entry(staffed, tmp_path):
    """``load`` verifies like every read: a typed error, and the next request computes anew."""
    raw = raw_of(23)
    config = {"rows": 5, "seconds": 0}
    fetch(staffed.store, raw, config)
    entry = staffed.store.peek("ROT", raw, config, sample_features.slow)
    rewrite(staffed.root / entry.path, flipped(0.5))

    with pytest.raises(EntryCorrupt, match="ask for it again"):
        staffed.store.load({"key": entry.key})

    assert staffed.store.peek("ROT", raw, config, sample_features.slow) is None
    assert fetch(staffed.store, raw, config).equals(raw.head(5))


def condemn_unused(house, entry) -> None:
    """Hide an entry as a collection hides one that nobody used."""
    (hidden,) = house.store.resources.database.query(
        "UPDATE manifest SET state = 'condemned', condemned_ts = now() WHERE key = %(key)s RETURNING key",
        {"key": entry.key},
    )
    assert hidden == (entry.key,)


def test_a_condemned_entry_is_taken_back_instead_of_computed_again(staffed, tmp_path):
    """Asked for within the grace period, the file that is still there answers, and no job is left behind."""
    raw = raw_of(20)
    config = {"rows": 5, "seconds": 0, "marks": str(tmp_path / "marks")}
    fetch(staffed.store, raw, config)
    entry = staffed.store.peek("ROT", raw, config, sample_features.slow)
    condemn_unused(staffed, entry)
    assert staffed.store.peek("ROT", raw, config, sample_features.slow) is None

    found = fetch(staffed.store, raw, config)

    assert found.equals(raw.head(5))
    assert staffed.store.peek("ROT", raw, config, sample_features.slow).path == entry.path
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert staffed.store.resources.jobs.find(entry.key) is None


def test_an_invalidated_entry_is_computed_anew(staffed, tmp_path):
    """Whoever invalidates does not want the old numbers back, however right their bytes are."""
    raw = raw_of(22)
    config = {"rows": 5, "seconds": 0, "marks": str(tmp_path / "marks")}
    fetch(staffed.store, raw, config)
    entry = staffed.store.peek("ROT", raw, config, sample_features.slow)
    assert staffed.store.invalidate(key=entry.key) == 1
    assert staffed.store.invalidate(key=entry.key) == 0
    assert staffed.store.peek("ROT", raw, config, sample_features.slow) is None

    assert fetch(staffed.store, raw, config).equals(raw.head(5))

    assert staffed.store.peek("ROT", raw, config, sample_features.slow).path != entry.path
    assert len(list((tmp_path / "marks").iterdir())) == 2


def test_a_condemned_entry_with_a_rotten_file_is_computed_again(staffed, tmp_path):
    """Taking back verifies every byte."""
    raw = raw_of(21)
    config = {"rows": 5, "seconds": 0, "marks": str(tmp_path / "marks")}
    fetch(staffed.store, raw, config)
    entry = staffed.store.peek("ROT", raw, config, sample_features.slow)
    condemn_unused(staffed, entry)
    rewrite(staffed.root / entry.path, flipped(0.5))

    assert fetch(staffed.store, raw, config).equals(raw.head(5))

    assert staffed.store.peek("ROT", raw, config, sample_features.slow).path != entry.path
    assert len(list((tmp_path / "marks").iterdir())) == 2
