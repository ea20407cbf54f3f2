"""Features that declare partitions, for tests that ask workers for them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore import feature, local, partitions, sessions
from tests.unit.increments import partition_world as world

Config = Mapping[str, Any]


def _window(config: Config) -> int:
    return int(config["window"]) - 1


@feature(version="1", partition="day", lookback=_window)
def spread(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Mean of the spread over some rows; leaves a mark of each call, if told where."""
    mark(raw, config)
    return (raw["ask"] - raw["bid"]).rolling(config["window"], min_periods=1).mean().to_frame("spread")


@local(version="1", name="own-spread", partition="day", lookback=_window)
def own_spread(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The same, computed by its caller."""
    return spread(raw, config)


@feature(version="1", partition=sessions("day", start="18:00", tz="America/New_York"), lookback=partitions(1))
def close(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Last bid of the session before, kept by every row of a session."""
    return world.previous_close(raw, config)


@feature(version="1", partition="day", lookback="45min", input="arrow", time="time")
def doubled(raw: pa.Table, config: Config) -> pa.Table:
    """Sizes twice over, as a table."""
    return pa.table({"time": raw["time"], "double": pa.compute.multiply(raw["size"], 2)})


@feature(version="1", partition="day")
def failing(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Raise for one day, until a file is there if one is named."""
    mark(raw, config)
    if str(raw.index[0].date()) == config["day"] and not ("until" in config and Path(config["until"]).exists()):
        raise ValueError("no price in row 17")
    return raw[["bid"]]


@feature(version="1", partition="day")
def uneven(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Return another dtype for one day."""
    return raw[["size"]].astype("float64" if str(raw.index[0].date()) == config["day"] else "int64")


@feature(version="1", partition="day", lookback=_window)
def slow(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Take a while for each day, or end the process for one, until a file is there."""
    mark(raw, config)
    if "until" in config and not Path(config["until"]).exists() and str(raw.index[-1].date()) == config["day"]:
        Path(config["until"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(config.get("seconds", 0.0))
    return raw[["bid"]].rolling(config["window"], min_periods=1).mean()


WORLD = {
    name: feature(version="1", **declared)(func)
    for name, (func, declared) in world.FEATURES.items()
    if name != "span_both"  # the function of another
}


def mark(raw: pd.DataFrame, config: Config) -> None:
    """Note, in a folder, the last day of the rows that a call was given."""
    if "marks" in config:
        folder = Path(config["marks"])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{os.getpid()}.txt").open("a", encoding="ascii") as file:
            file.write(f"{raw.index[-1].date()}\n")


def marks(folder: Path) -> list[str]:
    """List the days that were computed, sorted."""
    if not folder.exists():
        return []
    return sorted(day for file in folder.iterdir() for day in file.read_text("ascii").split())
