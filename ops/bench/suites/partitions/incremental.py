"""An appended day against a whole miss, in one run on one worker: processor time of trainer and worker together.

    python ops/bench/incremental.py [--quick] [--json] [--check]

A feature of 20 rolling columns that declares a day as its partition is asked for over 500
days of 1,440 rows: first all of them, then the day that was appended, or all with a tick corrected,
from frames and from ingested files; then as a hit, beside a hit of one entry that holds the same
rows. Whoever wants the whole history again after an append reads it as well, which takes what a
hit takes, and is shown apart. With ``--quick`` there are 60 days, and nothing is judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
from harness.features import by_day, history, whole_history
from harness.figures import Figure, Outcome
from harness.stand import Stand, cpu_seconds, stand

from fstore import FeatureStore, ParquetSource
from fstore.features import sessions
from fstore.fingerprint import content_digest
from fstore.increments import partition_table, table_in_file

DAYS, ROWS = 500, 1_440
APPENDED = 5  # days, of which the cheapest counts
CONFIG: dict[str, Any] = {}
COMPUTED = "SELECT coalesce(sum(compute_seconds), 0), count(*) FROM manifest WHERE state = 'live' AND symbol = '{}'"


def measure(*, quick: bool) -> Outcome:
    """Ask for everything from frames, then from files, then again."""
    with stand() as place:
        worker = place.worker(concurrency=1)
        with place.trainer() as store:
            run = Run(place, store, worker.pid, 60 if quick else DAYS)
            frame, file, hits = run.from_frames(), run.from_files(), run.hits()
    figures = [
        Figure("appended day / whole miss, compute", frame["appended compute"] / frame["miss compute"], 1 / 50),
        Figure("appended day / whole miss, all work, from a frame", frame["appended"] / frame["miss"], 1 / 30),
        Figure("appended day / whole miss, all work, from an ingested file", file["appended"] / file["miss"], 1 / 50),
        Figure("the same, and the whole history read", (file["appended"] + hits["by day"]) / file["miss"]),
        Figure("corrected tick, and the whole history read / whole miss", frame["corrected"] / frame["miss"]),
        Figure("partitions computed for an appended day", frame["appended partitions"], 1),
        Figure("partitions computed for a corrected tick", frame["corrected partitions"], 3),
        Figure("hit by partitions / hit of one entry of the same rows", hits["by day"] / hits["one entry"], 1.3),
        Figure("fingerprint of the partitions / of the whole frame", hits["partitions ms"] / hits["whole ms"], 2.5),
        Figure("partitions of an ingested file, ms", hits["identify ms"], 5),
        Figure("rows in the manifest", file["rows"], 25),
    ]
    if quick:
        figures = [Figure(figure.name, figure.value) for figure in figures]
    return Outcome("incremental", figures, {"frame": frame, "file": file, "hits": hits})


class Run:
    """One store, one worker, one history that grows."""

    def __init__(self, place: Stand, store: FeatureStore, worker: int, days: int) -> None:
        self._place, self._store, self._worker, self._days = place, store, worker, days
        self._raw = history(days=days, rows=ROWS)
        self._known: dict[str, float] = {}

    def from_frames(self) -> dict[str, float]:
        """Ask from frames that are in memory."""
        found = self._asked("FRAME", "miss", self._raw)
        raw = self._raw
        appended = []
        for number in range(APPENDED):
            raw = self._longer(raw, number)
            appended.append(self._asked("FRAME", "appended", raw, raw.index[-ROWS]))
        found |= {name: min(each[name] for each in appended) for name in appended[0]}
        found["appended partitions"] = max(each["appended partitions"] for each in appended)
        corrected = raw.copy()
        corrected.iloc[len(raw) // 2, 0] += 0.25
        return found | self._asked("FRAME", "corrected", corrected)

    def from_files(self) -> dict[str, float]:
        """Ask from ingested files, which tell what is in them."""
        raw, folder = self._raw, self._place.folder
        found = self._asked("FILE", "miss", self._store.ingest(raw, folder / "0.parquet", partition="day"))
        appended = []
        for number in range(APPENDED):
            raw = self._longer(raw, number)
            source = self._store.ingest(raw, folder / f"{number + 1}.parquet", partition="day")
            appended.append(self._asked("FILE", "appended", source, raw.index[-ROWS]))
        return (
            found | {name: min(each[name] for each in appended) for name in appended[0]} | {"rows": found["miss rows"]}
        )

    def hits(self) -> dict[str, float]:
        """Time hits by partitions and of one entry that holds the same rows, and fingerprints alone."""
        store, raw = self._store, self._raw
        config = {"days": self._days, "rows": ROWS}
        store.get_or_compute("FRAME", raw, config, whole_history)
        source = ParquetSource(self._place.folder / "0.parquet")
        ways: dict[str, Callable[[], object]] = {
            "by day": lambda: store.get_or_compute("FRAME", raw, CONFIG, by_day),
            "one entry": lambda: store.get_or_compute("FRAME", raw, config, whole_history),
        }
        quick: dict[str, Callable[[], object]] = {
            "identify ms": lambda: table_in_file(source.path, sessions("day")),
            "whole ms": lambda: content_digest(raw),
            "partitions ms": lambda: partition_table(raw, sessions("day")),
        }
        return cheapest(ways, rounds=9) | {name: 1000 * spent for name, spent in cheapest(quick, rounds=15).items()}

    def _longer(self, raw: pd.DataFrame, number: int) -> pd.DataFrame:
        return pd.concat([raw, history(days=1, rows=ROWS, first=self._days + number)])

    def _asked(self, symbol: str, what: str, raw: object, start: pd.Timestamp | None = None) -> dict[str, float]:
        """Return what a request took of trainer and worker, and what of it the worker says was computing."""
        told = self._store.explain(symbol, raw, CONFIG, by_day).partitions
        began = self._seconds()
        self._store.get_or_compute(symbol, raw, CONFIG, by_day, between=None if start is None else (start, None))
        spent = self._seconds() - began
        computed, rows = self._place.query(COMPUTED.format(symbol))[0]
        known, self._known[symbol] = self._known.get(symbol, 0.0), float(computed)
        return {
            what: round(spent, 4),
            f"{what} compute": float(computed) - known,
            f"{what} rows": float(rows),
            f"{what} partitions": float(len(told.missing) if told else 0),
        }

    def _seconds(self) -> float:
        return time.process_time() + cpu_seconds(self._worker)


def cheapest(ways: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Return the least processor time of a few calls of each, made in turn: a busy while makes all of them dearer."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            way()
            found[name].append(time.process_time() - began)
    return {name: min(spent) for name, spent in found.items()}
