"""The built-in features against slow, obvious versions of themselves on random data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fstore.intraday import log_returns, order_flow_imbalance, realised_volatility, vwap_bands
from tests.unit.intraday import intraday_reference as reference

WINDOWS = st.one_of(st.none(), st.integers(1, 6), st.sampled_from(["90s", "5min", "2h"]))


@st.composite
def ticks(draw, max_size=25):
    """Trades over up to two days: rising times with ties, prices with gaps, volumes with zeros."""
    n = draw(st.integers(0, max_size))
    gaps = draw(st.lists(st.sampled_from([0, 1, 30, 90, 300, 40_000]), min_size=n, max_size=n))
    price = draw(
        st.lists(
            st.one_of(st.just(float("nan")), st.integers(9_900, 10_100).map(lambda t: t / 100)), min_size=n, max_size=n
        )
    )
    volume = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    index = pd.Timestamp("2024-03-01 20:00", tz="UTC") + pd.to_timedelta(np.cumsum(gaps), unit="s")
    return pd.DataFrame({"price": np.array(price, dtype=float), "volume": volume}, index=pd.DatetimeIndex(index))


def same(frame, column, expected, **tolerance):
    """Check a column against a list of floats, NaN for NaN."""
    np.testing.assert_allclose(frame[column].to_numpy(), np.array(expected, dtype=float), **tolerance)


@settings(max_examples=150, deadline=None)
@given(ticks(), WINDOWS, st.one_of(st.none(), st.integers(1, 3)))
def test_vwap_equals_the_two_pass_sums(raw, window, min_rows):
    """VWAP and its standard deviation equal plain sums over each window, bands lie k deviations away."""
    config = {"window": window, "bands": [0.5, 2]} | ({"min_rows": min_rows} if min_rows else {})
    frame = vwap_bands(raw, config)

    expected = reference.vwap(list(raw["price"]), list(raw["volume"]), list(raw.index), window, min_rows)
    same(frame, "vwap", [mean for mean, _ in expected], rtol=1e-9)
    same(frame, "vwap_std", [std for _, std in expected], atol=1e-6)
    same(frame, "upper_0.5", frame["vwap"] + 0.5 * frame["vwap_std"])
    same(frame, "lower_2", frame["vwap"] - 2 * frame["vwap_std"])
    assert frame.index.equals(raw.index)


@settings(max_examples=150, deadline=None)
@given(ticks(), WINDOWS, st.sampled_from(["realised", "bipower"]), st.sampled_from([None, 98_280]), st.booleans())
def test_realised_volatility_equals_the_plain_sums(raw, window, estimator, per_year, within):
    """Realised variance and bipower variation equal plain sums over the returns of each window."""
    config = {"window": window, "estimator": estimator, "within_session": within, "periods_per_year": per_year}
    frame = realised_volatility(raw, config)

    expected = reference.realised(
        list(raw["price"]), list(raw.index), window, estimator, periods_per_year=per_year, within_session=within
    )
    same(frame, "realised_variance", [row[0] for row in expected], rtol=1e-9, atol=1e-18)
    same(frame, "realised_volatility", [row[1] for row in expected], rtol=1e-6, atol=1e-8)
    same(frame, "returns", [row[2] for row in expected])


@settings(max_examples=100, deadline=None)
@given(ticks(), WINDOWS, st.booleans())
def test_trade_imbalance_equals_the_tick_rule_by_hand(raw, window, sized):
    """Without sides, flow is the size signed by the last price change; without sizes every trade counts one."""
    data = raw if sized else raw[["price"]]
    frame = order_flow_imbalance(data, {"window": window})

    size = list(raw["volume"]) if sized else [1] * len(raw)
    flow = [sign * q for sign, q in zip(reference.tick_signs(list(raw["price"])), size, strict=True)]
    same(frame, "flow", flow)
    expected = reference.imbalance(flow, list(raw.index), window)
    same(frame, "ofi", [total for total, _ in expected])
    same(frame, "ofi_normalised", [share for _, share in expected])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(98, 100), st.integers(0, 5), st.integers(1, 3), st.integers(0, 5)), max_size=25),
    WINDOWS,
)
def test_quote_imbalance_equals_the_four_cases_by_hand(quotes, window):
    """Flow from quotes is e_n of the paper, case by case, and its window sum is OFI."""
    index = pd.date_range("2024-03-01 22:00", periods=len(quotes), freq="45min")
    raw = pd.DataFrame(quotes, columns=["bid", "bid_size", "spread", "ask_size"], index=index)
    raw["ask"] = raw["bid"] + raw["spread"]
    frame = order_flow_imbalance(raw, {"window": window})

    flow = reference.quote_flow(*(list(raw[c]) for c in ("bid", "bid_size", "ask", "ask_size")))
    same(frame, "flow", flow)
    expected = reference.imbalance(flow, list(index), window)
    same(frame, "ofi", [total for total, _ in expected])
    same(frame, "ofi_normalised", [share for _, share in expected])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("AACMMTFR"), st.sampled_from("BAN"), st.integers(0, 9), st.integers(1, 4)),
        max_size=30,
    )
)
def test_event_flow_equals_a_book_kept_by_hand(events):
    """Flow from order events is the change in resting bids less asks, as a book of orders would give it."""
    raw = pd.DataFrame(events, columns=["action", "side", "size", "order_id"])
    frame = order_flow_imbalance(raw, {"window": 3})

    flow = reference.event_flow(*(list(raw[c]) for c in ("action", "side", "size", "order_id")))
    same(frame, "flow", flow)
    same(frame, "ofi", [total for total, _ in reference.imbalance(flow, None, 3)])


@settings(max_examples=150, deadline=None)
@given(
    ticks(),
    st.lists(st.one_of(st.integers(1, 5), st.sampled_from(["1s", "2min", "1D"])), min_size=1, max_size=3, unique=True),
)
def test_log_returns_equal_a_scan_for_the_other_price(raw, horizons):
    """Backward and forward returns equal a row-by-row search for the price one horizon away."""
    frame = log_returns(raw, {"horizons": horizons, "forward": horizons})

    price, stamps = list(raw["price"]), list(raw.index)
    for horizon in horizons:
        same(frame, f"log_return_{horizon}", reference.log_return(price, stamps, horizon, forward=False), atol=1e-12)
        same(
            frame,
            f"log_return_forward_{horizon}",
            reference.log_return(price, stamps, horizon, forward=True),
            atol=1e-12,
        )


@settings(max_examples=60, deadline=None)
@given(ticks(), st.integers(0, 25), WINDOWS)
def test_nothing_but_forward_returns_looks_ahead(raw, cut, window):
    """What a feature says about a row is the same whether or not later rows are known."""
    early = raw.iloc[:cut]
    for func in (vwap_bands, realised_volatility, order_flow_imbalance):
        pd.testing.assert_frame_equal(
            func(raw, {"window": window}).iloc[:cut], func(early, {"window": window}), atol=1e-9
        )
    pd.testing.assert_frame_equal(
        log_returns(raw, {"horizons": [1, "2min"]}).iloc[:cut], log_returns(early, {"horizons": [1, "2min"]})
    )


@pytest.mark.parametrize("minutes", [0, 9 * 60 + 30, 17 * 60])
def test_sessions_start_at_the_given_clock_time(minutes):
    """The session VWAP starts anew at session_start by the clock of session_tz, across a change of summer time."""
    index = pd.date_range("2024-03-08 15:00", "2024-03-12 15:00", freq="37min", tz="UTC")
    raw = pd.DataFrame({"price": np.linspace(10, 20, len(index)), "size": 1}, index=index)
    frame = vwap_bands(
        raw, {"session_start": f"{minutes // 60:02d}:{minutes % 60:02d}", "session_tz": "America/New_York"}
    )

    wall = index.tz_convert("America/New_York").tz_localize(None)
    days = pd.Series((wall - pd.Timedelta(minutes=minutes)).date, index=index)
    same(frame, "vwap", raw["price"].groupby(days).expanding().mean().to_numpy())
