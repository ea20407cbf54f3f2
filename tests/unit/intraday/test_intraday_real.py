"""The built-in features on real files: order events, quotes and bars with and without volume."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fstore.intraday import log_returns, order_flow_imbalance, realised_volatility, vwap_bands
from tests.unit.intraday import intraday_reference as reference

FOLDER = Path(os.environ.get("FSTORE_TEST_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
FEATURES = (vwap_bands, realised_volatility, order_flow_imbalance, log_returns)


def real(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no {name}; set FSTORE_TEST_DATA to the folder that has it")
    return pd.read_parquet(path)


@pytest.mark.parametrize(
    ("name", "func", "config"),
    [
        ("esh4_orders_2023-12-25.parquet", vwap_bands, {"window": "5min"}),
        ("esh4_orders_2023-12-25.parquet", vwap_bands, {"session_start": "17:00", "session_tz": "America/Chicago"}),
        ("esh4_orders_2023-12-25.parquet", order_flow_imbalance, {"window": 100, "max_distance": 5.0}),
        ("eurusd_quote_ticks_2020-01-01.parquet", vwap_bands, {"window": 50, "weights": "equal"}),
        ("eurusd_quote_ticks_2020-01-01.parquet", order_flow_imbalance, {"window": "1min"}),
        ("btcperp_1m_2022-01.parquet", vwap_bands, {"bands": [1, 2, 3]}),
        ("btcperp_1m_2022-01.parquet", realised_volatility, {"window": 60, "periods_per_year": 525_600}),
        ("gbpusd_bid_1m_2012-02.parquet", realised_volatility, {"window": "1h", "estimator": "bipower"}),
        ("gbpusd_bid_1m_2012-02.parquet", log_returns, {"horizons": [1, 5, "15min"], "forward": ["5min"]}),
        ("sp500_1m_2019-11.parquet", realised_volatility, {"window": 30, "within_session": True}),
        ("sp500_1m_2019-11.parquet", order_flow_imbalance, {"window": 30}),
    ],
)
def test_each_kind_of_file_gives_finite_features(name, func, config):
    """Every file is read without naming a column; the result has float columns, its rows' index and no infinity."""
    raw = real(name)
    frame = func(raw, config)

    assert frame.index.isin(raw.index).all()
    assert frame.dtypes.eq(np.float64).all()
    assert not np.isinf(frame.to_numpy()).any()
    if not (name.startswith("sp500") and func is order_flow_imbalance):
        assert frame.iloc[200:, 0].notna().mean() > 0.9


def test_es_trades_alone_make_the_vwap():
    """The day's VWAP of the order stream is that of its executed trades, a row for each."""
    raw = real("esh4_orders_2023-12-25.parquet")
    trades = raw[raw["action"] == "T"]
    frame = vwap_bands(raw, {"session_start": "17:00", "session_tz": "America/Chicago"})

    assert len(frame) == len(trades)
    by_hand = (trades["price"] * trades["size"]).sum() / trades["size"].sum()
    assert frame["vwap"].iloc[-1] == pytest.approx(by_hand, rel=1e-9)
    assert trades["price"].between(frame["vwap"].min() - 10, frame["vwap"].max() + 10).all()


def test_es_event_flow_is_that_of_a_book_kept_by_hand():
    """Over 68,792 real events the vectorised flow equals a book of orders kept in a loop."""
    raw = real("esh4_orders_2023-12-25.parquet")
    frame = order_flow_imbalance(raw, {"window": 10})

    by_hand = reference.event_flow(*(raw[c].tolist() for c in ("action", "side", "size", "order_id")))
    np.testing.assert_array_equal(frame["flow"].to_numpy(), np.array(by_hand))


@pytest.mark.parametrize(("start", "window"), [(0, 30), (20_000, "2h"), (45_000 - 400, 7)])
def test_bars_match_the_two_pass_sums_deep_inside_a_month(start, window):
    """After tens of thousands of bars the running sums are still those of each window alone."""
    raw = real("btcperp_1m_2022-01.parquet")
    whole = vwap_bands(raw, {"window": window}).iloc[start + 120 : start + 400]
    piece = raw.iloc[start : start + 400]
    typical = ((piece["high"] + piece["low"] + piece["close"]) / 3).tolist()
    by_hand = reference.vwap(typical, piece["volume"].tolist(), list(piece.index), window)[120:]

    np.testing.assert_allclose(whole["vwap"], [mean for mean, _ in by_hand], rtol=1e-9)
    np.testing.assert_allclose(whole["vwap_std"], [std for _, std in by_hand], atol=1e-3, rtol=1e-6)


def test_zero_volume_gives_no_vwap_but_equal_weights_do():
    """An index whose bars carry no volume has no VWAP; with equal weights it has a mean price."""
    raw = real("sp500_1m_2019-11.parquet")

    assert vwap_bands(raw, {"window": 20})["vwap"].isna().all()
    assert vwap_bands(raw, {"window": 20, "weights": "equal"})["vwap"].iloc[19:].notna().all()


def test_bars_without_volume_say_what_to_do():
    """VWAP of bars that have no volume column names the roles looked for and the columns found."""
    raw = real("gbpusd_bid_1m_2012-02.parquet")

    with pytest.raises(ValueError, match=r"no size column: looked for size, volume.*found columns 'open'.*set config"):
        vwap_bands(raw, {"window": 20})
