"""Finds prices, sizes, sides and times in frames of ticks, bars, quotes or order events.

Whatever their columns are called. A column is looked up by its *role*:
``config["columns"][role]`` if given (None: no column plays it), else the first known
name that is there, in any case. Whatever cannot be found or read raises ``ValueError``
with a text that says what to set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

KNOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "price": ("price", "trade_price", "last", "last_price", "px"),
    "size": ("size", "volume", "qty", "quantity", "amount", "vol", "trade_size"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "bid": ("bid", "bid_price", "bid_px", "best_bid", "bid_px_00"),
    "ask": ("ask", "ask_price", "ask_px", "best_ask", "offer", "ask_px_00"),
    "bid_size": ("bid_size", "bid_qty", "bid_sz", "bidsize", "bid_sz_00"),
    "ask_size": ("ask_size", "ask_qty", "ask_sz", "asksize", "ask_sz_00"),
    "side": ("side", "aggressor_side", "aggressor"),
    "action": ("action", "event", "event_type"),
    "order_id": ("order_id", "orderid", "oid"),
    "time": ("timestamp", "ts_event", "time", "datetime", "date", "ts"),
}

SIDES: Mapping[str, float] = {
    **dict.fromkeys(("B", "BUY", "BID", "BUYER", "1", "+1", "1.0"), 1.0),
    **dict.fromkeys(("A", "S", "ASK", "SELL", "SELLER", "-1", "-1.0"), -1.0),
    **dict.fromkeys(("N", "NONE", "", "0", "0.0", "NAN", "<NA>", "NO_AGGRESSOR"), 0.0),
}


def find_column(raw: pd.DataFrame, config: Mapping[str, Any], role: str) -> Any:
    """Return the name of the column that plays ``role``, or None when there is none.

    The name is any label that pandas allows.
    """
    chosen = config.get("columns", {})
    if role in chosen:
        name = chosen[role]
        if name is not None and not _has(raw, name):
            raise ValueError(f"config['columns'][{role!r}] is {name!r}, but the raw data have {_list(raw)}")
    else:
        name = _known_name(raw, role)
    if name is not None and isinstance(raw[name], pd.DataFrame):
        raise ValueError(f"column {name!r} appears more than once in the raw data; drop or rename the copies")
    return name


def need_column(raw: pd.DataFrame, config: Mapping[str, Any], role: str) -> Any:
    """Return the name of the column that plays ``role``; raises ``ValueError`` when there is none."""
    name = find_column(raw, config, role)
    if name is None:
        raise ValueError(
            f"no {role} column: looked for {', '.join(KNOWN_NAMES[role])}, found {_list(raw)}; "
            f"set config['columns'] = {{{role!r}: '<name>'}}"
        )
    return name


def numbers(raw: pd.DataFrame, column: Any) -> Floats:
    """Return a column as floats; missing and infinite values become NaN."""
    series = raw[column]
    if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype):
        if len(raw):
            raise ValueError(
                f"column {column!r} holds {series.dtype} values where numbers are needed; convert it first"
            )
        return np.empty(0)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def prices(raw: pd.DataFrame, config: Mapping[str, Any], *, typical: bool = False) -> Floats:
    """Return one price a row: the trade price, else the bar's close, else the middle of bid and ask.

    With ``typical``, bars give (high + low + close) / 3, the usual stand-in for
    the average price paid inside a bar.
    """
    column = find_column(raw, config, "price")
    if column is not None:
        return numbers(raw, column)
    close = find_column(raw, config, "close")
    if close is not None:
        high, low = find_column(raw, config, "high"), find_column(raw, config, "low")
        if typical and high is not None and low is not None:
            return (numbers(raw, high) + numbers(raw, low) + numbers(raw, close)) / 3.0
        return numbers(raw, close)
    bid, ask = find_column(raw, config, "bid"), find_column(raw, config, "ask")
    if bid is not None and ask is not None:
        return (numbers(raw, bid) + numbers(raw, ask)) / 2.0
    raise ValueError(
        f"no price column: looked for a trade price, a close, or bid and ask, found {_list(raw)}; "
        "set config['columns'] = {'price': '<name>'}"
    )


def sizes(raw: pd.DataFrame, column: Any) -> Floats:
    """Return traded or quoted sizes, missing ones as zero; a negative size raises ``ValueError``."""
    values = np.nan_to_num(numbers(raw, column), nan=0.0)
    if np.any(values < 0):
        row = int(np.argmax(values < 0))
        raise ValueError(
            f"column {column!r} holds a negative size ({values[row]:g} in row {row}); sizes carry no sign here"
        )
    return values


def sides(raw: pd.DataFrame, column: Any) -> Floats:
    """Return +1 for buy or bid, -1 for sell or ask, 0 for neither."""
    codes, labels = pd.factorize(raw[column], use_na_sentinel=True)
    known = {label: SIDES.get(str(label).strip().upper()) for label in labels}
    strange = [label for label, sign in known.items() if sign is None]
    if strange:
        raise ValueError(f"column {column!r} holds the side {strange[0]!r}; known: {', '.join(s for s in SIDES if s)}")
    if {str(label).strip() for label in labels} in ({"0", "1"}, {"0.0", "1.0"}):
        # Elsewhere 0 is "neither"; here it is the other side, and would be left out in silence.
        raise ValueError(f"column {column!r} holds only 0 and 1; write sides as 1 and -1, or in words")
    signs = np.array([*known.values(), 0.0], dtype=np.float64)
    return signs[codes]


def times(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DatetimeIndex | None:
    """Return the time of each row, from the index or a time column; None when there is neither.

    Raises ``ValueError`` when times are missing or run backwards: every window
    and lag here relies on rows being in time order. Equal times are fine; their
    rows count in the order given.
    """
    found: Any = None
    column = find_column(raw, config, "time") if "time" in config.get("columns", {}) else None
    if column is None and pd.api.types.is_datetime64_any_dtype(raw.index.dtype):
        found = raw.index
    else:
        column = column or find_column(raw, config, "time")
        if column is not None and pd.api.types.is_datetime64_any_dtype(raw[column].dtype):
            found = raw[column]
        elif column is not None and "time" in config.get("columns", {}):
            raise ValueError(f"column {column!r} holds {raw[column].dtype}, not timestamps; apply pd.to_datetime first")
    if found is None:
        return None
    stamps = pd.DatetimeIndex(found)
    if stamps.hasnans:
        raise ValueError("some rows have no timestamp; drop them first")
    if not stamps.is_monotonic_increasing:
        raise ValueError("rows are not in time order; sort them with raw.sort_index(kind='stable')")
    return stamps


def _known_name(raw: pd.DataFrame, role: str) -> Any:
    by_lower: dict[str, list[Any]] = {}
    for column in dict.fromkeys(raw.columns):
        by_lower.setdefault(str(column).lower(), []).append(column)
    found = next((by_lower[known] for known in KNOWN_NAMES[role] if known in by_lower), [None])
    if len(found) > 1:
        raise ValueError(f"columns {found[0]!r} and {found[1]!r} may both be the {role}; name one in config['columns']")
    return found[0]


def _has(raw: pd.DataFrame, name: Any) -> bool:
    try:
        return name in raw.columns
    except TypeError:  # a list is no label
        return False


def _list(raw: pd.DataFrame) -> str:
    names = ", ".join(repr(str(column)) for column in list(raw.columns)[:20])
    return f"columns {names or '(none)'} and an index of {raw.index.dtype}"
