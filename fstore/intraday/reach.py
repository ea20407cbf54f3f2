"""How far the built-in features look beyond a day.

They declare that when they are computed by partitions. A window of rows reaches so many rows back, one of time so
long, and one since the start of a session as long as a session lasts. What compares a row with the one before it
reaches one row further, however long ago that was, so a span of time becomes a number of days with rows. A count of
rows is one of the raw data: of order events, of which trades are few, a window of time must be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from fstore.features import PartitionCount
from fstore.intraday.actions import is_trade
from fstore.intraday.bars import find_column
from fstore.intraday.options import listed, positive_int, span_ns

Config = Mapping[str, Any]
_HOUR_NS = 3_600 * 10**9
_SHORTEST_DAY_NS = 23 * _HOUR_NS  # where clocks are set forward
_LONGEST_SESSION_NS = 26 * _HOUR_NS  # more than where they are set back


def vwap_lookback(config: Config) -> Any:
    """Reach all rows of the window."""
    window = config.get("window")
    if window is None:
        return "26h"
    return window if isinstance(window, str) else positive_int(window, "window") - 1


def change_lookback(config: Config) -> Any:
    """Reach all rows of the window, and the one before the first of them."""
    window = config.get("window")
    if window is None:
        return _days(_LONGEST_SESSION_NS)
    return _days(span_ns(window, "window")) if isinstance(window, str) else positive_int(window, "window")


def horizon_of(option: str) -> Callable[[Config], Any]:
    """Reach the longest horizon of ``horizons`` or ``forward``, and the row that decides about it."""

    def reach(config: Config) -> Any:
        horizons = listed(config.get(option, [1, 5, 20] if option == "horizons" else []), option)
        spans = [span_ns(each, option) for each in horizons if isinstance(each, str)]
        rows = [positive_int(each, option) for each in horizons if not isinstance(each, str)]
        if spans and rows:
            raise ValueError(f"{option} mixes rows and durations, which have no common reach; ask for them one by one")
        return _days(max(spans)) if spans else max(rows, default=0)

    return reach


def trades_of_days(raw: pd.DataFrame, config: Config, *options: str) -> pd.DataFrame:
    """Return a day and what its windows reach, or no row of it where no row is a trade.

    Of a whole stream that is a fault. Raises ``ValueError`` where an option counts trades among order events: how
    many rows of raw data that many trades are nobody knows before.
    """
    column = find_column(raw, config, "action")
    if column is None:
        return raw
    for option in options:
        given = config.get(option, [1, 5, 20] if option == "horizons" else None)
        each_one = [given] if option == "window" else listed([] if given is None else given, option)
        if counts := [each for each in each_one if each is not None and not isinstance(each, str)]:
            raise ValueError(
                f"{option} is {counts[0]!r} trades, which by day cannot be counted among order events; "
                "give a duration, such as '5min', or pass the trades alone"
            )
    return raw if is_trade(raw, column, config).any() else raw.iloc[:0]


def _days(span: int) -> PartitionCount:
    """Count the days that a span may overlap, and one for the row before."""
    return PartitionCount(-(-span // _SHORTEST_DAY_NS) + 1)
