"""Fingerprints against the alternatives, in one run on one machine.

``python ops/bench/fingerprint.py [--gb 2] [--json] [--check]``; with ``--check`` it exits 1
and names every figure that is missed. Needs joblib beside fstore's own requirements.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from fstore.fingerprint import content_digest, identify, to_table
from fstore.ingest import ingest
from fstore.model import ParquetSource

THREADS = min(os.cpu_count() or 1, 8)
MIB = 1 << 20

# figure, (comparison, limit), what it says
TARGETS: dict[str, tuple[str, float, str]] = {
    "numeric_vs_bare": (">=", 0.70, "numeric frame, share of bare BLAKE3"),
    "numeric_extra_mib": ("<=", 64, "numeric frame, extra memory in MiB"),
    "numeric_vs_classic": (">=", 20, "numeric frame, times as fast as to_parquet and sha256"),
    "strings_vs_bare": (">=", 0.35, "frame with 3 string columns, share of bare BLAKE3"),
    "footer_ms": ("<=", 2, "footer of an ingested file, milliseconds"),
    "footer_growth": ("<=", 1.5, "footer of ten times the data, times as long"),
    "footer_extra_mib": ("<=", 1, "footer of an ingested file, extra memory in MiB"),
    "foreign_vs_read": (">=", 0.6, "foreign file, first time, share of the speed of reading it"),
    "foreign_extra_mib": ("<=", 400, "foreign file, first time, extra memory in MiB"),
    "memo_ms": ("<=", 5, "foreign file, second time, milliseconds"),
}


class Memo:
    """A memo that answers at once: what is timed is the stamp."""

    def __init__(self) -> None:
        self.known: dict[object, str] = {}

    def recall(self, stamp: object) -> str | None:
        return self.known.get(stamp)

    def remember(self, stamp: object, digest: str) -> None:
        self.known[stamp] = digest


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


def best_s(run: Callable[[], object], times: int = 3) -> float:
    """Time a call, the best of a few."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def extra_mib(run: Callable[[], object]) -> float:
    """Measure by how much the resident set grows at its peak; the kernel keeps the peak, so no moment is missed."""
    pa.default_memory_pool().release_unused()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kib("VmRSS")
    run()
    return max(_status_kib("VmHWM") - before, 0) / 1024


