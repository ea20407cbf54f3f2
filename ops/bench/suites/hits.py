"""Times warm hits against bare readers and against what people use today, in turn within one run.

    python ops/bench/hits.py [--quick] [--json] [--check]

A request fingerprints its raw data (100,000 x 6), finds its row, reads and verifies
the file. The peers read the same frame: ``pyarrow.parquet.read_table`` and
``pandas.read_parquet`` the very file, ``joblib.Memory`` by a warm call that hashes the
same raw data, ``diskcache`` by a key. A mapped frame costs its pages when they are
used; that is shown apart, every value of it read once. With ``--quick`` the largest frame has a
tenth of its rows and is not judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import diskcache
import joblib
import pandas as pd
import pyarrow.parquet as pq
from harness.features import ticks, wide
from harness.figures import Figure, Outcome, interleaved, milliseconds
from harness.memory import proportional_bytes
from harness.parts import crew, serve, together
from harness.stand import Stand, open_in_part, stand

from fstore import FeatureStore
from fstore.fingerprint import content_digest

SIZES = ((390, 50), (100_000, 20), (2_000_000, 50))
LARGE_ROWS, LARGE_COLUMNS = SIZES[-1]
HOLDERS = 20


def measure(*, quick: bool) -> Outcome:
    """Time each size, then count the memory of twenty processes that hold the largest frame."""
    figures: list[Figure] = []
    measured: dict[str, Any] = {}
    large = LARGE_ROWS // 10 if quick else LARGE_ROWS
    with stand() as place:
        place.worker(concurrency=1)
        with place.trainer() as plain, place.trainer(tier=True) as tiered:
            for rows, columns in ((min(rows, large), columns) for rows, columns in SIZES):
                seconds = one_size(place, plain, tiered, rows, columns, rounds=rounds_for(rows, quick))
                measured[f"{rows:,} x {columns}"] = milliseconds(seconds)
                figures += judged(rows, columns, seconds)
        measured["holders"] = held = hold(place, HOLDERS // 4 if quick else HOLDERS, large)
        name = f"memory of {held['holders']} holders of {large:,} x {LARGE_COLUMNS}, copies"
        figures.append(Figure(name, held["copies"], None if quick else 1.3))
    return Outcome("hits", figures, measured)


def rounds_for(rows: int, quick: bool) -> int:
    """Return how often each way is timed."""
    return 5 if rows > 500_000 or quick else 15 if rows > 50_000 else 150


def one_size(
    place: Stand, plain: FeatureStore, tiered: FeatureStore, rows: int, columns: int, *, rounds: int
) -> dict[str, float]:
    """Time all ways to the same frame."""
    raw, config = ticks(), {"rows": rows, "columns": columns}
    first = plain.get_or_compute("BENCH", raw, config, wide)
    entry = plain.peek("BENCH", raw, config, wide)
    assert entry is not None
    file = str(place.settings.path / entry.path)
    pd.testing.assert_frame_equal(first, tiered.get_or_compute("BENCH", raw, config, wide), check_freq=False)
    memory = joblib.Memory(place.folder / "joblib", verbose=0).cache(wide)
    cache = diskcache.Cache(str(place.folder / "diskcache"), size_limit=8 << 30)
    cache.set("frame", first)
    del first
    seconds = interleaved(
        {
            "fstore": lambda: plain.get_or_compute("BENCH", raw, config, wide),
            "fstore, local tier": lambda: tiered.get_or_compute("BENCH", raw, config, wide),
            "fstore, local tier, arrow": lambda: tiered.get_or_compute("BENCH", raw, config, wide, returns="arrow"),
            "fingerprint alone": lambda: content_digest(raw),
            "read_table": lambda: pq.read_table(file),
            "pandas.read_parquet": lambda: pd.read_parquet(file),
            "joblib.Memory": lambda: memory(raw, config),
            "diskcache": lambda: cache.get("frame"),
            "fstore, local tier, and use": lambda: used(tiered.get_or_compute("BENCH", raw, config, wide)),
            "pandas.read_parquet, and use": lambda: used(pd.read_parquet(file)),
            "joblib.Memory, and use": lambda: used(memory(raw, config)),
        },
        rounds=rounds,
    )
    cache.close()
    for folder in ("joblib", "diskcache"):
        shutil.rmtree(place.folder / folder, ignore_errors=True)
    return seconds


def used(frame: pd.DataFrame) -> float:
    """Read every value of a frame."""
    return float(sum(frame[name].to_numpy().sum() for name in frame))


def judged(rows: int, columns: int, seconds: dict[str, float]) -> list[Figure]:
    """Return the ratios that were promised for this size, and those that were not, for comparison."""
    name = f"{rows:,} x {columns}"
    bare, tier = seconds["fstore"], seconds["fstore, local tier"]
    table, reader = seconds["read_table"], seconds["pandas.read_parquet"]
    peer, other = seconds["joblib.Memory"], seconds["diskcache"]
    promised: dict[tuple[int, int], list[Figure]] = {
        SIZES[0]: [
            Figure(f"{name}: hit / read_table", bare / table, 1.5),
            Figure(f"{name}: hit / joblib.Memory", bare / peer, 1.2),
            Figure(f"{name}: hit with tier / joblib.Memory", tier / peer, 0.8),
        ],
        SIZES[1]: [
            Figure(f"{name}: hit / read_table", bare / table, 1.25),
            Figure(f"{name}: hit with tier / read_table", tier / table, 0.25),
        ],
        SIZES[2]: [Figure(f"{name}: hit with tier / pandas.read_parquet", tier / reader, 0.05)],
    }
    use = seconds["fstore, local tier, and use"]
    shown = [
        Figure(f"{name}: hit / diskcache", bare / other),
        Figure(f"{name}: hit with tier / diskcache", tier / other),
        Figure(
            f"{name}: hit with tier, and use / pandas.read_parquet, and use",
            use / seconds["pandas.read_parquet, and use"],
        ),
        Figure(f"{name}: hit with tier, and use / joblib.Memory, and use", use / seconds["joblib.Memory, and use"]),
    ]
    return (
        promised.get((rows, columns), [Figure(f"{name}: hit with tier / pandas.read_parquet", tier / reader)]) + shown
    )


def hold(place: Stand, holders: int, rows: int) -> dict[str, Any]:
    """Let processes hold one frame at the same time, and add up by how much their proportional set sizes grow.

    Both sums are taken while all of them live, so that pages of libraries, which all
    share, count alike in both. Values are read once: a page that nobody
    touched would count for nothing.
    """
    with crew("hits", holders, place.child_environment()) as parts:
        before = sum(together(parts, act="count"))
        sizes = together(parts, act="hold", rows=rows)
        after = sum(together(parts, act="count"))
    return {
        "copies": round((after - before) / sizes[0], 3),
        "frame_mb": round(sizes[0] / 1e6),
        "holders": holders,
        "grown_mb_each": round((after - before) / holders / 1e6, 1),
    }


def be_part(_: int) -> int:
    """Be one of the holders: open, read, and count own pages."""
    store, raw = open_in_part(tier=True), ticks()
    held: list[pd.DataFrame] = []
    store.peek("BENCH", raw, {}, wide)

    def act(*, wait: Callable[[], None], act: str, rows: int = 0) -> int:
        wait()
        if act == "count":
            return proportional_bytes()
        held.append(store.get_or_compute("BENCH", raw, {"rows": rows, "columns": LARGE_COLUMNS}, wide))
        assert used(held[0]) != 0
        return int(held[0].memory_usage(deep=True).sum())

    return serve(act)
