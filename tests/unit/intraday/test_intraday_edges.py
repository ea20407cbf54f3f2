"""Odd frames and wrong configs: typed, explained errors or a right result, never a silent default."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fstore.intraday import log_returns, order_flow_imbalance, realised_volatility, vwap_bands
from fstore.intraday.bars import sides

FEATURES = (vwap_bands, realised_volatility, order_flow_imbalance, log_returns)


def bars(n=6, **columns):
    index = pd.date_range("2024-03-01 09:30", periods=n, freq="min", tz="UTC")
    return pd.DataFrame({"close": np.linspace(10, 11, n), "volume": 1.0} | columns, index=index)


def config_for(func, window=2):
    return {"horizons": [window]} if func is log_returns else {"window": window}


@pytest.mark.parametrize("func", FEATURES)
def test_an_empty_frame_gives_an_empty_frame(func):
    """No rows in, no rows out, with the same columns as ever."""
    empty, full = func(bars(0), config_for(func)), func(bars(), config_for(func))

    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert empty.dtypes.equals(full.dtypes)


@pytest.mark.parametrize("func", FEATURES)
def test_a_single_row_gives_a_single_row(func):
    """One row is a warm-up row, not an error."""
    assert len(func(bars(1), config_for(func))) == 1


@pytest.mark.parametrize("func", FEATURES)
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (bars().drop(columns="close"), "no price column"),
        (bars(close=list("abcdef")), "where numbers are needed"),
        (bars(close=[True] * 6), "where numbers are needed"),
        (bars().iloc[::-1], "not in time order"),
        (bars().set_axis([pd.NaT, *bars().index[1:]]), "no timestamp"),
        (pd.concat([bars(), bars()], axis=1), "more than once"),
    ],
)
def test_unusable_frames_say_why(func, raw, message):
    """A missing, mistyped or repeated column and rows out of order are refused with the remedy."""
    with pytest.raises(ValueError, match=message):
        func(raw, config_for(func))


@pytest.mark.parametrize(
    ("func", "config", "message"),
    [
        (vwap_bands, {"windw": 5}, "unknown config option 'windw'"),
        (vwap_bands, {"window": 0}, "at least 1"),
        (vwap_bands, {"window": True}, "at least 1"),
        (vwap_bands, {"window": "soon"}, "a duration such as"),
        (vwap_bands, {"window": "-5min"}, "longer than nothing"),
        (vwap_bands, {"window": 2, "bands": [-1]}, "above 0"),
        (vwap_bands, {"window": 2, "bands": 2}, "must be a list"),
        (vwap_bands, {"window": 2, "weights": "vol"}, "choose 'volume' or 'equal'"),
        (vwap_bands, {"window": 2, "min_rows": 1.5}, "whole number"),
        (vwap_bands, {"columns": {"price": "px"}, "window": 2}, "but the raw data have"),
        (vwap_bands, {"columns": {"prize": "close"}, "window": 2}, "maps roles"),
        (vwap_bands, {"columns": {"time": "volume"}}, "apply pd.to_datetime"),
        (vwap_bands, {"session_start": "noon"}, "write it as 'HH:MM'"),
        (realised_volatility, {"window": 2, "estimator": "garch"}, "choose 'realised' or 'bipower'"),
        (realised_volatility, {"window": 2, "periods_per_year": 0}, "above 0"),
        (order_flow_imbalance, {"window": 2, "method": "magic"}, "choose 'events'"),
        (order_flow_imbalance, {"window": 2, "method": "quotes"}, "no bid column"),
        (order_flow_imbalance, {"window": 2, "method": "events"}, "no action column"),
        (log_returns, {"horizons": [], "forward": []}, "name at least one horizon"),
        (log_returns, {"horizons": [-1]}, "at least 1"),
        (log_returns, {"horizons": "5min"}, "must be a list"),
    ],
)
def test_wrong_options_say_what_is_right(func, config, message):
    """A misspelt or impossible option is refused with the choices there are."""
    with pytest.raises(ValueError, match=message):
        func(bars(), config)


@pytest.mark.parametrize("config", [{}, {"window": "5min"}])
def test_time_windows_need_times(config):
    """Without timestamps a session or a duration is refused; a number of rows works."""
    raw = bars().reset_index(drop=True)

    with pytest.raises(ValueError, match="needs timestamps"):
        vwap_bands(raw, config)
    assert vwap_bands(raw, {"window": 2})["vwap"].notna().sum() == 5


def test_a_time_column_serves_in_place_of_the_index():
    """Timestamps in a column, known by name or named in the config, give the same result as in the index."""
    raw = bars()
    expected = vwap_bands(raw, {"window": "2min"}).reset_index(drop=True)

    for name, config in (("timestamp", {}), ("when", {"columns": {"time": "when"}})):
        moved = raw.rename_axis(name).reset_index()
        pd.testing.assert_frame_equal(vwap_bands(moved, {"window": "2min", **config}), expected)


def test_names_are_found_in_any_case_and_dtype():
    """Columns in capitals and nullable, Arrow or integer dtypes read like plain floats."""
    raw = bars(close=[10, 11, 12, 13, 14, 15])
    expected = log_returns(raw, {"horizons": [1]})

    for dtype in ("Int64", "Float64", "float32", "int64[pyarrow]"):
        other = raw.astype({"close": dtype}).rename(columns=str.upper)
        pd.testing.assert_frame_equal(log_returns(other, {"horizons": [1]}), expected)


def test_prices_at_or_below_zero_have_no_logarithm():
    """A price that is zero, negative or infinite makes NaN for itself and its neighbours, never an infinity."""
    frame = log_returns(bars(close=[10, 0, 10, -5, np.inf, 10]), {"horizons": [1]})

    assert frame["log_return_1"].isna().all()


def test_negative_sizes_are_refused():
    """Sizes carry no sign: a negative one names its row."""
    with pytest.raises(ValueError, match=r"negative size .* in row 2"):
        vwap_bands(bars(volume=[1, 1, -1, 1, 1, 1]), {"window": 2})


def test_quotes_have_no_volume():
    """VWAP of quotes is refused with the option that makes it a plain mean."""
    raw = pd.DataFrame({"bid": [1.0, 1.1], "ask": [1.2, 1.3]})

    with pytest.raises(ValueError, match="'equal'"):
        vwap_bands(raw, {"window": 1})


def test_one_sided_quote_sizes_are_refused():
    """Sizes of bids without sizes of asks are a mistake, not unit sizes."""
    raw = pd.DataFrame({"bid": [1.0], "ask": [1.2], "bid_size": [5]})

    with pytest.raises(ValueError, match="no ask_size column"):
        order_flow_imbalance(raw, {"window": 1})


def test_a_missing_quote_stands_for_the_last_known():
    """A gap in the quotes adds no flow of its own."""
    raw = pd.DataFrame({"bid": [np.nan, 1.0, np.nan, 1.1], "ask": [1.2] * 4, "bid_size": [1, 5, 5, 7], "ask_size": 1})

    flow = order_flow_imbalance(raw, {"window": 1})["flow"].tolist()

    assert np.isnan(flow[:2]).all()
    assert flow[2:] == [0.0, 7.0]


def test_aggressor_sides_beat_the_tick_rule():
    """Trades that name their side are signed by it, however the price moves."""
    raw = pd.DataFrame({"price": [1.0, 2.0, 3.0], "size": [2, 3, 4], "side": ["sell", "B", None]})

    assert order_flow_imbalance(raw, {"window": 1})["flow"].tolist() == [-2.0, 3.0, 0.0]


def test_unknown_side_labels_are_refused():
    """A side nobody knows is named, not taken for neutral."""
    with pytest.raises(ValueError, match="holds the side 'X'"):
        sides(pd.DataFrame({"side": ["B", "X"]}), "side")


def test_fills_take_size_away_where_the_feed_sends_no_cancel():
    """With fills_remove a fill lowers the resting side; without it a cancel is expected to follow."""
    raw = pd.DataFrame({"action": ["A", "F"], "side": ["B", "B"], "size": [5, 2], "order_id": [1, 1]})

    assert order_flow_imbalance(raw, {"window": 1})["flow"].tolist() == [5.0, 0.0]
    assert order_flow_imbalance(raw, {"window": 1, "fills_remove": True})["flow"].tolist() == [5.0, -2.0]


def test_far_events_count_nothing():
    """With max_distance, only events near the last trade count, and none before the first trade."""
    raw = pd.DataFrame(
        {
            "action": list("ATAA"),
            "side": list("BBBA"),
            "size": 1,
            "price": [10.0, 10.0, 9.5, 20.0],
            "order_id": [1, 0, 2, 3],
        }
    )

    assert order_flow_imbalance(raw, {"window": 1, "max_distance": 1.0})["flow"].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_modifies_need_order_ids():
    """A change of size cannot be valued without knowing the order; the error names the role."""
    raw = pd.DataFrame({"action": ["M"], "side": ["B"], "size": [5]})

    with pytest.raises(ValueError, match="no order_id column"):
        order_flow_imbalance(raw, {"window": 1})
