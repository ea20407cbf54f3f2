"""Features that benchmarks ask for: what they cost is fstore's share, not theirs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fstore import feature


@feature(version="1")
def unchanged(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return what came in."""
    return raw


@feature(version="1")
def wide(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return ``rows`` x ``columns`` float32 over a time index."""
    rng = np.random.default_rng(7)
    rows, columns = config["rows"], config["columns"]
    values = rng.standard_normal((rows, columns), dtype=np.float32)
    index = pd.date_range("2026-01-02 09:30", periods=rows, freq="s", tz="America/New_York", name="time")
    return pd.DataFrame(values, columns=[f"f{i}" for i in range(columns)], index=index)


@feature(version="1")
def slow(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take ``seconds``, and leave a file in the folder ``starts`` for each time it is begun."""
    tempfile.mkstemp(dir=config["starts"])
    time.sleep(config["seconds"])
    return raw


def ticks(rows: int = 100_000, columns: int = 6, *, seed: int = 0) -> pd.DataFrame:
    """Make raw data: a random walk of float64."""
    rng = np.random.default_rng(seed)
    walk = 100 + rng.standard_normal((rows, columns)).cumsum(axis=0) / 100
    return pd.DataFrame(walk, columns=[f"c{i}" for i in range(columns)])


def day(number: int) -> pd.DataFrame:
    """Make a small frame, 390 minutes x 10, that differs from every other number's."""
    rng = np.random.default_rng(7)
    values = rng.standard_normal((390, 10))
    values[0, 0] = number
    return pd.DataFrame(values, columns=[f"c{i}" for i in range(10)])


@feature(version="1")
def days_of(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return ``rows`` x ``columns`` float64 over ``days`` days."""
    days = config["days"]
    return history(days=days, rows=config["rows"] // days, columns=config["columns"])


def twenty_columns(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return rolling figures of bars, twenty of them, as a feature of some weight does."""
    rolling = {window: raw.rolling(window) for window in (10, 30, 60, 120)}
    found = {}
    for window, rows in rolling.items():
        found[f"mean{window}"] = rows["c0"].mean()
        found[f"std{window}"] = rows["c1"].std()
        found[f"skew{window}"] = rows["c2"].skew()
        found[f"median{window}"] = rows["c3"].median()
        found[f"high{window}"] = rows["c4"].max()
    return pd.DataFrame(found)


by_day = feature(version="1", partition="day", lookback=119)(twenty_columns)


@feature(version="1")
def whole_history(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return as many rows and columns as ``by_day``, in one call."""
    return twenty_columns(raw, config)


@feature(version="1", partition="day")
def daily_means(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return means of the day so far."""
    return raw.expanding().mean()


def history(*, days: int, rows: int, columns: int = 5, first: int = 0) -> pd.DataFrame:
    """Make days of bars, one a minute or more often, of which each has the same values whatever is before it."""
    step = max(86_400 // max(rows, 1_440), 1)
    start = pd.Timestamp("2022-01-03", tz="UTC").timestamp()
    seconds = [start + 86_400 * day + step * np.arange(rows) for day in range(first, first + days)]
    values = [np.random.default_rng(day).standard_normal((rows, columns)) for day in range(first, first + days)]
    index = pd.DatetimeIndex(np.concatenate(seconds).astype("datetime64[s]").astype("datetime64[us]"), name="time")
    prices = 100 + np.concatenate(values).cumsum(axis=0) / 100 if columns > 20 else 100 + np.concatenate(values)
    return pd.DataFrame(prices, index.tz_localize("UTC"), [f"c{i}" for i in range(columns)])
