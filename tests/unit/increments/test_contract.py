"""The contract written a second time, in plain pandas and by nothing of the product: both give the same bits, around changes of clocks too."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore.features.partitioning import partitions, sessions
from fstore.increments import cutting
from fstore.increments.execution import whole_result
from fstore.results.codec import decode_result
from fstore.results.likeness import frame_difference
from tests.unit.increments import partition_world as world

ZONES = (
    *("America/New_York", "UTC", None, "Africa/Cairo", "America/Santiago", "America/Havana"),
    *("Asia/Kolkata", "Australia/Lord_Howe"),
)
STARTS = ("00:00", "00:30", "01:30", "02:30", "18:00")
AROUND = ("2024-11-03", "2024-03-10", "2024-04-26", "2024-10-31", "2024-09-08", "2024-04-07", "2024-10-06")
REACHES: tuple[tuple[Any, Any], ...] = (
    *((3, 0), (0, 3), ("90min", "5min"), ("1800min", 0), (25, 25)),
    *((partitions(1), 0), (0, partitions(1)), (partitions(2), partitions(1))),
)


def feature(raw: pd.DataFrame, config: Any) -> pd.DataFrame:
    """What it returns tells where its window began and ended."""
    return pd.DataFrame(
        {
            "mean": raw["bid"].rolling(3, min_periods=1).mean(),
            "next": raw["ask"].shift(-1),
            "rows": np.full(len(raw), len(raw)),
        },
        raw.index,
    )


def bounds(raw: pd.DataFrame, start: str, zone: Any) -> list[Any]:
    """The starts of days: the first of an hour that is repeated, forward from one that is missing."""
    index = raw.index if zone is None else raw.index.tz_convert(zone)
    ends = [index[at].tz_localize(None).normalize() for at in (0, -1)]
    days = pd.date_range(ends[0] - pd.Timedelta(days=2), ends[1] + pd.Timedelta(days=2), freq="D")
    found = days + pd.Timedelta(f"{start}:00")
    if zone is not None:
        found = found.tz_localize(zone, ambiguous=np.full(len(found), True), nonexistent="shift_forward")
    return list(found)


def by_the_contract(raw: pd.DataFrame, reach: tuple[Any, Any], starts: list[Any]) -> pd.DataFrame:
    """Call the function for each window, and keep the rows of the partition."""
    at = raw.index.searchsorted
    filled = [(s, e) for s, e in pairwise(starts) if at(e) > at(s)]
    found = []
    for number, (start, end) in enumerate(filled):
        first, stop = at(start), at(end)
        back, on = reach
        if isinstance(back, int):
            first = max(first - back, 0)
        else:
            is_time = isinstance(back, str)
            first = at(start - pd.Timedelta(back) if is_time else filled[max(number - back.count, 0)][0])
        if isinstance(on, int):
            stop = min(stop + on, len(raw))
        else:
            is_time = isinstance(on, str)
            stop = at(end + pd.Timedelta(on) if is_time else filled[min(number + on.count, len(filled) - 1)][1])
        result = feature(raw.iloc[first:stop].copy(), {})
        found.append(result[(result.index >= start) & (result.index < end)])
    return pd.concat(found)


def ticks(random_: random.Random, rng: np.random.Generator, zone: str | None) -> pd.DataFrame:
    """Four days around a change of clocks, in five minute steps, with gaps and ties, at bounds too."""
    seconds = rng.integers(0, 4 * 288, random_.randrange(1, 120)) * 300
    if random_.random() < 0.5:
        seconds = np.concatenate([seconds, rng.choice(seconds, 5), np.arange(4 * 48) * 1800])
    began = pd.Timestamp(random_.choice(AROUND)) - pd.Timedelta(days=random_.randrange(3))
    index = pd.DatetimeIndex(began + pd.to_timedelta(np.sort(seconds), unit="s"), name="time")
    index = index.as_unit(random_.choice(["ns", "us", "ms", "s"]))
    return world.quotes(index if zone is None else index.tz_localize("UTC").tz_convert(zone), rng)


def differences(trials: int, seed: int) -> list[str]:
    """Compare the product with the second writing, on data of all kinds."""
    random_, rng = random.Random(seed), np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        zone, start, reach = random_.choice(ZONES), random_.choice(STARTS), random_.choice(REACHES)
        raw = ticks(random_, rng, zone)
        by = None if zone is None else random_.choice([None, zone, "America/New_York", "UTC"])
        declared = world.partition_declared(sessions("day", start=start, tz=by), lookback=reach[0], lookahead=reach[1])
        got = decode_result(whole_result(feature, raw, dict, declared))
        if fault := frame_difference(by_the_contract(raw, reach, bounds(raw, start, by or zone)), got):
            found.append(f"{zone} {start} {by} {reach}: {fault}")
    return found


@pytest.mark.parametrize("seed", range(2))
def test_the_product_does_what_the_contract_says(seed: int) -> None:
    """Eight zones, five starts, eight reaches, four units of time."""
    assert differences(60, seed) == []


def test_bounds_that_ignore_a_change_of_clocks_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where wall time is floored by the offset of the first row."""
    right = cutting.instants_of_clock

    def wrong(clock: Any, zone: Any) -> Any:
        return clock + (right(clock[:1], zone) - clock[:1])

    monkeypatch.setattr(cutting, "instants_of_clock", wrong)

    assert differences(60, 0)
