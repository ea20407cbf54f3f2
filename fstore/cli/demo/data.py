"""The raw data of the demo: files of the user's, or made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.ingest import ingest

LARGEST_FRAME_BYTES = 64_000_000  # larger files stay on disk: twenty trainers would each hold a copy
MIDNIGHT = pd.Timestamp("2026-03-02", tz="UTC")


@dataclass(frozen=True, slots=True)
class DataSet:
    """One Parquet file with the raw data of one symbol.

    ``fits_memory`` says that trainers may also hold it as a frame.
    """

    symbol: str
    path: Path
    fits_memory: bool = True

    def frame(self) -> pd.DataFrame:
        """Read the raw data."""
        try:
            return pd.read_parquet(self.path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InvalidRequest("--data", f"cannot read {self.path} as Parquet: {error}") from error


def given_data(files: Sequence[Path]) -> tuple[DataSet, ...]:
    """Name the symbols of the user's files after the files; they are read where they lie."""
    found: dict[str, DataSet] = {}
    for file in files:
        path = file.expanduser().resolve()
        stem = path.stem.upper()
        symbol = stem.partition("_")[0] or stem
        if symbol in found:
            symbol = f"{stem}-{len(found)}"
        found[symbol] = DataSet(symbol, path, fits_memory=path.stat().st_size <= LARGEST_FRAME_BYTES)
    return tuple(found.values())


def synthetic_data(folder: Path, *, seed: int) -> tuple[DataSet, ...]:
    """Write a morning of trades, three weeks of bars and a day of quotes.

    The same ones for the same seed. The trades are ingested, so that their footer carries their fingerprint; the
    others are foreign Parquet files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    trades, bars, quotes = (folder / f"{name}.parquet" for name in ("trades", "bars", "quotes"))
    ingest(_trades(rng, 40_000), trades)
    _bars(rng, 20_000).to_parquet(bars)
    _quotes(rng, 20_000).to_parquet(quotes)
    return DataSet("DEMO-FUT", trades), DataSet("DEMO-COIN", bars), DataSet("DEMO-FX", quotes)


def _walk(rng: np.random.Generator, length: int, *, start: float, tick: float, moves: float) -> np.ndarray:
    """Walk on a grid of ticks: most of the time the price stands, as real ones do."""
    steps = rng.choice([-1.0, 0.0, 1.0], size=length, p=[moves / 2, 1 - moves, moves / 2])
    return np.round(start + tick * np.cumsum(steps), 8)


def _trades(rng: np.random.Generator, length: int) -> pd.DataFrame:
    waits_ns = rng.exponential(0.35, length) * 1e9
    index = pd.DatetimeIndex(MIDNIGHT.as_unit("ns") + pd.to_timedelta(np.cumsum(waits_ns).astype("int64"), unit="ns"))
    return pd.DataFrame(
        {
            "price": _walk(rng, length, start=4800.0, tick=0.25, moves=0.3),
            "size": 1 + rng.poisson(2.0, length),
            "side": rng.choice(["B", "A"], length),
        },
        index=index.rename("ts_event"),
    )


def _bars(rng: np.random.Generator, length: int) -> pd.DataFrame:
    inside = _walk(rng, length * 10, start=42_000.0, tick=0.5, moves=0.9).reshape(length, 10)
    index = pd.date_range(MIDNIGHT, periods=length, freq="min", name="timestamp", unit="us")
    return pd.DataFrame(
        {
            "open": inside[:, 0],
            "high": inside.max(axis=1),
            "low": inside.min(axis=1),
            "close": inside[:, -1],
            "volume": np.round(rng.gamma(2.0, 40.0, length), 3),
        },
        index=index,
    )


def _quotes(rng: np.random.Generator, length: int) -> pd.DataFrame:
    bid = _walk(rng, length, start=1.09, tick=1e-5, moves=0.6)
    waits_ms = 1 + rng.exponential(4000.0, length).astype("int64")
    index = pd.DatetimeIndex(MIDNIGHT.as_unit("us") + pd.to_timedelta(np.cumsum(waits_ms), unit="ms"))
    return pd.DataFrame(
        {"bid": bid, "ask": np.round(bid + 1e-5 * rng.integers(1, 4, length), 8)}, index=index.rename("timestamp")
    )
