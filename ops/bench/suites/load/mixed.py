"""Two hundred trainers that replay recorded requests for a while: rates, waits, memory, open files.

    python ops/bench/mixed.py [--minutes N] [--trainers N] [--quick] [--json] [--check]

Trainers are threads of four processes. Each has its own record of requests, made from its number: most ask for
one of 200 frames of 390 x 10 that are there, some for 20 of them at once, some for a result of 100,000 x 20 by the
path of a file, and one in twenty for what nobody has asked for; between two requests a trainer
thinks for a second on average. Four worker processes answer. Every answer is looked at. Ten minutes say more than the
one that is the default: ``--minutes 10``.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from harness.features import day, ticks, unchanged, wide
from harness.figures import Figure, Outcome, percentile
from harness.parts import LEAD_S, crew, serve
from harness.stand import open_in_part, stand

from fstore import FeatureStore, FeatureStoreError, ParquetSource, Request

PROCESSES, WORKERS, TRAINERS, MINUTES = 4, 4, 200, 1.0
KNOWN, AT_ONCE, THINKS_S = 200, 20, 1.0
HIT, BATCH, FILE, MISS = "hit", "batch of hits", "large hit by file", "miss"
SHARES = {HIT: 0.85, BATCH: 0.05, FILE: 0.05, MISS: 0.05}
LARGE = {"rows": 100_000, "columns": 20}
SAMPLES = 30  # of memory and files, in a run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say how long, and how many."""
    parser.add_argument("--minutes", type=float, help=f"how long trainers ask; {MINUTES:g} by default")
    parser.add_argument("--trainers", type=int, help=f"how many ask; {TRAINERS} by default")


