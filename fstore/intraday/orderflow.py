"""Signed flow per row.

What each order event, quote change or trade adds to buying or selling pressure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fstore.intraday.actions import ADD, CANCEL, CLEAR, FILL, MODIFY, TRADE, actions_of, only_trades
from fstore.intraday.bars import Floats, find_column, need_column, numbers, prices, sides, sizes
from fstore.intraday.options import distance, flag


def choose_method(raw: pd.DataFrame, config: Mapping[str, Any]) -> str:
    """Return ``config["method"]``, or what the columns suggest: events, else quotes, else trades."""
    method = config.get("method", "auto")
    if method not in ("auto", "events", "quotes", "trades"):
        raise ValueError(f"method is {method!r}; choose 'events', 'quotes', 'trades' or 'auto'")
    if method != "auto":
        return str(method)
    has = {
        role: find_column(raw, config, role) is not None for role in ("action", "side", "size", "bid", "ask", "price")
    }
    if has["action"] and has["side"] and has["size"]:
        return "events"
    return "quotes" if has["bid"] and has["ask"] and not has["price"] else "trades"


def event_flow(raw: pd.DataFrame, config: Mapping[str, Any]) -> Floats:
    """Return by how much each event changed the resting size of bids less that of asks.

    Actions are those of order-by-order feeds: A adds, C takes ``size`` away, M
    sets a new size, R clears; T (trade) and F (fill) tell of an execution whose
    effect follows as C or M, so they count 0 unless ``config["fills_remove"]``
    says that F itself takes size away. A modify of an order first seen in that
    very event counts 0: its former size is unknown. With
    ``config["max_distance"]`` (price units) events farther than that from the
    last trade count 0, as do those before the first trade.
    """
    trades = [str(named).strip().upper() for named in config.get("trade_actions") or [TRADE]]
    action = actions_of(raw, need_column(raw, config, "action"), also=tuple(trades))
    side = sides(raw, need_column(raw, config, "side"))
    size = sizes(raw, need_column(raw, config, "size"))
    takes = action == CANCEL
    if flag(config, "fills_remove"):
        takes |= action == FILL
    change = np.where(action == ADD, size, np.where(takes, -size, 0.0))
    modified = action == MODIFY
    if modified.any():
        order = raw[need_column(raw, config, "order_id")].to_numpy()
        change = np.where(modified, size - _size_before(action, takes, size, order), change)
        change = np.nan_to_num(change, nan=0.0)
    farthest = config.get("max_distance")
    if farthest is not None:
        farthest = distance(farthest, "max_distance")
        price = numbers(raw, need_column(raw, config, "price"))
        is_trade = np.isin(action, trades)
        last_trade = pd.Series(np.where(is_trade, price, np.nan)).ffill().to_numpy()
        change = np.where(np.abs(price - last_trade) <= farthest, change, 0.0)
    flow: Floats = side * change
    return flow


def _size_before(
    action: npt.NDArray[Any], takes: npt.NDArray[np.bool_], size: Floats, order: npt.NDArray[Any]
) -> Floats:
    """Return the size each row's order had resting just before the row, NaN where it was never set.

    An order's size is what its latest A or M set, less what was taken since; a
    clear (R) forgets every order.
    """
    epoch = np.cumsum(action == CLEAR)
    frame = pd.DataFrame({"order": pd.factorize(order)[0], "epoch": epoch, "taken": np.where(takes, size, 0.0)})
    sets = np.isin(action, (ADD, MODIFY))
    by_order = frame.groupby(["order", "epoch"], sort=False)
    frame["set_to"] = np.where(sets, size, np.nan)
    frame["taken_so_far"] = by_order["taken"].cumsum()
    frame["taken_at_set"] = np.where(sets, frame["taken_so_far"], np.nan)
    after = frame.groupby(["order", "epoch"], sort=False)[["set_to", "taken_at_set"]].ffill()
    resting = after["set_to"] - (frame["taken_so_far"] - after["taken_at_set"])
    return resting.groupby([frame["order"], frame["epoch"]], sort=False).shift().to_numpy(dtype=np.float64)


def quote_flow(raw: pd.DataFrame, config: Mapping[str, Any]) -> Floats:
    """Return e_n of Cont, Kukanov and Stoikov (2014) for each quote update; the first row is NaN.

    e_n = 1{Pb_n >= Pb_n-1} qb_n - 1{Pb_n <= Pb_n-1} qb_n-1
        - 1{Pa_n <= Pa_n-1} qa_n + 1{Pa_n >= Pa_n-1} qa_n-1

    with best bid and ask prices Pb, Pa and sizes qb, qa. Without any size column
    every size is 1, which leaves sign(change of bid) + sign(change of ask). A
    missing quote stands for the last one known.
    """
    columns = {role: find_column(raw, config, role) for role in ("bid_size", "ask_size")}
    if (columns["bid_size"] is None) != (columns["ask_size"] is None):
        lacking = next(role for role, name in columns.items() if name is None)
        raise ValueError(
            f"one side has sizes but there is no {lacking} column; set config['columns'] = {{{lacking!r}: '<name>'}}"
        )
    bid, ask = (_known(numbers(raw, need_column(raw, config, role))) for role in ("bid", "ask"))
    bid_size, ask_size = (
        np.ones(len(raw)) if name is None else _known(np.where(np.isnan(numbers(raw, name)), np.nan, sizes(raw, name)))
        for name in columns.values()
    )
    flow = np.full(len(raw), np.nan)
    if len(raw) > 1:
        flow[1:] = (
            np.where(bid[1:] >= bid[:-1], bid_size[1:], 0.0)
            - np.where(bid[1:] <= bid[:-1], bid_size[:-1], 0.0)
            - np.where(ask[1:] <= ask[:-1], ask_size[1:], 0.0)
            + np.where(ask[1:] >= ask[:-1], ask_size[:-1], 0.0)
        )
        unknown = np.isnan(bid) | np.isnan(ask) | np.isnan(bid_size) | np.isnan(ask_size)
        flow[1:][unknown[1:] | unknown[:-1]] = np.nan
    return flow


def trade_flow(raw: pd.DataFrame, config: Mapping[str, Any]) -> tuple[pd.DataFrame, Floats]:
    """Return the trades (or bars) and the signed size of each.

    The sign is the aggressor's side where that is known, else the tick rule
    (Lee and Ready 1991, J. Finance 46, pp. 733-746): that of the last price change,
    0 before the first one. Without a size column every row counts 1.
    """
    trades = only_trades(raw, config)
    size_column, side_column = find_column(trades, config, "size"), find_column(trades, config, "side")
    size = np.ones(len(trades)) if size_column is None else sizes(trades, size_column)
    if side_column is not None:
        return trades, sides(trades, side_column) * size
    return trades, tick_rule(prices(trades, config)) * size


def tick_rule(price: Floats) -> Floats:
    """Return the sign of the last price change at or before each row, 0 before the first.

    Missing prices change nothing.
    """
    known = _known(price)
    move = np.zeros(len(known))
    move[1:] = np.nan_to_num(np.sign(known[1:] - known[:-1]), nan=0.0)
    return np.nan_to_num(_known(np.where(move == 0, np.nan, move)), nan=0.0)


def _known(values: Floats) -> Floats:
    return np.asarray(pd.Series(values).ffill(), dtype=np.float64)
