"""Which rows of a stream of order events are trades.

What does not look like one is refused, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fstore.intraday.bars import find_column

ADD, CANCEL, MODIFY, FILL, CLEAR, TRADE, NOTHING = "A", "C", "M", "F", "R", "T", "N"
ACTIONS = (ADD, CANCEL, MODIFY, FILL, CLEAR, TRADE, NOTHING)
_KINDS_OF_ORDER_EVENTS = ("type", "msg_type", "message_type")


def only_trades(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Keep the executed trades of an order-by-order stream; data without an action column pass unchanged.

    The actions that count as trades are ``config["trade_actions"]``, default ``["T"]``
    of the ``ACTIONS`` there are. Raises ``ValueError`` when the column holds
    something else, and when no row is a trade.
    """
    column = find_column(raw, config, "action")
    named = config.get("trade_actions")
    if column is None:
        if named is not None:
            raise ValueError("trade_actions is given, but there is no action column; set config['columns'] too")
        _refuse_unmarked_events(raw, config)
        return raw
    kept = is_trade(raw, column, config)
    if len(raw) and not kept.any():
        raise ValueError(f"no row has an action of {list(named or [TRADE])!r} in column {column!r}; {_WAYS_OUT}")
    trades: pd.DataFrame = raw.loc[kept]
    return trades


def is_trade(raw: pd.DataFrame, column: Any, config: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Tell the executed trades by the column of actions.

    Raises ``ValueError`` when it holds something else.
    """
    named = config.get("trade_actions")
    found = actions_of(raw, column) == TRADE if named is None else raw[column].isin(list(named))
    return np.asarray(found, dtype=bool)


def actions_of(raw: pd.DataFrame, column: Any, *, also: tuple[str, ...] = ()) -> npt.NDArray[Any]:
    """Return the action of each row in capitals; raises ``ValueError`` for one that no order event has."""
    codes, labels = pd.factorize(raw[column], use_na_sentinel=True)
    if (codes < 0).any():
        raise ValueError(f"column {column!r} is empty in row {int(np.argmax(codes < 0))}; {_WAYS_OUT}")
    known = np.array([str(label).strip().upper() for label in labels], dtype=object)
    strange = [label for label, action in zip(labels, known, strict=True) if action not in (*ACTIONS, *also)]
    if strange:
        raise ValueError(
            f"column {column!r} holds {strange[0]!r}, no action of order events ({', '.join(ACTIONS)}); {_WAYS_OUT}"
        )
    return known[codes] if len(known) else np.empty(len(raw), dtype=object)


_WAYS_OUT = (
    "say which values are trades, config['trade_actions'] = [...], or that it is something else, "
    "config['columns'] = {'action': None}"
)


def _refuse_unmarked_events(raw: pd.DataFrame, config: Mapping[str, Any]) -> None:
    """Order events without a known name for their kind would all count as trades."""
    if "action" in config.get("columns", {}) or find_column(raw, config, "order_id") is None:
        return
    kind = next((column for column in raw.columns if str(column).lower() in _KINDS_OF_ORDER_EVENTS), None)
    if kind is not None:
        raise ValueError(
            f"column {kind!r} beside order ids reads as the kind of order events; set config['columns'] = "
            f"{{'action': {kind!r}}} and config['trade_actions'] = [...], or {{'action': None}} if every row is a trade"
        )
