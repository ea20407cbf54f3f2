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
