"""What is put together from copies and single days is, bit for bit, what computing all of it gives."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore.features.partitioning import Declaration, Reach, ReachKind
from fstore.increments import data, naming
from fstore.increments.execution import whole_result
from fstore.results.codec import decode_result
from fstore.results.likeness import frame_difference, table_difference
from tests.unit.increments import partition_world as world
from tests.unit.increments.partition_world import partition_declared

ZONES = ("America/New_York", "UTC", None, "Africa/Cairo", "America/Santiago")
FIRST_SEED = int(os.environ.get("FSTORE_FUZZ_SEED", "100"))
WINDOWS = ({"window": 3}, {"window": 5})


def wrong_answers(edits: int, seed: int, *, features: tuple[str, ...] = tuple(world.FEATURES)) -> list[str]:
    """Edit data again and again, ask the store after each edit, and list the answers that are not those of a whole compute."""
    random_, rng = random.Random(seed), np.random.default_rng(seed)
    faults: list[str] = []
    computed = total = 0
    for at in range(edits):
        if at % 25 == 0:
            store, zone = world.MemoryStore(), ZONES[(at // 25 + seed) % len(ZONES)]
            raw = world.ticks(random_.randrange(3, 10), zone, rng)
            name = features[(at // 25) % len(features)]
        func, config = world.FEATURES[name][0], random_.choice(WINDOWS)
        declared = _sometimes_shorter(world.declared(name, config), random_)
        answer, planned = store.ask(name, func, world.as_given(raw, random_), config, declared)
        whole = whole_result(func, raw, lambda config=config: dict(config), declared)  # type: ignore[misc]
        fault = table_difference(whole, answer) or frame_difference(decode_result(whole), decode_result(answer))
        if fault:
            faults.append(f"edit {at} of {name}: {fault}")
        computed, total = computed + len(planned.missing), total + planned.total
        raw = world.edited(raw, random_, rng)
        if len(raw) > 60:
            raw = raw.iloc[-40:]
    assert computed < 0.8 * total or features != tuple(world.FEATURES), "next to nothing was copied or hit"
    return faults


def _sometimes_shorter(declared: Declaration, random_: random.Random) -> Declaration:
    """As after an author's edit of the declaration alone: the version of the function stays what it was."""
    if random_.random() < 0.2 and declared.lookback.kind is ReachKind.ROWS:
        return replace(declared, lookback=Reach(ReachKind.ROWS, max(declared.lookback.amount - 2, 0)))
    return declared


@pytest.mark.parametrize("seed", range(2))
def test_incremental_equals_full_for_bits_index_and_dtypes(seed: int) -> None:
    """Appended, corrected, late, missing, tied rows; moved starts and ends; zones; other categories."""
    assert wrong_answers(125, seed) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 20))
def test_ten_thousand_random_edits(seed: int) -> None:
    """As above, at length."""
    assert wrong_answers(500, seed) == []


def _without_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    right = naming.named

    def wrong(table: Any, declared: Any, windows: Any, **how: Any) -> Any:
        parts = right(table, declared, [replace(w, low=w.at, high=w.at) for w in windows], **how)
        return [replace(part, window=window) for part, window in zip(parts, windows, strict=True)]

    monkeypatch.setattr(data, "named", wrong)


def _without_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    right = naming.named
    nothing = Reach(ReachKind.ROWS, 0)

    def wrong(table: Any, declared: Any, windows: Any, **how: Any) -> Any:
        return right(table, replace(declared, lookback=nothing, lookahead=nothing), windows, **how)

    monkeypatch.setattr(data, "named", wrong)


def _copy_by_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy a day from a relative because it is called the same."""
    right = naming.named

    def wrong(*given: Any, **how: Any) -> Any:
        return [replace(part, name=part.label.encode().ljust(32)) for part in right(*given, **how)]

    monkeypatch.setattr(data, "named", wrong)


def _without_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of two configs are relatives."""
    right = naming.series_of
    monkeypatch.setattr(world, "series_of", lambda parts, declared: right(replace(parts, config=""), declared))


def _without_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names commit to bounds and declaration alone."""
    right = naming.named

    def wrong(table: Any, *given: Any, **how: Any) -> Any:
        return right(
            replace(table, partitions=tuple(replace(p, digest=bytes(32)) for p in table.partitions)), *given, **how
        )

    monkeypatch.setattr(data, "named", wrong)


@pytest.mark.parametrize(
    ("mutation", "features"),
    [
        (_without_neighbours, ("spread_mean", "forward", "previous_close")),
        (_without_reach, ("spread_std", "spread_mean")),
        (_copy_by_label, ("spread_mean",)),
        (_without_config, ("scaled",)),
        (_without_digests, ("spread_mean",)),
    ],
)
def test_the_property_notices_keys_that_commit_to_too_little(
    mutation: Any, features: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product is broken in one way at a time; the test above must see it."""
    mutation(monkeypatch)

    assert wrong_answers(75, 1, features=features)


@pytest.mark.parametrize("rows", [46_800, 46_801])
def test_a_partition_does_not_depend_on_how_long_the_data_are(rows: int) -> None:
    """``DataFrame.dot`` gives other bits by memory layout, so a window lies in memory of its own."""
    rng = np.random.default_rng(5)
    index = pd.date_range("2024-01-01", periods=46_801, freq="2min", tz="UTC")
    raw = pd.DataFrame(rng.normal(size=(len(index), 4)), index, columns=list("abcd"))
    weights = pd.DataFrame({"mix": rng.normal(size=4)}, index=list("abcd"))
    declared = partition_declared("day", lookback=10)

    def func(raw: Any, config: Any) -> Any:
        return raw.dot(weights)

    days = decode_result(whole_result(func, raw.iloc[:rows], dict, declared)).iloc[: 64 * 720]
    each = [func(raw.iloc[max(at - 10, 0) : at + 720].copy(), {}).iloc[min(at, 10) :] for at in range(0, 64 * 720, 720)]

    assert days.equals(pd.concat(each))
