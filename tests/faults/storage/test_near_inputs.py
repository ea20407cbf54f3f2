"""Raw data that differ by next to nothing: another key, another computation, never the neighbour's numbers."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pandas as pd

from fstore import ParquetSource
from tests.faults.harness.invariants import check_invariants
from tests.faults.rows import row
from tests.sample_features import slow

ROWS = 3000


def ticks() -> pd.DataFrame:
    """Return a day of ticks."""
    rng = np.random.default_rng(39)
    index = pd.DatetimeIndex(np.arange(ROWS) * 10**9 + 1_700_000_000 * 10**9, tz="UTC", name="time")
    price = 100 + rng.integers(-50, 50, ROWS).cumsum() * 0.01
    volume = rng.integers(1, 100, ROWS)
    return pd.DataFrame({"price": price, "volume": volume, "note": ["open", None, "close"] * (ROWS // 3)}, index=index)


def edited(change) -> pd.DataFrame:
    """Return the day with one change."""
    frame = ticks()
    changed = change(frame)
    return frame if changed is None else changed


def one_tick(frame):
    frame.iloc[ROWS // 2, 0] += 0.01


def one_ulp(frame):
    frame.iloc[ROWS // 2, 0] = np.nextafter(frame.iloc[ROWS // 2, 0], np.inf)


def swapped_volumes(frame):
    at = next(i for i in range(ROWS // 2, ROWS) if frame.iloc[i, 1] != frame.iloc[i + 1, 1])
    frame.iloc[at, 1], frame.iloc[at + 1, 1] = frame.iloc[at + 1, 1], frame.iloc[at, 1]


def one_missing(frame):
    frame.iloc[ROWS // 2, 0] = np.nan


def one_nanosecond(frame):
    moved = frame.index.as_unit("ns").asi8.copy()
    moved[ROWS // 2] += 1
    return frame.set_index(pd.DatetimeIndex(moved, tz="UTC", name="time"))


NEIGHBOURS = {
    "one tick": one_tick,
    "one unit in the last place": one_ulp,
    "two volumes swapped": swapped_volumes,
    "one price missing": one_missing,
    "one time a nanosecond later": one_nanosecond,
    "the last row missing": lambda frame: frame.iloc[:-1],
    "the last row twice": lambda frame: pd.concat([frame, frame.iloc[-1:]]),
    "two rows in another order": lambda frame: frame.iloc[[1, 0, *range(2, ROWS)]],
    "volumes as floats": lambda frame: frame.astype({"volume": "float64"}),
    "columns in another order": lambda frame: frame[["volume", "price", "note"]],
    "a column renamed": lambda frame: frame.rename(columns={"price": "Price"}),
    "another time zone": lambda frame: frame.tz_convert("America/New_York"),
    "the index without a name": lambda frame: frame.rename_axis(None),
}


@row(
    39,
    fault="raw data differ by one tick, one bit, one nanosecond, a type or a name",
    promise="another key and a computation of its own; a copy or a touched file is the same",
    seconds=20,
)
def test_row_39_near_identical_inputs(site):
    """Each neighbour is computed, and gets its own numbers, as frame, as ingested file and as anybody's Parquet file."""
    site.worker(concurrency=2)
    frames = {"the day itself": ticks(), **{name: edited(change) for name, change in NEIGHBOURS.items()}}
    keys = set()
    for number, (name, frame) in enumerate(frames.items()):
        config = {"seconds": 0, "rows": ROWS + 5}
        keys.add(site.store._prepare("NEAR", frame, config, slow).key)
        found = site.calls.ask(site.store, "NEAR", frame, config, slow, timeout=30)
        pd.testing.assert_frame_equal(found, frame, check_freq=False, obj=name)
        assert len(keys) == number + 1, f"{name} has the key of another"

    foreign = {name: site.folder / f"{number}.parquet" for number, name in enumerate(frames)}
    ingested = {name: site.folder / f"{number}.ingested.parquet" for number, name in enumerate(frames)}
    for name in ("the day itself", "one tick", "one unit in the last place", "two volumes swapped"):
        frames[name].to_parquet(foreign[name])
        site.store.ingest(frames[name], ingested[name])
        for path in (foreign[name], ingested[name]):
            config = {"seconds": 0, "rows": ROWS + 5}
            # The content is the frame's, so the key is, however the bytes lie in the file.
            assert site.store._prepare("NEAR", ParquetSource(path), config, slow).key in keys
            found = site.calls.ask(site.store, "NEAR", ParquetSource(path), config, slow, timeout=30)
            pd.testing.assert_frame_equal(found, frames[name], check_freq=False, obj=f"{name} in {path.name}")

    day = foreign["the day itself"]
    copy = shutil.copyfile(day, site.folder / "copy.parquet")
    os.utime(day)
    config = {"seconds": 0, "rows": ROWS + 5}
    before = site.sql("SELECT count(*) FROM manifest")
    for path in (day, copy):
        assert site.calls.ask(site.store, "NEAR", ParquetSource(path), config, slow, timeout=30).shape == (ROWS, 3)
    assert site.sql("SELECT count(*) FROM manifest") == before == [(len(frames),)]

    # The file is edited in place, its size and its times kept: what was remembered of it must not answer.
    about = day.stat()
    frames["one tick"].to_parquet(day)
    os.utime(day, ns=(about.st_atime_ns, about.st_mtime_ns))
    found = site.calls.ask(site.store, "NEAR", ParquetSource(day), config, slow, timeout=30)
    pd.testing.assert_frame_equal(found, frames["one tick"], check_freq=False)
    check_invariants(site)
