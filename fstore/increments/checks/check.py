"""Checking a feature against its declaration, on a few partitions of real data.

For each of them: two equal calls; two on other days by the clock; windows four times as wide; rows outside of the window
scaled, walked off and emptied; values missing at the window's edges; a slice of a longer
frame. What is said about the partition must stay the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.features import Partitioning, Reach, ReachKind, canonical_config, restore_config
from fstore.increments.checks.report import CheckReport, Costs, Finding, Kind, Suggestion
from fstore.increments.checks.suggest import suggested
from fstore.increments.checks.trials import (
    Answer,
    Difference,
    Trials,
    difference,
    emptied,
    same_bits,
    scaled,
    walked,
)
from fstore.increments.cutting import label_of
from fstore.increments.data import PartitionedData
from fstore.increments.results import joined
from fstore.increments.windows import Window
from fstore.results import UnstorableResult

EDGE_ROWS = 3
_DAY = 86_400
MOST_SAMPLES = 8
_LONGER = (1, 2, 4, 8)  # times the lookback that would do for the data as they are
_WORTH = 1.5  # an append that saves less than a third is not worth files of its own


def check_feature(
    func: Callable[..., Any],
    raw: pd.DataFrame | pa.Table,
    config: Mapping[str, Any],
    declared: Partitioning,
    *,
    kind: str = "pandas",
    tolerance: float = 1e-6,
    suggest: bool = False,
    costs: bool = True,
    clock: Callable[[], float] = time.process_time,
) -> CheckReport:
    """Find out whether a function is what it declares; ``tolerance`` is in units of a column's range.

    Nothing can show that a function never looks further. What depends on rows beyond the
    declared window on these data is found, be it a window that is too short, a look
    ahead, statistics over everything, or values filled in at the edges.
    """
    text = canonical_config(config)
    evaluated = declared.evaluated(restore_config(text))
    data = PartitionedData(raw, evaluated)
    trials = Trials(func, data, lambda: restore_config(text), kind)
    findings: list[Finding] = []
    answers: list[tuple[str, Answer]] = []
    sampled = samples(data)
    for at in sampled:
        label = label_of(data.cut.spans[at], evaluated.cut.every)
        probe = _Probe(trials, data.windows[at], label, tolerance)
        answers.append((label, probe.own))
        findings += probe.findings(with_layout=kind == "pandas")
    findings += _misfits(answers)
    raised = list(_raised(answers))
    findings += raised
    is_refused = bool(raised) and raised[0].kind is Kind.REFUSED
    measured = _costs(trials, clock) if costs and len(data.cut) > 1 and not is_refused else None
    if measured and measured.gain < _WORTH and len(data.cut) > 4:
        findings.append(
            Finding(Kind.COST, "", measured.gain, detail=f"an append saves a factor of {measured.gain:.1f}")
        )
    is_alone = len(data.cut) == 1
    if is_alone:
        findings.append(Finding(Kind.ALONE, label_of(data.cut.spans[0], evaluated.cut.every)))
    suggestion = suggested(trials, sampled, tolerance) if suggest and not (is_refused or is_alone) else None
    if suggestion is not None:
        suggestion = replace(suggestion, checked=_checked(suggestion, trials, raw, tolerance))
    return CheckReport(
        evaluated.text,
        tuple(label for label, _ in answers),
        tolerance,
        tuple(findings),
        measured,
        suggestion,
    )


def _checked(suggestion: Suggestion, trials: Trials, raw: pd.DataFrame | pa.Table, tolerance: float) -> int | None:
    """Find a lookback with which the check holds, from the suggested one on.

    What was compared there are the data as they are: other rows before a window may weigh more.
    """
    if suggestion.lookback is None or suggestion.lookahead is None:
        return None
    ahead = Reach(ReachKind.ROWS, suggestion.lookahead)
    for factor in _LONGER if suggestion.lookback else _LONGER[:1]:
        lookback = Reach(ReachKind.ROWS, factor * suggestion.lookback)
        data = PartitionedData(raw, replace(trials.data.declared, lookback=lookback, lookahead=ahead))
        tried = trials.on(data)
        found = (_Probe(tried, data.windows[at], "", tolerance).findings(with_layout=False) for at in samples(data))
        if not any(each.is_fault for each in chain.from_iterable(found)):
            return lookback.amount
    return None


def samples(data: PartitionedData) -> list[int]:
    """Choose partitions that tell most.

    The ends, the shortest, those behind the widest gaps and of unusual length.
    """
    count = len(data.cut)
    rows = np.diff(data.cut.rows)
    spans = data.cut.spans
    gaps = [later.start - earlier.end for earlier, later in pairwise(spans)]
    lengths = [span.end - span.start for span in spans]
    usual = max(set(lengths), key=lengths.count) if lengths else 0
    chosen = [0, 1, count - 1, count // 2, int(np.argmin(rows)) if count else 0]
    chosen += [int(at) + 1 for at in np.argsort(gaps)[::-1][:2]] if gaps else []
    chosen += [at for at, length in enumerate(lengths) if length != usual][:2]
    kept = dict.fromkeys(at for at in chosen if 0 <= at < count)
    return sorted(list(kept)[:MOST_SAMPLES])


class _Probe:
    """One partition, seen through windows of several widths."""

    def __init__(self, trials: Trials, window: Window, label: str, tolerance: float) -> None:
        cut = trials.data.cut
        self._trials, self._window, self._label, self._tolerance = trials, window, label, tolerance
        self._span = cut.spans[window.at]
        self._start, self._end = cut.rows[window.at], cut.rows[window.at + 1]
        back, ahead = self._start - window.first, window.stop - self._end
        near, far = max(window.at - 3, 0), min(window.at + 4, len(cut))
        self._wide_first = max(min(self._start - 4 * back, cut.rows[near]), 0)
        self._wide_stop = min(max(self._end + 4 * ahead, cut.rows[far]), cut.rows[-1])
        self.own = self._answer()

    def findings(self, *, with_layout: bool) -> Iterator[Finding]:
        if self.own.error:
            if self.own.is_unstorable:
                yield Finding(Kind.RESULT, self._label, detail=self.own.error)
                return
        elif self.own.is_input_changed:
            yield Finding(Kind.INPUT, self._label)
        again = self._answer()
        if not same_bits(self.own, again):
            yield self._found(Kind.REPEAT, difference(self.own, again))
            return  # whatever else differs may do so for this reason
        yield from self._on_other_days()
        yield from self._wider()
        yield from self._changed_outside()
        yield from self._gaps()
        if with_layout and self.own.frame is not None:
            cut = self._trials.answer_from_slice(self._span, self._label, self._window.first, self._window.stop)
            apart = difference(self.own, cut)
            if 0 < apart.worst <= self._tolerance:
                yield self._found(Kind.LAYOUT, apart)
            elif apart.worst > self._tolerance:
                yield self._found(Kind.REPEAT, apart)

    def _on_other_days(self) -> Iterator[Finding]:
        """Ask again on the day after the partition, and in a year: who compares with today sees one of them."""
        for moment in (self._span.end + _DAY, time.time() + 400 * _DAY):
            apart = difference(self.own, self._answer(clock=moment))
            if apart.worst > 0:
                yield self._found(Kind.CLOCK, apart)
                return

    def _wider(self) -> Iterator[Finding]:
        # One row less as well: what takes every n-th row counts from where its window begins.
        fewer = min(self._wide_first + 1, self._window.first)
        for kind, first, stop in (
            (Kind.LOOKBACK, self._wide_first, self._window.stop),
            (Kind.LOOKBACK, fewer, self._window.stop),
            (Kind.LOOKAHEAD, self._window.first, self._wide_stop),
        ):
            apart = difference(self.own, self._answer(first, stop))
            if apart.worst > self._tolerance:
                yield self._found(kind, apart)

    def _changed_outside(self) -> Iterator[Finding]:
        wide = self._answer(self._wide_first, self._wide_stop)
        if wide.frame is None:
            return
        shift = self._wide_first
        before = (0, self._window.first - shift)
        after = (self._window.stop - shift, self._wide_stop - shift)
        for kind, (first, stop) in ((Kind.LOOKBACK, before), (Kind.LOOKAHEAD, after)):
            if first >= stop:
                continue
            for change in (scaled, walked, emptied):
                other = self._answer(self._wide_first, self._wide_stop, partial(change, first=first, stop=stop))
                if other.frame is None:
                    continue  # it refuses such rows, which says nothing about others
                apart = difference(wide, other)
                if apart.worst > self._tolerance:
                    yield self._found(kind, apart, f"when rows outside its window are {change.__name__}")

    def _gaps(self) -> Iterator[Finding]:
        start, end, first, stop = self._start, self._end, self._window.first, self._window.stop
        edge = min(EDGE_ROWS, end - start)
        for kind, gap, reach in (
            (Kind.GAPS, (start, start + edge), (self._wide_first, stop)),
            (Kind.GAPS, (end - edge, end), (first, self._wide_stop)),
            (Kind.LONG_GAPS, (first, start + edge), (self._wide_first, stop)),
            (Kind.LONG_GAPS, (end - edge, stop), (first, self._wide_stop)),
        ):
            if kind is Kind.LONG_GAPS and gap in ((start, start + edge), (end - edge, end)):
                continue
            narrow = self._answer(first, stop, partial(emptied, first=gap[0] - first, stop=gap[1] - first))
            wide = self._answer(*reach, partial(emptied, first=gap[0] - reach[0], stop=gap[1] - reach[0]))
            apart = difference(narrow, wide)
            if apart.worst > self._tolerance:
                yield self._found(kind, apart)

    def _answer(
        self,
        first: int | None = None,
        stop: int | None = None,
        change: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
        clock: float | None = None,
    ) -> Answer:
        first = self._window.first if first is None else first
        stop = self._window.stop if stop is None else stop
        return self._trials.answer(self._span, self._label, first, stop, change, clock=clock)

    def _found(self, kind: Kind, apart: Difference, when: str = "") -> Finding:
        return Finding(kind, self._label, apart.worst, apart.column, " ".join(filter(None, (apart.detail, when))))


def _raised(answers: list[tuple[str, Answer]]) -> Iterator[Finding]:
    """Tell what the function raised for the windows that it declares.

    Two errors are alike, and show nothing.
    """
    failed = [(label, answer) for label, answer in answers if answer.frame is None and not answer.is_unstorable]
    kind = Kind.REFUSED if len(failed) == len(answers) else Kind.RAISES
    for label, answer in failed:
        yield Finding(kind, label, detail=answer.error)


def _misfits(answers: list[tuple[str, Answer]]) -> Iterator[Finding]:
    tables = [(label, answer.stored) for label, answer in answers if answer.stored is not None]
    for (one, first), (other, second) in pairwise(tables):
        try:
            joined([first, second], [one, other])
        except UnstorableResult as error:
            yield Finding(Kind.RESULT, other, detail=str(error))


def _costs(trials: Trials, clock: Callable[[], float]) -> Costs:
    """Measure one call for everything, and a few partitions for all of them.

    The times of the best of two rounds.
    """
    data = trials.data
    count = len(data.cut)
    chosen = sorted({*range(max(count - 3, 0), count), count // 2})

    def seconds(windows: list[tuple[int, int, int]]) -> float:
        found = []
        for _ in range(2):
            began = clock()
            for at, first, stop in windows:
                trials.answer(data.cut.spans[at], "", first, stop)
            found.append(clock() - began)
        return min(found)

    each = seconds([(at, data.windows[at].first, data.windows[at].stop) for at in chosen]) / len(chosen)
    touched = sum(count - 1 in range(window.low, window.high + 1) for window in data.windows[-8:])
    return Costs(seconds([(0, 0, data.cut.rows[-1])]), each * count, each * touched, count)
