"""What was ingested: rows, span, gaps, duplicates and what was refused, counted while it was written."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fstore.ingest.rows.refusals import RefusedRow

_MOST_STEPS = 4096
_LONGEST = 5


@dataclass(frozen=True, slots=True)
class Gap:
    """Two times that follow each other, further apart than is usual."""

    start: str
    end: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file that was written.

    ``step_s`` is the time from most rows to the next, None where no step is that usual (ticks);
    ``gaps`` counts longer ones, and is None with it; ``longest_gaps`` are there in any case.
    ``same_time`` counts rows of the time of the row before, ``repeated`` those that are equal to
    it altogether. Without a time column only ``rows`` is known.
    """

    path: str
    rows: int
    start: str | None = None
    end: str | None = None
    step_s: float | None = None
    gaps: int | None = None
    longest_gaps: tuple[Gap, ...] = ()
    same_time: int | None = None
    repeated: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rows": self.rows,
            "start": self.start,
            "end": self.end,
            "step_s": self.step_s,
            "gaps": self.gaps,
            "longest_gaps": [{"start": gap.start, "end": gap.end, "seconds": gap.seconds} for gap in self.longest_gaps],
            "same_time": self.same_time,
            "repeated": self.repeated,
        }


@dataclass(frozen=True, slots=True)
class IngestReport:
    """All files that were written, and the rows that were left out."""

    files: tuple[FileReport, ...]
    refused: tuple[RefusedRow, ...]

    @property
    def rows(self) -> int:
        """Rows written."""
        return sum(file.rows for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        starts = [file.start for file in self.files if file.start is not None]
        ends = [file.end for file in self.files if file.end is not None]
        return {
            "rows": self.rows,
            "start": min(starts, default=None),
            "end": max(ends, default=None),
            "gaps": _sum(file.gaps for file in self.files),
            "same_time": _sum(file.same_time for file in self.files),
            "repeated": _sum(file.repeated for file in self.files),
            "refused": len(self.refused),
            "refused_rows": [row.as_dict() for row in self.refused],
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Say it in words, a line each."""
        about = self.as_dict()
        said = [f"{self.rows:,} rows" + (f" from {about['start']} to {about['end']}" if about["start"] else "")]
        if about["gaps"] is not None:
            said.append(f"gaps: {about['gaps']:,} steps longer than the usual one")
        longest = heapq.nlargest(_LONGEST, (gap for file in self.files for gap in file.longest_gaps), key=_seconds)
        said += [f"  {gap.seconds:,.9g} s from {gap.start} to {gap.end}" for gap in longest]
        if about["same_time"] is not None:
            said.append(
                f"duplicates: {about['same_time']:,} rows of the time of the row before, {about['repeated']:,} equal to it"
            )
        said.append(f"refused: {len(self.refused):,} rows")
        said += [f"  {row.file}, row {row.row}: {row.reason}" for row in self.refused]
        return said


class Tally:
    """Counts the rows of one file as they are written; ``time`` is the column of the index."""

    def __init__(self, time: str | None) -> None:
        self._time = time
        self._rows = self._same = self._repeated = 0
        self._first: int | None = None
        self._last: pa.RecordBatch | None = None
        self._unit, self._zoned = 1, False
        self._steps: Counter[int] | None = Counter()
        self._longest: list[tuple[int, int]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Look at rows that were just written."""
        self._rows += batch.num_rows
        if self._time is None or not batch.num_rows:
            return
        # The last row of the batch before belongs to the first step of this one.
        rows = batch if self._last is None else _joined(self._last, batch)
        times = rows.column(self._time)
        self._unit = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[times.type.unit]
        self._zoned = times.type.tz is not None
        ticks = times.view(pa.int64()).to_numpy(zero_copy_only=False)
        if self._first is None:
            self._first = int(ticks[0])
        steps = np.diff(ticks)
        same = np.flatnonzero(steps == 0)
        self._same += len(same)
        self._repeated += _equal_rows(rows, same)
        self._count(steps)
        for at in np.argsort(steps)[-_LONGEST:]:
            if steps[at] > 0:
                self._longest.append((int(steps[at]), int(ticks[at])))
        self._longest = heapq.nlargest(_LONGEST, self._longest)
        self._last = batch.slice(batch.num_rows - 1)

    def report(self, path: Path) -> FileReport:
        """Sum up."""
        if self._time is None:
            return FileReport(str(path), self._rows)
        if self._first is None or self._last is None:
            return FileReport(str(path), self._rows, same_time=0, repeated=0)
        last = int(self._last.column(self._time).view(pa.int64())[0].as_py())
        usual = self._usual()
        gaps = None if usual is None or self._steps is None else sum(
            count for step, count in self._steps.items() if step > usual
        )  # fmt: skip
        longest = tuple(
            Gap(self._text(start), self._text(start + step), step * self._unit / 10**9)
            for step, start in self._longest
            if usual is None or step > usual
        )
        return FileReport(
            str(path), self._rows, self._text(self._first), self._text(last),
            None if usual is None else usual * self._unit / 10**9, gaps, longest, self._same, self._repeated,
        )  # fmt: skip

    def _count(self, steps: np.ndarray[Any, Any]) -> None:
        if self._steps is None:
            return
        values, counts = np.unique(steps[steps > 0], return_counts=True)
        for step, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._steps[step] += count
        if len(self._steps) > _MOST_STEPS:
            self._steps = None  # no bars

    def _usual(self) -> int | None:
        """Return the step of more than half of the rows."""
        if not self._steps:
            return None
        step, count = self._steps.most_common(1)[0]
        return step if 2 * count > self._steps.total() else None

    def _text(self, tick: int) -> str:
        seconds, rest = divmod(tick * self._unit, 10**9)
        whole = datetime.fromtimestamp(0, UTC) if abs(seconds) > 10**11 else datetime.fromtimestamp(seconds, UTC)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{whole:%Y-%m-%dT%H:%M:%S}{fraction}{'Z' if self._zoned else ''}"


def _joined(last: pa.RecordBatch, batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.Table.from_batches([last, batch]).combine_chunks().to_batches()[0]


def _equal_rows(rows: pa.RecordBatch, at: np.ndarray[Any, Any]) -> int:
    """Count which of these rows equal the next; a null equals a null."""
    if not len(at):
        return 0
    before, after = rows.take(pa.array(at)), rows.take(pa.array(at + 1))
    equal = None
    for one, other in zip(before.columns, after.columns, strict=True):
        try:
            same = pc.if_else(pc.and_(one.is_null(), other.is_null()), True, pc.fill_null(pc.equal(one, other), False))
        except pa.ArrowNotImplementedError:  # lists and the like
            same = pa.array([a == b for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)])
        equal = same if equal is None else pc.and_(equal, same)
    return int(pc.sum(equal).as_py() or 0)


def _seconds(gap: Gap) -> float:
    return gap.seconds


def _sum(counts: Any) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