def measure(*, quick: bool, minutes: float | None = None, trainers: int | None = None) -> Outcome:
    """Let all trainers ask, and look at the processes meanwhile."""
    seconds = 60 * (minutes or (0.2 if quick else MINUTES))
    trainers = trainers or (20 if quick else TRAINERS)
    threads = -(-trainers // PROCESSES)
    with stand() as place:
        worker = place.worker(concurrency=WORKERS)
        with place.trainer() as store:
            path = str(place.folder / "large.parquet")
            store.get_or_compute("BENCH", store.ingest(ticks(), path), LARGE, wide)
            for _ in store.get_or_compute_many([known(number) for number in range(KNOWN)]):
                pass
        with crew("mixed", PROCESSES, place.child_environment()) as parts:
            began = time.monotonic()
            for part in parts:
                part.order(at=began + LEAD_S, threads=threads, seconds=seconds, path=path)
            used = sampled([worker.pid, *(part.pid for part in parts)], seconds=seconds)
            found = [one for part in parts for one in part.finding()]
    return judged(found, used, seconds=seconds, trainers=threads * PROCESSES)


def judged(found: Sequence[list[Any]], used: Sequence[dict[str, float]], *, seconds: float, trainers: int) -> Outcome:
    """Return what came of all requests: ``found`` are when they began, what they were, what they took and what was wrong."""
    by_kind: dict[str, list[float]] = {kind: [] for kind in SHARES}
    thirds = [0, 0, 0]
    for at, kind, took, _ in found:
        by_kind[kind].append(took)
        thirds[min(2, int(3 * at / seconds))] += 1
    rounds = len(used) // 3
    parts = {name: [one[name] for one in used] for name in used[0]}
    early = {name: statistics.median(values[rounds : 2 * rounds]) for name, values in parts.items()}
    late = {name: statistics.median(values[-rounds:]) for name, values in parts.items()}
    troubles = [wrong for *_, wrong in found if wrong]
    figures = [
        Figure(f"{trainers} trainers: requests that failed or whose answer was wrong", len(troubles), 0),
        Figure(f"{trainers} trainers: requests/s", len(found) / seconds),
        Figure("requests/s, last third / first third", thirds[2] / max(1, thirds[0]), 0.8, "at least"),
        Figure("memory of trainers and workers, last third / second", late["mib"] / early["mib"], 1.1),
        Figure("open files of trainers and workers, last third / second", late["files"] / early["files"], 1.1),
    ]
    waits = {
        kind: {
            "requests": len(times),
            "p50_ms": round(statistics.median(times) * 1000, 2),
            "p99_ms": round(percentile(times, 0.99) * 1000, 2),
        }
        for kind, times in by_kind.items()
        if times
    }
    for kind, one in waits.items():
        figures += [Figure(f"{kind}, {name} in ms", one[f"{name}_ms"]) for name in ("p50", "p99")]
    measured = {"minutes": seconds / 60, "by kind": waits, "thirds": thirds, "used": used, "troubles": troubles[:5]}
    return Outcome("mixed", figures, measured)


def sampled(pids: Sequence[int], *, seconds: float) -> list[dict[str, float]]:
    """Look at processes and what they started, again and again, until trainers are done."""
    ends_at, every_s = time.monotonic() + LEAD_S + seconds, seconds / SAMPLES
    samples = []
    while time.monotonic() + every_s <= ends_at:
        time.sleep(every_s)
        samples.append(used_by(pids))
    return samples


def used_by(pids: Sequence[int]) -> dict[str, float]:
    """Return memory that processes do not share, in MiB, and the files that they have open."""
    files, size = 0, 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                files += one.num_fds()
                size += one.memory_full_info().uss
    return {"mib": round(size / 2**20, 1), "files": files}


def known(number: int) -> Request:
    """Return a request for what is there."""
    return Request(f"S{number}", day(number), {}, unchanged)


def recorded(trainer: int) -> Iterator[tuple[float, str, int]]:
    """Yield a trainer's requests: how long it thinks before, of what kind it is, and which one; the same each time."""
    rng = np.random.default_rng(trainer)
    kinds, shares, count = list(SHARES), list(SHARES.values()), 0
    while True:
        count += 1
        kind = str(rng.choice(kinds, p=shares))
        which = 1_000_000 + trainer * 10_000 + count if kind == MISS else int(KNOWN * rng.random() ** 3)
        yield float(rng.exponential(THINKS_S)), kind, which


def be_part(number: int) -> int:
    """Be one of the processes of trainers."""
    store = open_in_part(tier=True)
    there = [known(one) for one in range(KNOWN)]

    def act(*, wait: Callable[[], None], threads: int, seconds: float, path: str) -> list[Any]:
        found: list[Any] = []
        ends_at: list[float] = []
        ready = threading.Barrier(threads + 1)

        def trainer(own: int) -> None:
            ready.wait()
            for thinks_s, kind, which in recorded(own):
                if time.monotonic() + thinks_s >= ends_at[0]:
                    return
                time.sleep(thinks_s)
                raw = day(which) if kind == MISS else None
                began = time.monotonic()
                wrong = asked(store, there, kind, which, raw, path)
                found.append((began - ends_at[0] + seconds, kind, time.monotonic() - began, wrong))

        all_of_them = [threading.Thread(target=trainer, args=(number * threads + own,)) for own in range(threads)]
        for one in all_of_them:
            one.start()
        wait()
        ends_at.append(time.monotonic() + seconds)
        ready.wait()
        for one in all_of_them:
            one.join()
        return found

    return serve(act)


def asked(
    store: FeatureStore, there: Sequence[Request], kind: str, which: int, raw: pd.DataFrame | None, path: str
) -> str | None:
    """Ask once, and return what was wrong with the answer, if anything."""
    try:
        if kind == FILE:
            frame = store.get_or_compute("BENCH", ParquetSource(Path(path)), LARGE, wide)
            return None if frame.shape == (LARGE["rows"], LARGE["columns"]) else f"a large result of {frame.shape}"
        if kind == MISS:
            return differs(store.get_or_compute(f"S{which}", raw, {}, unchanged), which)
        if kind == HIT:
            return differs(store.get_or_compute(f"S{which}", there[which].raw_data, {}, unchanged), which)
        numbers = [(which + step) % KNOWN for step in range(AT_ONCE)]
        answers = [*store.get_or_compute_many([there[one] for one in numbers])]
        faults = [differs(frame, int(request.symbol[1:])) for request, frame in answers]
        return next((fault for fault in faults if fault), None) if len(answers) == AT_ONCE else "answers are missing"
    except FeatureStoreError as error:
        return f"{type(error).__name__}: {error}"[:300]


def differs(frame: pd.DataFrame, number: int) -> str | None:
    """Return what is wrong with the frame of a day, if anything."""
    return None if frame.shape == (390, 10) and frame.iat[0, 0] == number else f"the frame of {number} is another"
