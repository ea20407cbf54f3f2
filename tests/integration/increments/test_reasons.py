"""What ``explain`` says of features with many entries: the right reason, however many there are and whoever computed them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from fstore.client.partitions import composition
from fstore.features import registry, resolve_feature
from fstore.features.partitioning import checked_partitioning
from fstore.storage import SMALL
from tests import partitioned_features as features
from tests.conftest import House
from tests.integration.increments.test_random_edits import inline
from tests.integration.increments.test_segments import CONFIG, history

__all__ = ["inline"]

MONTHS = 30
MANY = pd.concat([history(1, start=f"{2020 + at // 12}-{at % 12 + 1:02}-05", seed=at) for at in range(MONTHS)])
OTHER_CATEGORIES = MANY.assign(side=MANY["side"].cat.add_categories(["X"]))
LONG = history(40)
RAW = LONG.loc[:"2024-01-20"]


def why(house: House, raw: pd.DataFrame, feature: Any = features.spread) -> dict[str, int]:
    """Count the reasons that are given."""
    found = house.store.explain("S", raw, CONFIG, feature).partitions
    assert found is not None
    return dict(Counter(each.why.value for each in found.missing))


def declare(monkeypatch: pytest.MonkeyPatch, **reach: object) -> None:
    """Declare another reach of the same version, as an author's edit does."""
    found = resolve_feature(features.spread)
    other = replace(found, partitioning=checked_partitioning(found.name, "day", **reach))
    monkeypatch.setattr(features.spread, registry.MARK, other)
    monkeypatch.setitem(registry._registry, found.name, other)


def test_of_each_of_many_months_the_reason_is_known(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty months were computed of frames without the new category; what nobody looked into is told as that."""
    inline.store.get_or_compute("S", MANY, CONFIG, features.spread)

    assert why(inline, OTHER_CATEGORIES) == {"schema": MONTHS}

    monkeypatch.setattr(composition, "MOST_READ", 10)
    assert why(inline, OTHER_CATEGORIES) == {"schema": 10, "unread": MONTHS - 10}


def test_large_entries_are_not_read_to_say_why(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their index holds the note of what they are made of."""
    raw, feature = history(31, rows=3_300), features.WORLD["spread_std"]
    inline.store.get_or_compute("S", raw, CONFIG, feature)
    (entry,) = inline.store.resources.manifest.list_entries(symbol="S")
    assert entry.file_size_bytes > SMALL
    read: list[str] = []
    right = inline.store.resources.entries.read
    monkeypatch.setattr(inline.store.resources.entries, "read", lambda found: read.append(found.key) or right(found))

    assert why(inline, raw.assign(side=raw["side"].cat.add_categories(["X"])), feature) == {"schema": 31}
    assert read == []


def test_what_other_source_computed_is_not_told_as_copied(inline: House) -> None:
    """A worker copies from entries of its own source alone; a whole month of another one answers as any entry does."""
    inline.store.get_or_compute("S", RAW, CONFIG, features.spread)
    longer = LONG.loc[:"2024-01-21"]
    assert why(inline, longer) == {"new": 1}
    inline.store.resources.database.query("UPDATE manifest SET source_digest = 'another'")

    found = inline.store.explain("S", longer, CONFIG, features.spread).partitions

    assert found is not None and (found.copied, found.hit) == (0, 0)
    assert why(inline, longer) == {"source": 20, "new": 1}
    assert "2024-01-01 to 2024-01-20  20 partitions, of each: other source code of this version" in found.text
    assert why(inline, RAW.iloc[:-12]) == {}, "another month holds all of it"


def test_another_declaration_is_the_reason(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was computed before; a day that nobody computed is new all the same."""
    inline.store.get_or_compute("S", RAW, CONFIG, features.spread)
    inline.store.get_or_compute("OTHER", LONG, CONFIG, features.spread)
    inline.store.get_or_compute("S", LONG, {"window": 7}, features.spread)

    declare(monkeypatch, lookback=9)
    assert why(inline, LONG.loc[:"2024-01-22"]) == {"declaration": 20, "new": 2}
    declare(monkeypatch, lookback=lambda config: config["window"] - 1, segment="week")
    assert why(inline, LONG.loc[:"2024-01-22"]) == {"declaration": 20, "new": 2}


def test_the_nearest_is_found_among_many(inline: House) -> None:
    """An entry that differs in its raw data alone is nearer than three hundred newer ones that differ in more."""
    store = inline.store
    raw = pd.DataFrame({"price": [1.0, 2.0, 3.0]}, index=pd.date_range("2024-01-01", periods=3, tz="UTC"))
    store.get_or_compute("N", raw, {"factor": 2}, "tests.sample_features:scaled")
    store.resources.database.query(
        "INSERT INTO manifest SELECT (jsonb_populate_record(m, jsonb_build_object('key', md5(n::text) || md5(n::text), "
        "'config', jsonb_build_object('factor', 1000 + n), 'fingerprint', 'b3m2:' || n, 'created_ts', now()))).* "
        "FROM manifest m, generate_series(1, 300) AS n WHERE m.symbol = 'N'"
    )

    found = store.explain("N", raw + 1, {"factor": 2}, "tests.sample_features:scaled").nearest

    assert found is not None and found.differs_in == ("fingerprint",)
