"""Pinned entries: kept whatever their age and the space, until they are unpinned or invalidated on purpose."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from fstore.errors import InvalidRequest
from fstore.upkeep.collection.policy import Candidate, GarbagePolicy, plan_eviction
from fstore.upkeep.collection.run import run_collection
from tests import sample_features
from tests.conftest import House
from tests.support.commands import fstore
from tests.support.shelf import HOUR, RULES, WEEK, Shelf, key

RAW = pd.DataFrame({"x": [1.0]})


@pytest.fixture
def shelf(house: House) -> Shelf:
    """A store filled by hand."""
    return Shelf(house.store.resources)


def test_neither_age_nor_space_takes_a_pinned_entry(shelf: Shelf) -> None:
    """Expired and far over budget, it stays; others go in its place, for its bytes count."""
    for name in ("pinned", "old", "young"):
        shelf.publish(name, age=10 * WEEK if name != "young" else 3 * HOUR)
    shelf.resources.manifest.pin([key("pinned")])

    report = run_collection(shelf.resources, replace(RULES, max_bytes=1))

    assert [shelf.state(name) for name in ("pinned", "old", "young")] == ["live", "condemned", "condemned"]
    assert report.as_dict()["plan"]["found"]["pinned"] == 1
    shelf.resources.manifest.pin([key("pinned")], wanted=False)
    run_collection(shelf.resources, RULES)
    assert shelf.state("pinned") == "condemned"


def test_one_pinned_after_the_plan_stays(shelf: Shelf) -> None:
    """Each step looks once more: the plan is as old as the look at the last shard."""
    shelf.publish("pinned late", age=10 * WEEK)
    used = shelf.sql("SELECT created_ts, path FROM manifest")
    shelf.resources.manifest.pin([key("pinned late")])

    chosen = [(key("pinned late"), used[0][1], used[0][0])]

    assert shelf.resources.upkeep.condemn_unused(chosen) == set()


def test_one_that_was_condemned_in_the_same_moment_comes_back(shelf: Shelf) -> None:
    """However long ago: the pin is older than the grace, and is as good as a use. One that is invalidated is not."""
    for name in ("pinned", "invalidated"):
        shelf.publish(name, age=10 * WEEK)
        shelf.resources.manifest.pin([key(name)])
        shelf.condemn(name, 30 * HOUR)
    shelf.sql("UPDATE manifest SET withdrawn = true WHERE key = %(key)s RETURNING 1", key=key("invalidated"))
    assert shelf.resources.upkeep.reap([key("pinned")], grace=24 * HOUR) == []

    run_collection(shelf.resources, RULES)

    assert (shelf.state("pinned"), shelf.state("invalidated")) == ("live", None)


def test_what_is_pinned_stays_pinned_when_it_is_computed_anew(house: House) -> None:
    """Invalidating hides it, as a correction must; the new numbers are kept as the old ones were."""
    house.start(concurrency=1)
    ask = house.store.get_or_compute
    ask("S", RAW, {}, sample_features.scaled, timeout=60)
    assert house.store.pin(symbol="S") == 1
    assert house.store.pin(symbol="S", feature=sample_features.scaled) == 0
    assert house.store.invalidate(symbol="S") == 1
    ask("S", RAW, {}, sample_features.scaled, timeout=60)

    entry = house.store.peek("S", RAW, {}, sample_features.scaled)

    assert entry is not None
    assert entry.pinned_ts is not None
    assert house.store.unpin(key=entry.key) == 1
    with pytest.raises(InvalidRequest, match="name a key"):
        house.store.pin()


def test_only_live_entries_are_pinned(shelf: Shelf) -> None:
    """A key that nobody has, and one that is hidden, are no entries that could be kept."""
    shelf.publish("hidden")
    shelf.condemn("hidden", HOUR)
    assert shelf.resources.manifest.pin([key("hidden"), "0" * 64]) == set()


def test_the_commands(house: House, shelf: Shelf) -> None:
    """``pin``, ``ls --pinned``, ``show``, ``unpin``; by key, symbol and feature; nothing named is an error of use."""
    for name in ("AAPL", "MSFT", "GBPUSD"):
        shelf.publish(name)

    assert fstore(house, "pin").code == 2
    assert fstore(house, "pin", "--symbol", "NONE").out.strip() == "no live entry fits"
    assert fstore(house, "pin", "--symbol", "AAPL", "--dry-run", "--json").json["pinned"] == 0
    said = fstore(house, "pin", key("AAPL")[:8], "--json")
    assert (said.code, said.json["pinned"], said.json["entries"][0]["changed"]) == (0, 1, True)
    assert "pinned 2 of 3 entries" in fstore(house, "pin", "--feature", "m:f").out
    assert fstore(house, "unpin", "--symbol", "MSFT", "--json").json["unpinned"] == 1

    listed = fstore(house, "ls", "--pinned", "--json").json["entries"]
    assert {entry["symbol"] for entry in listed} == {"AAPL", "GBPUSD"}
    assert all(entry["pinned_ts"] for entry in listed)
    assert "live, pinned" in fstore(house, "ls", "--wide").out
    assert "pinned_ts" in fstore(house, "show", key("AAPL")).out


def test_the_policy_alone() -> None:
    """A pinned candidate is in no plan, and its bytes count against the budget."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    old = now - timedelta(weeks=9)
    entries = [Candidate(f"{n}", "p", 100, old, old, is_pinned=n < 3) for n in range(5)]
    by_age = plan_eviction(entries, GarbagePolicy(timedelta(weeks=1), timedelta(hours=24)), now=now)
    by_space = plan_eviction(entries, GarbagePolicy(timedelta(weeks=99), timedelta(hours=24), 350, 350), now=now)
    assert [e.candidate.key for e in by_age] == ["3", "4"]
    assert [e.candidate.key for e in by_space] == ["3", "4"]
