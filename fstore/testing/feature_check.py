"""Features held against what they declare, in the tests of whoever writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fstore.features import Sessions, checked_partitioning
from fstore.increments import CheckReport, checked_feature


def check_feature(
    feature: Any,
    raw: object,
    config: Mapping[str, Any] | None = None,
    *,
    partition: str | Sessions | None = None,
    lookback: Any = 0,
    lookahead: Any = 0,
    time: str | None = None,
    tolerance: float = 1e-6,
    suggest: bool = False,
) -> CheckReport:
    """Fail unless a feature is what it declares on these raw data, and tell what it is instead.

    Needs no server. ``feature`` is a registered function, its name, what ``fstore.local`` made, or any function of
    raw data and config; ``partition`` and the reach stand in for what it declares. ``tolerance`` is in units of a
    column's range. What is merely worth knowing, and with ``suggest`` the shortest reach, is in the report that
    comes back.
    """
    checked = checked_feature(feature)
    declared = checked_partitioning(
        "check_feature", partition, lookback=lookback, lookahead=lookahead, time=time, input=checked.kind
    )
    if declared is not None:
        checked = replace(checked, declared=declared)
    report = checked.check(raw, config or {}, tolerance=tolerance, suggest=suggest, costs=False)
    if not report.is_right:
        raise AssertionError(str(report))
    return report
