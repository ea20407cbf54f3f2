"""Built-in features: VWAP with bands, realised volatility, order-flow imbalance, log returns.

All take ticks, quotes, bars or order events (see ``fstore.intraday.bars`` for how columns
are found) in time order, and return float64 columns on the index of the rows
they are about. Nothing but ``log_return_forward_*`` looks ahead. Rows with equal
timestamps count in the order given. An empty frame with the right columns
gives an empty frame; missing columns, wrong types, rows out of order and
unknown options raise ``ValueError``, as do a column called action or event that holds no
actions of order events, and order events without a trade. Prices that are missing or, where a
logarithm is taken, not positive make NaN, never an infinity.

Those called ``..._by_day`` declare a partition (docs/incremental.md): each day is computed from
it and what its windows reach, and a new or corrected day computes little more than that day.
The others are one call over all of the data, and keep their keys.

Options all share: ``columns`` (role to column name, or to None for a role that no
column plays), ``trade_actions`` (what counts as a trade in an order-by-order stream).
Numbers are numbers, durations text with a unit ("20s", "5min"), flags true or false; a
session that starts in the hour that summer time repeats does so at its first occurrence.
Change a version below whenever results change, also through the modules of this package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fstore.features import feature
from fstore.intraday.actions import only_trades
from fstore.intraday.bars import Floats, find_column, need_column, prices, sizes, times
from fstore.intraday.options import add_column, band_name, check_options, flag, listed, positive, positive_int, span_ns
from fstore.intraday.orderflow import choose_method, event_flow, quote_flow, trade_flow
from fstore.intraday.reach import change_lookback, horizon_of, trades_of_days, vwap_lookback
from fstore.intraday.sessions import session_numbers
from fstore.intraday.windows import Windows, make_windows, need_times

SHARED_OPTIONS = frozenset({"columns", "trade_actions", "session_start", "session_tz"})


@feature(version="2")
def vwap_bands(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return the volume-weighted average price of a trailing window, with bands.

    vwap = sum(p v) / sum(v) over the window (Berkowitz, Logue and Noser 1988,
    J. Finance 43, p. 97), std = sqrt(sum(v (p - vwap)^2) / sum(v)), bands at
    vwap +- k std; p is the trade price or a bar's (high + low + close) / 3.

    Options: ``window`` (rows, or a duration; without it since the session's
    start), ``bands`` (the k, default [1, 2]), ``weights`` ("volume", or "equal"
    for data without volume), ``min_rows``, ``session_start``, ``session_tz``.

    Shape: a row per trade or bar; columns ``vwap``, ``vwap_std``, ``upper_k``,
    ``lower_k`` per band, in price units. NaN until the window holds ``min_rows``
    priced rows, and while its volume is zero. ``vwap_std`` is good to about
    1e-8 of the range of prices in the window's neighbourhood.
    """
    check_options(config, SHARED_OPTIONS | {"window", "min_rows", "bands", "weights"})
    rows = only_trades(raw, config)
    price = prices(rows, config, typical=True)
    weights = config.get("weights", "volume")
    if weights not in ("volume", "equal"):
        raise ValueError(f"weights is {weights!r}; choose 'volume' or 'equal'")
    volume = sizes(rows, _volume_column(rows, config)) if weights == "volume" else np.ones(len(rows))
    bands = [positive(k, "bands") for k in listed(config.get("bands", [1, 2]), "bands")]
    windows = make_windows(len(rows), times(rows, config), config)

    priced = ~np.isnan(price)
    weight = np.where(priced, volume, 0.0)
    # Sums of squares of raw prices would cancel away the spread; offsets from one price do not.
    origin = price[priced][0] if priced.any() else 0.0
    offset = np.where(priced, price - origin, 0.0)
    settled = (windows.count(priced) >= windows.min_rows) & (windows.count(weight > 0) > 0)
    total = np.where(settled, windows.sum(weight), np.nan)
    mean = windows.sum(weight * offset) / total
    std = np.sqrt(np.maximum(windows.sum(weight * offset**2) / total - mean**2, 0.0))
    vwap = origin + mean
    columns = {"vwap": vwap, "vwap_std": std}
    for k in bands:
        add_column(columns, f"upper_{band_name(k)}", vwap + k * std, "bands")
        add_column(columns, f"lower_{band_name(k)}", vwap - k * std, "bands")
    return pd.DataFrame(columns, index=rows.index)


