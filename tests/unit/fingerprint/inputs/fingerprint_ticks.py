"""What the tests of fingerprints share: a small session of ticks, and the shortest way to identify it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from fstore.fingerprint.identification import Identified, identify
from fstore.model import ParquetSource

HOUR_AGO = time.time() - 3600


def ticks(rows: int = 5000) -> pd.DataFrame:
    made = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "price": made.normal(100, 1, rows),
            "size": made.integers(1, 900, rows),
            "side": made.choice(["buy", "sell"], rows),
        },
        index=pd.date_range("2024-01-02 09:30", periods=rows, freq="s", tz="America/New_York", name="time"),
    )


def foreign(frame: pd.DataFrame, path: Path, *, age_s: float = 3600) -> ParquetSource:
    frame.to_parquet(path)
    os.utime(path, (HOUR_AGO, HOUR_AGO))
    return ParquetSource(path)


def of(raw: object, **options: object) -> Identified:
    return identify(raw, threshold_bytes=100_000_000, **options)  # type: ignore[arg-type]
