"""Frames for the fingerprint benchmark, and the raw bytes they consist of."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa


def numeric_frame(size_bytes: int) -> pd.DataFrame:
    """Make quotes: prices walk in quarter ticks, so that files of them compress like real ones."""
    rows = size_bytes // 72
    made = np.random.default_rng(1)
    walk = 4750 + 0.25 * np.cumsum(made.integers(-1, 2, rows, dtype=np.int8), dtype=np.float64)
    columns = {"bid": walk, "ask": walk + 0.25, "last": np.roll(walk, 3)}
    for name in ("bid_size", "ask_size", "volume"):
        columns[name] = made.integers(1, 400, rows).astype(np.float64)
    columns["imbalance"] = made.random(rows)
    columns["order_id"] = 6_411_000_000_000 + np.arange(rows)
    index = pd.DatetimeIndex(np.datetime64("2024-01-02T14:30", "ns") + 137_000 * np.arange(rows), tz="UTC", name="time")
    return pd.DataFrame(columns, index=index)


def string_frame(size_bytes: int) -> pd.DataFrame:
    """Make trades with symbol, venue and a trade id, as pandas' own strings."""
    rows = size_bytes // 60
    made = np.random.default_rng(2)

    def words(choice: list[str]) -> pa.Array:
        codes = pa.array(made.integers(0, len(choice), rows))
        return pa.DictionaryArray.from_arrays(codes, choice).cast(pa.large_string())

    ids = pa.array(np.arange(rows) + 10**11).cast(pa.large_string())
    table = pa.table(
        {
            "symbol": words(["AAPL", "MSFT", "GOOGL", "BRK.B"]),
            "venue": words(["XNAS", "ARCX", "BATS"]),
            "trade": ids,
            "price": made.random(rows),
        }
    )
    return table.to_pandas()


def numpy_buffers(frame: pd.DataFrame) -> list[memoryview]:
    columns = [column.to_numpy() for _, column in frame.items()] + [frame.index.asi8]  # type: ignore[attr-defined]
    return [memoryview(column).cast("B") for column in columns]


def arrow_buffers(table: pa.Table) -> list[memoryview]:
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    # Chunks that were cut from one piece share its memory, which is there once.
    buffers = {buffer.address: buffer for chunk in chunks for buffer in chunk.buffers() if buffer is not None}
    return [memoryview(buffer) for buffer in buffers.values()]
