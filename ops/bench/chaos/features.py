"""The features that a chaos run asks for, their ticks, and what a direct call gives."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from chaos.asks import TICKS_A_DAY, Ask
from chaos.history import Journal
from fstore import feature

FOLDER, ROLE = "FSTORE_CHAOS_HISTORY", "FSTORE_CHAOS_ROLE"
_journals: dict[int, Journal] = {}


def ticks(ask: Ask) -> pd.DataFrame:
    """Make the raw data of a question: a random walk of a few hundred ticks, one of them corrected if it says so."""
    if ask.feature == "days":
        return _days(ask.ticks, ask.edit)
    rng = np.random.default_rng(ask.ticks)
    rows = 400 + ask.ticks % 600
    price = 100 + np.cumsum(rng.normal(0, 0.01, rows))
    if ask.edit:
        price[ask.edit] += 0.01
    index = pd.DatetimeIndex(np.datetime64("2024-01-02T14:30", "ns") + 10**9 * np.arange(rows), tz="UTC", name="time")
    return pd.DataFrame({"price": price, "volume": rng.integers(1, 500, rows).astype("float64")}, index=index)


def config(ask: Ask) -> dict[str, Any]:
    """Return the config of a question."""
    slow = {"seconds": 0.2 + ask.ticks % 8 * 0.4} if ask.feature == "slow" else {}
    return {"window": ask.window, **slow}


def name(ask: Ask) -> str:
    """Return the name by which workers know the feature of a question."""
    return f"{__name__}:{ask.feature}"


def direct(ask: Ask) -> str | None:
    """Return the digest of what a direct call gives, None where it can only fail; of a feature with partitions by its definition."""
    if ask.feature == "days":
        return digest(_day_by_day(ticks(ask), ask.window))
    return digest(_numbers(ticks(ask), ask.window)) if ask.feature in ("quick", "slow") else None


def digest(frame: pd.DataFrame) -> str:
    """Digest values, types, columns and index of a frame, by other means than the store's own."""
    taken = hashlib.blake2b(digest_size=16)
    for label, column in [("", frame.index.to_series()), *frame.items()]:
        taken.update(f"{label}|{column.dtype}|{column.index.name}|{len(column)}|".encode())
        taken.update(np.ascontiguousarray(column.to_numpy(dtype="float64" if label else "int64")).tobytes())
    return taken.hexdigest()


@feature(version="1")
def quick(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take a few milliseconds."""
    _started("quick")
    return _numbers(raw, config["window"])


@feature(version="1")
def slow(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take as long as told, which gives faults the time to strike in the middle."""
    _started("slow")
    time.sleep(config["seconds"])
    return _numbers(raw, config["window"])


@feature(version="1", partition="day", lookback=lambda config: config["window"] - 1)
def days(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take a while for each day, so that faults strike between two of them."""
    _started("days")
    time.sleep(0.01)
    return _numbers(raw, config["window"])


@feature(version="1")
def failing(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Raise."""
    _started("failing")
    raise ValueError("this feature always fails")


@feature(version="1")
def poison(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Kill the worker's child that runs it, as running out of memory does; fail anywhere else."""
    _started("poison")
    if os.environ.get(ROLE) == "worker":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("this feature kills workers only")


def _days(count: int, edit: int) -> pd.DataFrame:
    """Make a history of so many days, each of which is the same in all histories, but for the corrected tick."""
    made = [np.random.default_rng(day).normal(100, 1, (TICKS_A_DAY, 2)) for day in range(count)]
    values = np.concatenate(made)
    values[edit, 0] += 0.01 if edit else 0.0
    hours = np.datetime64("2024-01-02T00:00", "ns") + 3_600 * 10**9 * np.arange(len(values))
    return pd.DataFrame(values, pd.DatetimeIndex(hours, tz="UTC", name="time"), ["price", "volume"])


def _day_by_day(raw: pd.DataFrame, window: int) -> pd.DataFrame:
    """Compute each day from exactly its window, in a frame of its own, and put the days together."""
    found = []
    for first in range(0, len(raw), TICKS_A_DAY):
        low = max(first - window + 1, 0)
        found.append(_numbers(raw.iloc[low : first + TICKS_A_DAY].copy(), window).iloc[first - low :])
    return pd.concat(found)


def _numbers(raw: pd.DataFrame, window: int) -> pd.DataFrame:
    rolling = raw.rolling(window, min_periods=1)
    mean = rolling.mean()
    spread = rolling["price"].max() - rolling["price"].min()
    return pd.DataFrame({"mean": mean["price"], "volume": mean["volume"], "spread": spread})


def _started(feature_name: str) -> None:
    """Leave a record of every start, from whatever process."""
    pid = os.getpid()
    if pid not in _journals:
        _journals[pid] = Journal(os.environ[FOLDER], f"compute-{pid}")
    _journals[pid].write(phase="compute", feature=feature_name, pid=pid)
