"""Reads of a part of a result against reads of the whole, in turn within one run: processor time and bytes.

    python ops/bench/projection.py [--quick] [--json] [--check]

A result of 2,000,000 rows x 50 float64 over 500 days is asked for whole, three columns of
it, and one day of it, each a hit of a running store without a local tier, and once more
with one. Then bits of a stored file are flipped one by one, inside and outside of what
three columns need: none may be served, and none outside may disturb. With ``--quick`` the
result has a tenth of its rows, and is not judged.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from harness.features import days_of, history
from harness.figures import Figure, Outcome
from harness.stand import Stand, stand

from fstore.projection import DamagedFile, Tail, VerifiedFile, checked_selection

ROWS, COLUMNS, DAYS = 2_000_000, 50, 500
FLIPS = 1_000
WANTED = ["c3", "c21", "c40"]
ONE_DAY = ("2022-06-01", "2022-06-02")


def measure(*, quick: bool) -> Outcome:
    """Time and count each way to read, then flip bits."""
    rows = ROWS // 10 if quick else ROWS
    with stand() as place:
        place.worker(concurrency=1)
        spent, file, tail = reads(place, rows)
        flipped = flips(file, tail, count=FLIPS // 10 if quick else FLIPS)
    whole, some, day = (spent[name] for name in ("whole", "columns", "day"))
    tier = spent["columns, local tier"]
    limits: Sequence[float | None] = (None,) * 4 if quick else (0.15, 0.12, 0.02, 0.15)
    figures = [
        Figure("three columns / whole, processor time", some["cpu_s"] / whole["cpu_s"], limits[0]),
        Figure("three columns / whole, bytes read", some["bytes"] / whole["bytes"], limits[1]),
        Figure("one day of 500, three columns / whole, processor time", day["cpu_s"] / whole["cpu_s"], limits[2]),
        Figure("three columns from the local tier / whole, processor time", tier["cpu_s"] / whole["cpu_s"], limits[3]),
        Figure("flipped bits that were served", flipped["served"], 0),
        Figure("alarms for flips outside of what was read", flipped["false alarms"], 0),
    ]
    return Outcome("projection", figures, {"reads": spent, "flips": flipped})


def reads(place: Stand, rows: int) -> tuple[dict[str, dict[str, float]], Path, Tail]:
    """Read the same entry in all ways, the best of a few of each."""
    raw, config = history(days=2, rows=10), {"rows": rows, "columns": COLUMNS, "days": DAYS}
    with place.trainer() as plain, place.trainer(tier=True) as tiered:
        plain.get_or_compute("BENCH", raw, config, days_of, columns=WANTED)
        entry = plain.peek("BENCH", raw, config, days_of)
        assert entry is not None
        assert entry.tail_bytes is not None
        assert entry.tail_digest is not None
        tiered.get_or_compute("BENCH", raw, config, days_of, returns="arrow")
        ask, held = plain.get_or_compute, tiered.get_or_compute
        ways: dict[str, Callable[[], object]] = {
            "whole": lambda: ask("BENCH", raw, config, days_of),
            "columns": lambda: ask("BENCH", raw, config, days_of, columns=WANTED),
            "day": lambda: ask("BENCH", raw, config, days_of, columns=WANTED, between=ONE_DAY),
            "day, all columns": lambda: ask("BENCH", raw, config, days_of, between=ONE_DAY),
            "columns, local tier": lambda: held("BENCH", raw, config, days_of, columns=WANTED),
        }
        spent = {name: best(way, rounds=2 if name == "whole" else 5) for name, way in ways.items()}
        return spent, place.settings.path / entry.path, Tail(entry.tail_bytes, entry.tail_digest)


def best(way: Callable[[], object], *, rounds: int) -> dict[str, float]:
    """Return the least processor time that a call took, and the bytes it read."""
    found = []
    for _ in range(rounds):
        began, before = time.process_time(), bytes_read()
        result = way()
        found.append((time.process_time() - began, bytes_read() - before))
        del result
    return {"cpu_s": round(min(cpu for cpu, _ in found), 5), "bytes": min(count for _, count in found)}


def bytes_read() -> int:
    """Return what this process read so far, by the kernel's word."""
    return int(Path("/proc/self/io").read_text("ascii").split("rchar: ")[1].split()[0])


def flips(file: Path, tail: Tail, *, count: int) -> dict[str, int]:
    """Flip one bit at a time in a copy of a file's bytes in memory, and read three columns of a day and of all."""
    selections = [checked_selection(WANTED, ONE_DAY), checked_selection(WANTED, ("2022-01-03", "2022-03-01"))]
    chance = random.Random(11)
    data = bytearray(file.read_bytes())
    used: list[tuple[int, int]] = []

    def read(selection: Any) -> pa.Table:
        def ranges(wanted: Sequence[tuple[int, int]]) -> list[memoryview]:
            used.extend(wanted)
            return [memoryview(data)[at : at + length] for at, length in wanted]

        return VerifiedFile(ranges, len(data), tail).select(selection)

    outcome = {"flips": 0, "refused": 0, "untouched": 0, "served": 0, "false alarms": 0}
    for number in range(count):
        selection = selections[number % 2]
        used.clear()
        right = read(selection)
        inside = list(used)
        if number % 2:
            at, length = inside[chance.randrange(len(inside))]
            position = at + chance.randrange(length)
        else:
            position = chance.randrange(len(data))
        is_used = any(at <= position < at + length for at, length in inside)
        flipped = 1 << chance.randrange(8)
        data[position] ^= flipped
        try:
            found: pa.Table | None = read(selection)
        except DamagedFile:
            found = None
        outcome["flips"] += 1
        if found is None:
            outcome["refused" if is_used else "false alarms"] += 1
        else:
            outcome["untouched" if found.equals(right) and not is_used else "served"] += 1
        data[position] ^= flipped
    return outcome