def _status_kib(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def bare(buffers: list[memoryview]) -> None:
    for buffer in buffers:
        blake3(buffer, max_threads=THREADS).digest()


def numpy_buffers(frame: pd.DataFrame) -> list[memoryview]:
    columns = [column.to_numpy() for _, column in frame.items()] + [frame.index.asi8]  # type: ignore[attr-defined]
    return [memoryview(column).cast("B") for column in columns]


def arrow_buffers(table: pa.Table) -> list[memoryview]:
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    return [memoryview(buffer) for chunk in chunks for buffer in chunk.buffers() if buffer is not None]


def classic(frame: pd.DataFrame) -> str:
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def in_memory(size_bytes: int) -> dict[str, float]:
    """Digest a numeric and a string frame in memory, beside the alternatives."""
    found: dict[str, float] = {}
    frame = numeric_frame(size_bytes)
    buffers = numpy_buffers(frame)
    size = sum(buffer.nbytes for buffer in buffers)
    found["numeric_gb"] = size / 1e9
    content_digest(frame.iloc[:1000])
    found["numeric_extra_mib"] = extra_mib(lambda: content_digest(frame))
    found["bare_gb_s"] = size / best_s(lambda: bare(buffers)) / 1e9
    found["numeric_gb_s"] = size / best_s(lambda: content_digest(frame)) / 1e9
    part = frame.iloc[: max(len(frame) // 10, 1)]
    part_size = sum(buffer.nbytes for buffer in numpy_buffers(part))
    found["joblib_gb_s"] = part_size / best_s(lambda: joblib.hash(part), 1) / 1e9
    found["classic_gb_s"] = part_size / best_s(lambda: classic(part), 1) / 1e9
    table = to_table(frame)
    found["arrow_gb_s"] = size / best_s(lambda: content_digest(table)) / 1e9
    del frame, table, buffers, part

    strings = string_frame(size_bytes // 2)
    buffers = arrow_buffers(to_table(strings))
    size = sum(buffer.nbytes for buffer in buffers)
    found["strings_gb"] = size / 1e9
    found["strings_extra_mib"] = extra_mib(lambda: content_digest(strings))
    found["strings_bare_gb_s"] = size / best_s(lambda: bare(buffers)) / 1e9
    found["strings_gb_s"] = size / best_s(lambda: content_digest(strings)) / 1e9
    part = strings.iloc[: max(len(strings) // 50, 1)]
    found["strings_joblib_gb_s"] = size * len(part) / len(strings) / best_s(lambda: joblib.hash(part), 1) / 1e9
    found["numeric_vs_bare"] = found["numeric_gb_s"] / found["bare_gb_s"]
    found["arrow_vs_bare"] = found["arrow_gb_s"] / found["bare_gb_s"]
    found["strings_vs_bare"] = found["strings_gb_s"] / found["strings_bare_gb_s"]
    found["numeric_vs_classic"] = found["numeric_gb_s"] / found["classic_gb_s"]
    found["numeric_vs_joblib"] = found["numeric_gb_s"] / found["joblib_gb_s"]
    return found


def footers(folder: Path, size_bytes: int) -> dict[str, float]:
    """Identify ingested files, one of them ten times the other."""
    frame = numeric_frame(size_bytes)
    start = time.perf_counter()
    large = ingest(frame, folder / "large.parquet")
    ingest_s = time.perf_counter() - start
    small = ingest(frame.iloc[: len(frame) // 10], folder / "small.parquet")
    size = float(frame.memory_usage().sum())
    del frame
    times = {name: [] for name in ("small", "large")}  # type: dict[str, list[float]]
    for source in (small, large):
        identify(source, threshold_bytes=0)
    for _ in range(50):
        for name, source in (("small", small), ("large", large)):
            start = time.perf_counter()
            identify(source, threshold_bytes=0)
            times[name].append(time.perf_counter() - start)
    ms = {name: 1000 * float(np.median(found)) for name, found in times.items()}
    return {
        "ingest_gb_s": size / ingest_s / 1e9,
        "footer_ms": ms["large"],
        "footer_small_ms": ms["small"],
        "footer_growth": ms["large"] / ms["small"],
        "footer_extra_mib": _alone("footer", large.path)["extra_mib"],
    }


def foreign_files(folder: Path, size_bytes: int) -> dict[str, float]:
    """Stream a file that pandas wrote, in a process of its own so that its memory can be told."""
    path = folder / "foreign.parquet"
    frame = numeric_frame(size_bytes)
    size = float(frame.memory_usage().sum())
    frame.to_parquet(path)
    del frame
    _alone("read", path)  # once for the page cache
    read_s = min(_alone("read", path)["seconds"] for _ in range(2))
    scans = [_alone("foreign", path) for _ in range(2)]
    scan_s = min(scan["seconds"] for scan in scans)
    return {
        "read_gb_s": size / read_s / 1e9,
        "foreign_gb_s": size / scan_s / 1e9,
        "foreign_vs_read": read_s / scan_s,
        "foreign_extra_mib": max(scan["extra_mib"] for scan in scans),
        "memo_ms": scans[0]["memo_ms"],
    }


def _alone(what: str, path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--alone", what, str(path)], check=True, capture_output=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def measure_alone(what: str, path: Path) -> dict[str, float]:
    """Run one measurement in this process, which does nothing else."""
    source, memo = ParquetSource(path), Memo()
    content_digest(pd.DataFrame({"x": [1.0]}))  # first use of the libraries is not what is measured
    runs: dict[str, Callable[[], Any]] = {
        "read": lambda: pq.read_table(str(path)),
        "foreign": lambda: identify(source, threshold_bytes=0, memo=memo),
        "footer": lambda: identify(source, threshold_bytes=0),
    }
    run = runs[what]
    if what == "footer":
        run()
    start = time.perf_counter()
    grown = extra_mib(run)
    answer = {"seconds": time.perf_counter() - start, "extra_mib": grown}
    if what == "foreign":
        if not memo.known:
            raise SystemExit("the file was too young to be remembered")
        answer["memo_ms"] = 1000 * best_s(run, 5)
    return answer


def missed(found: dict[str, float]) -> list[str]:
    """Name the figures that are not reached."""
    return [
        f"{text}: {found[name]:.3g}, wanted {comparison} {limit:g}"
        for name, (comparison, limit, text) in TARGETS.items()
        if (found[name] < limit if comparison == ">=" else found[name] > limit)
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gb", type=float, default=2.0)
    options.add_argument("--json", action="store_true")
    options.add_argument("--check", action="store_true")
    options.add_argument("--folder", type=Path, help="where to put some files (default: the temporary folder)")
    options.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.alone:
        print(json.dumps(measure_alone(given.alone[0], Path(given.alone[1]))))
        return
    size_bytes = int(given.gb * 1e9)
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        found = {"threads": float(THREADS)}
        found |= foreign_files(folder, size_bytes)
        found |= footers(folder, size_bytes)
        found |= in_memory(size_bytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        for name, value in found.items():
            limit = f"   (wanted {TARGETS[name][0]} {TARGETS[name][1]:g})" if name in TARGETS else ""
            print(f"{name:24} {value:10.3f}{limit}")
    failures = missed(found)
    for line in failures:
        print(f"missed: {line}", file=sys.stderr)
    if given.check and failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
