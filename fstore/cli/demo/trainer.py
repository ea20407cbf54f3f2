"""One trainer of the demo, in a process of its own.

It asks a store for features and checks every frame it is given. It reads its job, one JSON object, from the first
line of stdin, and one further line whenever it may pass a gate; it reports on stdout, one JSON object a line.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

import fstore
from fstore.cli.demo.peer import GATE, remembered
from fstore.runtime.counters import Recorder

Report = Callable[[Mapping[str, Any]], None]


class CountingRecorder(Recorder):
    """Notes like any recorder and remembers what this process counted, which tells a hit from a miss."""

    totals: Counter[str]

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter."""
        self.totals[name] += n
        super().count(name, n)


class Trainer:
    """Carries out one job."""

    def __init__(self, job: Mapping[str, Any], report: Report) -> None:
        self._job, self._report = job, report
        opened = fstore.connect().resources
        self._recorder = CountingRecorder(opened.usage_buffer.note)
        self._recorder.totals = Counter()
        self._store = fstore.FeatureStore.over(replace(opened, recorder=self._recorder))
        self._hits: list[Mapping[str, Any]] = []
        self._frames: dict[int, pd.DataFrame] = {}
        self._expected: dict[int, pd.DataFrame] = {}

    def run(self) -> None:
        """Take every step and report on each."""
        # What a trainer has before it asks: later it would take its time from others that ask.
        for step in self._job["steps"]:
            self._raw(step)
            self._direct(step["case"])
        gc.freeze()  # or a collection looks through every imported library in the middle of a request, for 0.1 s
        with self._store:
            for step in self._job["steps"]:
                raw = self._raw(step)
                if step["gate"]:
                    self._report({"at": step["gate"]})
                    if not sys.stdin.readline():
                        return  # whoever started us is gone
                answer = self._ask(step, raw)
                if answer.get("how") == "hit":
                    self._hits.append(step)
                self._report(answer)
        if self._job["peer"] is not None:
            self._ask_peer(Path(self._job["peer"]))

    def _ask_peer(self, folder: Path) -> None:
        """Ask once more for what was a hit, of joblib.Memory, when all others have come here too."""
        cached = remembered(folder)
        self._report({"at": GATE})
        if cached is None or not sys.stdin.readline():
            return
        spent = []
        for step in self._hits:
            case, raw = self._job["cases"][step["case"]], self._raw(step)
            asked = raw if isinstance(raw, pd.DataFrame) else str(raw.path)  # type: ignore[attr-defined]
            began = time.perf_counter()
            cached(asked, case["feature"], case["config"], str(self._kept(step["case"])))
            spent.append(1000 * (time.perf_counter() - began))
        self._report({"peer_ms": spent})

    def _ask(self, step: Mapping[str, Any], raw: object) -> dict[str, Any]:
        case = self._job["cases"][step["case"]]
        symbol = self._job["datasets"][case["data"]]["symbol"]
        before = self._recorder.totals.copy()
        began = time.perf_counter()
        try:
            frame = self._store.get_or_compute(
                symbol, raw, case["config"], case["feature"], timeout=self._job["timeout"]
            )
        except fstore.FeatureStoreError as error:
            return {"error": f"{type(error).__name__}: {error}"}
        spent = time.perf_counter() - began
        counted = self._recorder.totals - before
        return {
            "how": "hit" if counted["cache_hits"] else "miss",
            "ms": 1000 * spent,
            "wrong": difference(frame, self._direct(step["case"])),
        }

    def _raw(self, step: Mapping[str, Any]) -> object:
        number = self._job["cases"][step["case"]]["data"]
        path = self._job["datasets"][number]["path"]
        if step["form"] == "file":
            return fstore.ParquetSource(path)
        if number not in self._frames:
            self._frames[number] = pd.read_parquet(path)
        return self._frames[number]

    def _direct(self, case: int) -> pd.DataFrame:
        if case not in self._expected:
            self._expected[case] = pickle.loads(self._kept(case).read_bytes())  # noqa: S301 written by the demo a moment ago, in its own folder
        return self._expected[case]

    def _kept(self, case: int) -> Path:
        return Path(self._job["expected"]) / f"{case}.pickle"


def difference(got: pd.DataFrame, expected: pd.DataFrame) -> str | None:
    """Return the first thing in which a frame is not exactly the other, or None.

    Values, dtypes, columns, index and names are looked at.
    """
    if type(got) is not type(expected):
        return f"a {type(got).__name__} instead of a {type(expected).__name__}"
    for name in ("columns", "index"):
        one, other = getattr(got, name), getattr(expected, name)
        if list(one.names) != list(other.names) or one.dtype != other.dtype or not one.equals(other):
            return f"the {name} differ"
    if not got.dtypes.equals(expected.dtypes):
        return "the dtypes differ"
    for position, column in enumerate(expected.columns):
        if not got.iloc[:, position].equals(expected.iloc[:, position]):
            return f"the values of {column!r} differ"
    return None


def main() -> int:
    """Run the job that stdin names."""
    # Whatever a feature or a library prints goes to the log, not between the reports.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(line: Mapping[str, Any]) -> None:
        reports.write(json.dumps(line) + "\n")
        reports.flush()

    line = sys.stdin.readline()
    if line:
        Trainer(json.loads(line), report).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
