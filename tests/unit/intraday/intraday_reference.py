"""Slow, obvious versions of the built-in features: one row at a time, straight from the formulas."""

from __future__ import annotations

import math

import pandas as pd

NAN = float("nan")


def window_start(i, stamps, window, session_start_minutes=0):
    """Return the first row of the window that ends at row i."""
    if window is None:
        shift = pd.Timedelta(minutes=session_start_minutes)
        day = (stamps[i] - shift).date()
        return next(j for j in range(i + 1) if (stamps[j] - shift).date() == day)
    if isinstance(window, int):
        return max(0, i - window + 1)
    span = pd.Timedelta(window)
    return next(j for j in range(i + 1) if stamps[j] > stamps[i] - span)


def least(window, min_rows):
    return min_rows or (window if isinstance(window, int) else 1)


def vwap(price, volume, stamps, window, min_rows=None):
    """Return (vwap, std) per row in two passes over each window."""
    out = []
    for i in range(len(price)):
        rows = [j for j in range(window_start(i, stamps, window), i + 1) if not math.isnan(price[j])]
        total = sum(volume[j] for j in rows)
        if len(rows) < least(window, min_rows) or total == 0:
            out.append((NAN, NAN))
            continue
        mean = sum(price[j] * volume[j] for j in rows) / total
        out.append((mean, math.sqrt(sum(volume[j] * (price[j] - mean) ** 2 for j in rows) / total)))
    return out


def returns(price, stamps=None, within_session=False):
    out = [NAN] * len(price)
    for i in range(1, len(price)):
        if within_session and stamps[i].date() != stamps[i - 1].date():
            continue
        if price[i] > 0 and price[i - 1] > 0:
            out[i] = math.log(price[i]) - math.log(price[i - 1])
    return out


def realised(price, stamps, window, estimator, *, periods_per_year=None, within_session=False):
    """Return (variance, volatility, number of returns) per row."""
    r, out = returns(price, stamps, within_session), []
    for i in range(len(price)):
        start = window_start(i, stamps, window)
        inside = [j for j in range(start, i + 1) if not math.isnan(r[j])]
        n = len(inside)
        if estimator == "realised":
            variance, enough = sum(r[j] ** 2 for j in inside), True
        else:
            pairs = [abs(r[j] * r[j - 1]) for j in range(start + 1, i + 1) if not math.isnan(r[j] * r[j - 1])]
            enough = len(pairs) > 0
            variance = math.pi / 2 * n / len(pairs) * sum(pairs) if enough else NAN
        if n < least(window, None) or not enough:
            out.append((NAN, NAN, n))
        else:
            out.append((variance, math.sqrt(variance * (periods_per_year / n if periods_per_year else 1)), n))
    return out


def quote_flow(bid, bid_size, ask, ask_size):
    """Return e_n per row, case by case."""
    out = [NAN] * len(bid)
    for n in range(1, len(bid)):
        e = 0.0
        if bid[n] >= bid[n - 1]:
            e += bid_size[n]
        if bid[n] <= bid[n - 1]:
            e -= bid_size[n - 1]
        if ask[n] <= ask[n - 1]:
            e -= ask_size[n]
        if ask[n] >= ask[n - 1]:
            e += ask_size[n - 1]
        out[n] = e
    return out


def event_flow(action, side, size, order):
    """Return the change of resting bid size less ask size per row, keeping a book of orders."""
    book, out = {}, []
    for a, s, q, o in zip(action, side, size, order, strict=True):
        sign = {"B": 1, "A": -1}.get(s, 0)
        change = 0.0
        if a == "A":
            change, book[o] = q, q
        elif a == "C":
            change = -q
            if o in book:
                book[o] -= q
        elif a == "M":
            change = q - book[o] if o in book else 0.0
            book[o] = q
        elif a == "R":
            book.clear()
        out.append(sign * change)
    return out


def tick_signs(price):
    out, last, known = [], 0, None
    for p in price:
        if not math.isnan(p):
            if known is not None and p != known:
                last = 1 if p > known else -1
            known = p
        out.append(last)
    return out


def imbalance(flow, stamps, window):
    """Return (sum, normalised sum) per row."""
    out = []
    for i in range(len(flow)):
        inside = [flow[j] for j in range(window_start(i, stamps, window), i + 1) if not math.isnan(flow[j])]
        if len(inside) < least(window, None):
            out.append((NAN, NAN))
            continue
        gross = sum(abs(f) for f in inside)
        out.append((sum(inside), sum(inside) / gross if gross else NAN))
    return out


def log_return(price, stamps, horizon, *, forward):
    """Return ln of later over earlier price per row, looking the other row up by scanning."""
    out = []
    for i in range(len(price)):
        if isinstance(horizon, int):
            j = i + horizon if forward else i - horizon
        else:
            target = stamps[i] + pd.Timedelta(horizon) if forward else stamps[i] - pd.Timedelta(horizon)
            j = max((k for k in range(len(price)) if stamps[k] <= target), default=-1)
            if forward and target > stamps[-1]:
                j = len(price)
        if not 0 <= j < len(price) or not price[i] > 0 or not price[j] > 0:
            out.append(NAN)
        else:
            out.append((1 if forward else -1) * (math.log(price[j]) - math.log(price[i])))
    return out
