"""Fingerprints against the alternatives, in one run on one machine.

    python ops/bench/fingerprint.py [--gb 2] [--quick] [--json] [--check]

Needs joblib beside fstore's own requirements.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
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
from harness.figures import Figure, Outcome
from harness.memory import forget_peak, peak_mib, resident_mib
from harness.parts import run_alone

from fstore.fingerprint import content_digest, identify, to_table
from fstore.ingest import ingest
from fstore.model import ParquetSource
from suites.fingerprint_data import arrow_buffers, numeric_frame, numpy_buffers, string_frame

THREADS = min(os.cpu_count() or 1, 8)

# measurement, what is wanted of it, what it says
TARGETS: dict[str, tuple[str, float, str]] = {
    "numeric_vs_bare": ("at least", 0.70, "numeric frame, share of bare BLAKE3"),
    "numeric_extra_mib": ("at most", 64, "numeric frame, extra memory in MiB"),
    "numeric_vs_classic": ("at least", 20, "numeric frame, times as fast as to_parquet and sha256"),
    "strings_vs_bare": ("at least", 0.35, "frame with 3 string columns, share of bare BLAKE3"),
    "footer_ms": ("at most", 2, "footer of an ingested file, milliseconds"),
    "footer_growth": ("at most", 1.5, "footer of ten times the data, times as long"),
    "footer_extra_mib": ("at most", 1, "footer of an ingested file, extra memory in MiB"),
    "foreign_vs_read": ("at least", 0.6, "foreign file, first time, share of the speed of reading it"),
    "foreign_extra_mib": ("at most", 400, "foreign file, first time, extra memory in MiB"),
    "memo_ms": ("at most", 5, "foreign file, second time, milliseconds"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Take how much data to make, and where to put some files of them."""
    parser.add_argument("--gb", type=float, help="size of the frames (default: 2, a quick look 0.05)")
    parser.add_argument("--folder", type=Path, help="where to put some files (default: the temporary folder)")


