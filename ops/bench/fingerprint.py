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
from fingerprint_data import arrow_buffers, numeric_frame, numpy_buffers, string_frame

from fstore.fingerprint.identification import content_digest, identify, to_table
from fstore.ingest.ingestion import ingest
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
    rounds = [(_alone("read", path), _alone("foreign", path)) for _ in range(3)]
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


def _alone(what: str, path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--alone", what, str(path)], check=True, stdout=subprocess.PIPE)
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
        found |= numbers_in_memory(size_bytes)
        found |= strings_in_memory(size_bytes // 2)
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