@feature(version="2")
def realised_volatility(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return the realised variance and volatility of log returns over a trailing window.

    "realised": RV = sum(r^2) (Andersen, Bollerslev, Diebold and Labys 2003,
    Econometrica 71, section 2). "bipower", robust to jumps: BV = (pi / 2)
    (n / m) sum(|r_t| |r_t-1|) over the m pairs of neighbours (n - 1 without
    gaps) inside the window (Barndorff-Nielsen and Shephard 2004, J. Financial
    Econometrics 2, section 2.4, with the usual small-sample factor).

    Options: ``window`` (returns, or a duration; without it since the session's
    start), ``estimator``, ``periods_per_year`` P, ``within_session`` (true: the
    return across the start of a session is left out), ``min_rows``,
    ``session_start``, ``session_tz``.

    Shape: a row per trade, quote or bar; ``realised_variance`` is that of the
    window, ``realised_volatility`` its square root, or with P given
    sqrt(P variance / n): per year if a year has P returns. ``returns`` is n. A
    missing or not positive price has no return, nor has the row after it. NaN
    until the window holds ``min_rows`` returns (bipower: at least 2).
    """
    check_options(config, SHARED_OPTIONS | {"window", "min_rows", "estimator", "periods_per_year", "within_session"})
    rows = only_trades(raw, config)
    estimator = config.get("estimator", "realised")
    if estimator not in ("realised", "bipower"):
        raise ValueError(f"estimator is {estimator!r}; choose 'realised' or 'bipower'")
    stamps = times(rows, config)
    windows = make_windows(len(rows), stamps, config)

    log_price = _log(prices(rows, config))
    returns = np.full(len(rows), np.nan)
    returns[1:] = log_price[1:] - log_price[:-1]
    if flag(config, "within_session"):
        session = session_numbers(need_times(stamps, "within_session"), config)
        returns[1:][session[1:] != session[:-1]] = np.nan
    count = windows.count(~np.isnan(returns))
    if estimator == "realised":
        settled = count >= windows.min_rows
        variance = windows.sum(returns**2)
    else:
        variance, pairs = _bipower(returns, windows, count)
        settled = (count >= windows.min_rows) & (pairs > 0)
    variance = np.where(settled, np.maximum(variance, 0.0), np.nan)
    annual = config.get("periods_per_year")
    scale = 1.0 if annual is None else positive(annual, "periods_per_year") / np.maximum(count, 1.0)
    columns = {"realised_variance": variance, "realised_volatility": np.sqrt(scale * variance), "returns": count}
    return pd.DataFrame(columns, index=rows.index)


@feature(version="2")
def order_flow_imbalance(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return the signed flow of each row and its sum over a trailing window.

    From quotes: e_n and OFI = sum(e_n) of Cont, Kukanov and Stoikov (2014, J.
    Financial Econometrics 12, p. 47, section 2). From order events: the same
    decomposition into added, cancelled and executed size, over all price levels
    or those within ``max_distance`` of the last trade. From trades or bars:
    signed size, by the aggressor's side or the tick rule (Lee and Ready 1991).

    Options: ``method`` ("events", "quotes", "trades", default by the columns),
    ``window`` (rows, or a duration; without it since the session's start),
    ``min_rows``, ``max_distance``, ``fills_remove``, ``session_start``, ``session_tz``.

    Shape: a row per event, quote, trade or bar; ``flow`` and ``ofi`` in units of
    size (contracts, shares; 1 a row where data carry no size), ``ofi_normalised``
    = ofi / sum(abs(flow)) in [-1, 1], NaN while no size moved. The first quote
    has no flow (NaN). NaN until the window holds ``min_rows`` rows with a flow.
    """
    check_options(config, SHARED_OPTIONS | {"window", "min_rows", "method", "max_distance", "fills_remove"})
    method = choose_method(raw, config)
    if method == "trades":
        rows, flow = trade_flow(raw, config)
    else:
        rows, flow = raw, event_flow(raw, config) if method == "events" else quote_flow(raw, config)
    windows = make_windows(len(rows), times(rows, config), config)

    settled = windows.count(~np.isnan(flow)) >= windows.min_rows
    moved = windows.count(np.nan_to_num(flow, nan=0.0) != 0.0) > 0
    total = np.where(settled, windows.sum(flow), np.nan)
    gross = np.where(settled & moved, windows.sum(np.abs(flow)), np.nan)
    columns = {"flow": flow, "ofi": total, "ofi_normalised": np.clip(total / gross, -1.0, 1.0)}
    return pd.DataFrame(columns, index=rows.index)


@feature(version="2")
def log_returns(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return log returns over several horizons, backward as features, forward as labels.

    Backward: ln(p_t / p_t-h) (Campbell, Lo and MacKinlay 1997, The Econometrics
    of Financial Markets, section 1.4.1), forward: ln(p_t+h / p_t). A horizon
    is a number of rows, or a duration: then p_t-h is the last price at or before
    t - h, and p_t+h the last at or before t + h.

    Options: ``horizons`` (default [1, 5, 20]), ``forward`` (horizons, default
    none), ``within_session`` (true: no return across a session's start),
    ``session_start``, ``session_tz``.

    Shape: a row per trade, quote or bar; columns ``log_return_<h>`` and
    ``log_return_forward_<h>``, without unit. Backward: NaN for the first h;
    forward: NaN for the last h, also while the data do not reach t + h.
    """
    check_options(config, SHARED_OPTIONS | {"horizons", "forward", "within_session"})
    rows = only_trades(raw, config)
    stamps = times(rows, config)
    log_price = _log(prices(rows, config))
    within = flag(config, "within_session")
    session = (
        session_numbers(need_times(stamps, "within_session"), config) if within else np.zeros(len(rows), dtype=np.int64)
    )

    columns: dict[str, Floats] = {}
    here = np.arange(len(rows))
    for option, name, sign in (("horizons", "log_return", -1), ("forward", "log_return_forward", 1)):
        for horizon in listed(config.get(option, [1, 5, 20] if option == "horizons" else []), option):
            other = _shifted(len(rows), stamps, horizon, sign, option)
            inside = (other >= 0) & (other < len(rows))
            there = np.where(inside, other, here)
            change = sign * (log_price[there] - log_price)
            returns = np.where(inside & (session[there] == session), change, np.nan)
            add_column(columns, f"{name}_{horizon}", returns, option)
    if not columns:
        raise ValueError("both horizons and forward are empty; name at least one horizon")
    return pd.DataFrame(columns, index=rows.index)


@feature(version="2", partition="day", lookback=vwap_lookback)
def vwap_bands_by_day(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return what ``vwap_bands`` does, day by day, so that a new day of data computes one day."""
    return vwap_bands(trades_of_days(raw, config, "window"), config)


@feature(version="2", partition="day", lookback=change_lookback)
def realised_volatility_by_day(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return what ``realised_volatility`` does, day by day, so that a new day of data computes one day."""
    return realised_volatility(trades_of_days(raw, config, "window"), config)


@feature(version="2", partition="day", lookback=change_lookback)
def order_flow_imbalance_by_day(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return what ``order_flow_imbalance`` does of quotes, trades and bars, day by day.

    Order events are refused unless ``method`` is "trades": what an order's change brings
    depends on all that happened to it before. A window counted in rows is refused where no
    column tells the side: by the tick rule a row has the sign of the last price change, however
    many rows ago that was. A duration reaches whole days before, where prices changed.
    """
    method = choose_method(raw, config)
    if method == "events":
        raise ValueError(
            "order events are not computed by day, since orders outlive a day; set config['method'] = 'trades', or ask "
            "for order_flow_imbalance"
        )
    if method == "quotes":
        return order_flow_imbalance(raw, config)
    if find_column(raw, config, "side") is None and not isinstance(config.get("window"), str | None):
        raise ValueError(
            f"window is {config['window']!r} rows, which by day do not tell the sign of a row whose price did not change; "
            "give a duration, such as '5min', name a column of sides, or ask for order_flow_imbalance"
        )
    return order_flow_imbalance(trades_of_days(raw, config, "window"), config)


@feature(version="2", partition="day", lookback=horizon_of("horizons"), lookahead=horizon_of("forward"))
def log_returns_by_day(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return what ``log_returns`` does, day by day, so that a new day of data computes one or two."""
    return log_returns(trades_of_days(raw, config, "horizons", "forward"), config)


def _shifted(
    length: int, stamps: pd.DatetimeIndex | None, horizon: Any, sign: int, option: str
) -> np.ndarray[Any, Any]:
    """Return the row each row is compared with; -1 or ``length`` where the data do not reach."""
    if not isinstance(horizon, str):
        return np.arange(length) + sign * positive_int(horizon, option)
    ticks = need_times(stamps, f"the horizon {horizon!r}").as_unit("ns").asi8
    target = ticks + sign * span_ns(horizon, option)
    last_known = np.searchsorted(ticks, target, side="right") - 1
    if sign < 0 or not length:
        return last_known
    return np.where(target <= ticks[-1], last_known, length)


def _bipower(returns: Floats, windows: Windows, count: Floats) -> tuple[Floats, Floats]:
    product = np.full(len(returns), np.nan)
    product[1:] = np.abs(returns[1:] * returns[:-1])
    pairs = windows.count(~np.isnan(product), skip_first=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(pairs > 0, math.pi / 2 * count / np.maximum(pairs, 1.0), np.nan)
    return factor * windows.sum(product, skip_first=1), pairs


def _log(price: Floats) -> Floats:
    return np.log(np.where(price > 0, price, np.nan))


def _volume_column(rows: pd.DataFrame, config: Mapping[str, Any]) -> Any:
    if find_column(rows, config, "size") is None and find_column(rows, config, "bid") is not None:
        raise ValueError("quotes carry no traded volume; set config['weights'] = 'equal'")
    return need_column(rows, config, "size")