def measure(*, quick: bool, gb: float | None = None, folder: Path | None = None) -> Outcome:
    """Digest files and frames of numbers and of texts."""
    size_bytes = int((gb or (0.05 if quick else 2.0)) * 1e9)
    own = Path(tempfile.mkdtemp(prefix="fstore-bench-", dir=folder))
    try:
        found = {"threads": float(THREADS)}
        found |= foreign_files(own, size_bytes)
        found |= footers(own, size_bytes)
        found |= numbers_in_memory(size_bytes)
        found |= strings_in_memory(size_bytes // 2)
    finally:
        shutil.rmtree(own, ignore_errors=True)
    figures = [Figure(text, found[name], limit, sense) for name, (sense, limit, text) in TARGETS.items()]
    return Outcome("fingerprint", figures, dict(found))


class Memo:
    """A memo that answers at once: what is timed is the stamp."""

    def __init__(self) -> None:
        self.known: dict[object, str] = {}

    def recall(self, stamp: object) -> str | None:
        return self.known.get(stamp)

    def remember(self, stamp: object, digest: str) -> None:
        self.known[stamp] = digest


def best_s(run: Callable[[], object], times: int = 3) -> float:
    """Time a call, the best of a few."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def best_each_s(rounds: int, **runs: Callable[[], object]) -> dict[str, float]:
    """Time several calls in turn, so that a busy moment of the machine does not fall on one of them alone."""
    found = {name: float("inf") for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name] = min(found[name], best_s(run, 1))
    return found


def extra_mib(run: Callable[[], object]) -> float:
    """Measure by how much the resident set grows at its peak; the kernel keeps the peak, so no moment is missed."""
    pa.default_memory_pool().release_unused()
    forget_peak()
    before = resident_mib()
    run()
    return max(peak_mib() - before, 0)


def bare(buffers: list[memoryview]) -> None:
    for buffer in buffers:
        blake3(buffer, max_threads=THREADS).digest()


def classic(frame: pd.DataFrame) -> str:
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def numbers_in_memory(size_bytes: int) -> dict[str, float]:
    """Digest a numeric frame, and the same as Arrow, beside the alternatives."""
    frame = numeric_frame(size_bytes)
    buffers = numpy_buffers(frame)
    size = sum(buffer.nbytes for buffer in buffers)
    content_digest(frame.iloc[:1000])
    found = {"numeric_gb": size / 1e9, "numeric_extra_mib": extra_mib(lambda: content_digest(frame))}
    table = to_table(frame)
    taken = best_each_s(
        5, bare=lambda: bare(buffers), numeric=lambda: content_digest(frame), arrow=lambda: content_digest(table)
    )
    found |= {f"{name}_gb_s": size / seconds / 1e9 for name, seconds in taken.items()}
    part = frame.iloc[: max(len(frame) // 10, 1)]
    part_size = sum(buffer.nbytes for buffer in numpy_buffers(part))
    taken = best_each_s(2, joblib=lambda: joblib.hash(part), classic=lambda: classic(part))
    found |= {f"{name}_gb_s": part_size / seconds / 1e9 for name, seconds in taken.items()}
    for other in ("bare", "joblib", "classic"):
        found[f"numeric_vs_{other}"] = found["numeric_gb_s"] / found[f"{other}_gb_s"]
    found["arrow_vs_bare"] = found["arrow_gb_s"] / found["bare_gb_s"]
    return found


def strings_in_memory(size_bytes: int) -> dict[str, float]:
    """Digest a frame of three string columns and a price, beside the alternatives."""
    frame = string_frame(size_bytes)
    buffers = arrow_buffers(to_table(frame))
    size = sum(buffer.nbytes for buffer in buffers)
    found = {"strings_gb": size / 1e9, "strings_extra_mib": extra_mib(lambda: content_digest(frame))}
    taken = best_each_s(5, strings_bare=lambda: bare(buffers), strings=lambda: content_digest(frame))
    found |= {f"{name}_gb_s": size / seconds / 1e9 for name, seconds in taken.items()}
    part = frame.iloc[: max(len(frame) // 50, 1)]
    found["strings_joblib_gb_s"] = size * len(part) / len(frame) / best_s(lambda: joblib.hash(part), 1) / 1e9
    found["strings_vs_bare"] = found["strings_gb_s"] / found["strings_bare_gb_s"]
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
        "footer_extra_mib": run_alone("fingerprint", "footer", str(large.path))["extra_mib"],
    }


def foreign_files(folder: Path, size_bytes: int) -> dict[str, float]:
    """Stream a file that pandas wrote, in a process of its own so that its memory can be told."""
    path = folder / "foreign.parquet"
    frame = numeric_frame(size_bytes)
    size = float(frame.memory_usage().sum())
    frame.to_parquet(path)
    del frame
    run_alone("fingerprint", "read", str(path))  # once for the page cache
    rounds = [
        (run_alone("fingerprint", "read", str(path)), run_alone("fingerprint", "foreign", str(path))) for _ in range(3)
    ]
    read_s = min(read["seconds"] for read, _ in rounds)
    scans = [scan for _, scan in rounds]
    scan_s = min(scan["seconds"] for scan in scans)
    return {
        "read_gb_s": size / read_s / 1e9,
        "foreign_gb_s": size / scan_s / 1e9,
        "foreign_vs_read": read_s / scan_s,
        "foreign_extra_mib": max(scan["extra_mib"] for scan in scans),
        "memo_ms": scans[0]["memo_ms"],
    }


def alone(what: str, path: str) -> dict[str, float]:
    """Run one measurement in this process, which does nothing else."""
    source, memo = ParquetSource(Path(path)), Memo()
    content_digest(pd.DataFrame({"x": [1.0]}))  # first use of the libraries is not what is measured
    runs: dict[str, Callable[[], Any]] = {
        "read": lambda: pq.read_table(path),
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
