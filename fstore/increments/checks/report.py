"""What a check found, as values and as text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np


class Kind(StrEnum):
    """What can be wrong with a declaration, or with a function that declares one."""

    LOOKBACK = "lookback"
    LOOKAHEAD = "lookahead"
    GAPS = "gaps"
    REPEAT = "repeat"
    CLOCK = "clock"
    INPUT = "input"
    RESULT = "result"
    RAISES = "raises"
    REFUSED = "refused"
    LAYOUT = "layout"
    LONG_GAPS = "long gaps"
    COST = "cost"
    ALONE = "alone"


_ADVICE = {
    Kind.LOOKBACK: "it depends on rows before its window: lengthen lookback=, or leave partition= out if no length will do",
    Kind.LOOKAHEAD: "it depends on rows after its window: declare lookahead=, if it may look ahead at all",
    Kind.GAPS: "it fills values that are missing at the edge from beyond its window: limit the filling, and reach as far",
    Kind.REPEAT: "two calls with equal rows gave two results: take randomness and clocks out of it",
    Kind.CLOCK: "its result depends on the day it is computed on, and would be answered with ever after: take the time from "
    "the data, or put the day into the config",
    Kind.INPUT: "it changes the frame it is given: work on a copy",
    Kind.RESULT: "partitions do not fit together, or have no times",
    Kind.RAISES: "a request with this partition fails, whatever the others give: return no rows for what has no result",
    Kind.REFUSED: "it takes no such data, so nothing was checked: give other data, or another config",
    Kind.LAYOUT: "its last bits depend on how a frame lies in memory; partitions are computed from frames of their own, so "
    "fstore gives one result, and a call by hand may give another",
    Kind.LONG_GAPS: "a gap as long as its lookback is filled from further back",
    Kind.ALONE: "there is no other partition to look into, so no reach can be told: give data of several",
    Kind.COST: "partitions do not pay for this feature: declare longer ones, or none",
}
_NOTES = (Kind.LAYOUT, Kind.LONG_GAPS, Kind.COST, Kind.ALONE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found; ``worst`` is a difference in units of the column's range."""

    kind: Kind
    partition: str
    worst: float = np.inf
    column: str = ""
    detail: str = ""

    @property
    def is_fault(self) -> bool:
        """Is the declaration wrong, or is this merely worth knowing."""
        return self.kind not in _NOTES

    @property
    def advice(self) -> str:
        """What it means and what to do."""
        return _ADVICE[self.kind]

    def __str__(self) -> str:
        where = f"column {self.column!r} " if self.column else ""
        size = f"{self.worst:.1e} of its range " if np.isfinite(self.worst) else ""
        return f"{self.kind.value:9}  {self.partition}  {where}{size}{self.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: all in one call, all by partitions, and the one partition of an appended day."""

    one_call: float
    by_partitions: float
    appended: float
    partitions: int

    @property
    def gain(self) -> float:
        """How many times less an append computes than one call for everything."""
        return self.one_call / self.appended if self.appended else np.inf


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The shortest reach, in rows, within the tolerance; None where none that was tried will do.

    It is of the data as they are. ``checked`` is the shortest of a few lookbacks from there on with which the whole
    check holds, that with other values outside of the window too; None where none of them does.
    """

    lookback: int | None
    lookahead: int | None
    errors_back: tuple[tuple[int, float], ...] = ()
    errors_ahead: tuple[tuple[int, float], ...] = ()
    checked: int | None = None

    def __str__(self) -> str:
        lines = ["the shortest reach that will do for these data, and the worst difference with shorter ones:"]
        for name, found, errors in (
            ("lookback", self.lookback, self.errors_back),
            ("lookahead", self.lookahead, self.errors_ahead),
        ):
            if found is None:
                lines.append(f"{name}: no length that was tried will do; it may depend on all of the data")
            else:
                lines.append(f"{name}={found} rows")
            lines += [f"  {rows:>8,} rows  {_worst(worst)}" for rows, worst in errors]
        return "\n".join([*lines, self._advice])

    @property
    def _advice(self) -> str:
        if self.lookback is None or self.lookahead is None:
            return "leave partition= out, or give more data"
        ahead = f", lookahead={self.lookahead}" if self.lookahead else ""
        if self.checked is None:
            return (
                f"with lookback={self.lookback}{ahead} the check finds a fault all the same: check with that to see it"
            )
        declared = f"with lookback={self.checked}{ahead} the check holds on these data"
        if self.checked == self.lookback:
            return declared
        return (
            f"{declared}; with lookback={self.lookback} it does not where rows outside of the window have other values"
        )


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that a check found."""

    declaration: str
    checked: tuple[str, ...]
    tolerance: float
    findings: tuple[Finding, ...]
    costs: Costs | None = None
    suggestion: Suggestion | None = field(default=None)

    @property
    def is_right(self) -> bool:
        """May the feature be declared like this."""
        return not any(each.is_fault for each in self.findings)

    @property
    def worst(self) -> tuple[Finding, ...]:
        """The worst finding of each kind, faults first."""
        found: dict[Kind, Finding] = {}
        for each in self.findings:
            if each.kind not in found or each.worst > found[each.kind].worst:
                found[each.kind] = each
        return tuple(sorted(found.values(), key=lambda each: not each.is_fault))

    @property
    def _declared(self) -> str:
        said = json.loads(self.declaration)
        cut = json.loads(said["cut"])
        start = f" from {cut['minutes'] // 60:02}:{cut['minutes'] % 60:02}" if cut["minutes"] else ""
        zone = f" {cut['zone']}" if cut["zone"] else ""
        return ", ".join(
            [f"by the {cut['every']}{start}{zone}", *(_reach(each, *said[each]) for each in ("lookback", "lookahead"))]
        )

    def as_json(self) -> dict[str, Any]:
        """The same for machines; a difference without bound is null."""
        return {
            "right": self.is_right,
            "declaration": self.declaration,
            "checked": list(self.checked),
            "tolerance": self.tolerance,
            "findings": [
                {
                    "kind": each.kind.value,
                    "fault": each.is_fault,
                    "partition": each.partition,
                    "column": each.column,
                    "worst": each.worst if np.isfinite(each.worst) else None,
                    "detail": each.detail,
                    "advice": each.advice,
                }
                for each in self.findings
            ],
            "costs": self.costs
            and {
                "one_call_s": self.costs.one_call,
                "by_partitions_s": self.costs.by_partitions,
                "appended_s": self.costs.appended,
                "partitions": self.costs.partitions,
            },
            "suggestion": self.suggestion
            and {
                "lookback": self.suggestion.lookback,
                "lookahead": self.suggestion.lookahead,
                "checked_lookback": self.suggestion.checked,
                "errors_back": [[rows, _finite(worst)] for rows, worst in self.suggestion.errors_back],
                "errors_ahead": [[rows, _finite(worst)] for rows, worst in self.suggestion.errors_ahead],
            },
        }

    def __str__(self) -> str:
        head = f"the declaration ({self._declared}) {'holds' if self.is_right else 'is wrong'}"
        if any(each.kind is Kind.REFUSED for each in self.findings):
            head = "nothing was checked: it raised"
        lines = [f"{head} on {len(self.checked)} partitions ({', '.join(self.checked)}), tolerance {self.tolerance:g}"]
        for each in self.worst:
            lines += [f"  {each}", f"             {each.advice}"]
        if self.costs:
            costs = self.costs
            lines.append(
                f"cost: {costs.one_call:.3g} s in one call, {costs.by_partitions:.3g} s by {costs.partitions} partitions, "
                f"{costs.appended:.3g} s for an appended one ({costs.gain:.1f} times less)"
            )
        if self.suggestion:
            lines.append(str(self.suggestion))
        return "\n".join(lines)


def _worst(value: float) -> str:
    return f"{value:.1e}" if np.isfinite(value) else "missing values, rows or dtypes differ"


def _reach(name: str, kind: str, amount: int) -> str:
    """Write a reach as it is declared."""
    if kind == "time":
        return f'{name}="{amount / 10**9:g}s"'
    return f"{name}={amount}" if kind == "rows" else f"{name}=partitions({amount})"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
