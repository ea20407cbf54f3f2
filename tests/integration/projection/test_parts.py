"""Parts of results, through a real store: hits, misses, batches, tickets, answers of tasks, and damage."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from fstore import InvalidRequest, Request
from fstore.results import decode_result
from tests import sample_features

ROWS = 120_000
RAW = pd.DataFrame(
    {name: np.random.default_rng(7).normal(size=ROWS) for name in "abcdef"},
    pd.date_range("2024-03-01", periods=ROWS, freq="min", name="time"),
)
BETWEEN = ("2024-03-10", "2024-03-11")
_case = itertools.count()


def case():
    """Return a config that no other test has."""
    return {"factor": 2, "part": next(_case)}


def part_of(frame):
    return frame.loc["2024-03-10":"2024-03-10", ["c", "a"]]


@pytest.mark.parametrize("returns", ["pandas", "arrow"])
def test_a_part_of_a_miss_and_of_a_hit_is_that_part_of_the_whole(staffed, returns):
    """Computed and published whole, under the key of the whole; what is read is the part alone."""
    config, ask = case(), staffed.store.get_or_compute
    wanted = {"columns": ["c", "a"], "between": BETWEEN, "returns": returns}

    miss = ask("PART", RAW, config, sample_features.scaled, **wanted)
    hit = ask("PART", RAW, config, sample_features.scaled, **wanted)
    whole = ask("PART", RAW, config, sample_features.scaled)

    entry = staffed.store.peek("PART", RAW, config, sample_features.scaled)
    assert entry.tail_bytes > 0
    assert entry.rows == ROWS
    for found in (miss, hit):
        frame = found if returns == "pandas" else decode_result(found)
        pd.testing.assert_frame_equal(frame, part_of(whole))
    assert len(hit) == 1_440


def test_batches_tickets_and_answers_take_the_same_words(staffed):
    """And refuse the same; in a batch each request for itself."""
    config, store = case(), staffed.store
    expected = part_of(store.get_or_compute("PART", RAW, config, sample_features.scaled))
    wanted = {"columns": ["c", "a"], "between": BETWEEN}

    requests = [
        Request("PART", RAW, config, sample_features.scaled),
        Request("PART", RAW, case(), sample_features.scaled),
    ]
    for _, frame in store.get_or_compute_many(requests, timeout=40, **wanted):
        pd.testing.assert_frame_equal(frame, expected)
    ticket = store.submit("PART", RAW, config, sample_features.scaled)
    pd.testing.assert_frame_equal(ticket.result(40, **wanted), expected)
    entry = store.peek("PART", RAW, config, sample_features.scaled)
    pd.testing.assert_frame_equal(store.load({"key": entry.key, "path": entry.path}, **wanted), expected)

    for _, error in store.get_or_compute_many(requests, timeout=40, columns=["cc"], errors="return"):
        assert isinstance(error, InvalidRequest)
        assert "'c'" in str(error)
    with pytest.raises(InvalidRequest, match="no pair"):
        store.get_or_compute("PART", RAW, config, sample_features.scaled, between="2024-03-10")
    with pytest.raises(InvalidRequest, match="no list"):
        ticket.result(40, columns="c")


def test_a_damaged_part_is_computed_again_and_never_served(staffed):
    """The entry is quarantined as by a whole read."""
    config, store = case(), staffed.store
    wanted = {"columns": ["c"], "between": BETWEEN}
    expected = store.get_or_compute("PART", RAW, config, sample_features.scaled, **wanted)
    entry = store.peek("PART", RAW, config, sample_features.scaled)
    file = store.settings.path / entry.path
    data = bytearray(file.read_bytes())
    data[-entry.tail_bytes + 5] ^= 1
    file.chmod(0o640)
    file.write_bytes(data)

    again = store.get_or_compute("PART", RAW, config, sample_features.scaled, **wanted)

    pd.testing.assert_frame_equal(again, expected)
    assert store.peek("PART", RAW, config, sample_features.scaled).path != entry.path
