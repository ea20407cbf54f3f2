"""Options and columns that read in two ways are refused by the built-in features, not taken for one of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fstore.intraday import log_returns, order_flow_imbalance, realised_volatility, vwap_bands
from tests.unit.intraday.test_intraday_edges import FEATURES, bars, config_for

SPANS_THAT_ARE_NONE = (
    "20",
    "20.5",
    " 20 ",
    "٢٠",
    "",
    "5min 20",
    "1 2min",
    "1.2.3s",
    "P5M",
    "1e3",
    "NaT",
    "5M",
    "00:05",
)
NO_COUNTS = (True, 20.5, float("nan"), float("inf"), -1, 0, 10**30, [5], b"5")


def events(**columns):
    index = pd.date_range("2024-03-01 09:30", periods=3, freq="s", tz="UTC")
    return pd.DataFrame({"price": [1.0, 2.0, 3.0], "size": 1} | columns, index=index)


@pytest.mark.parametrize("func", FEATURES)
@pytest.mark.parametrize("given", [*SPANS_THAT_ARE_NONE, *NO_COUNTS], ids=repr)
def test_a_window_is_a_number_of_rows_or_a_duration_with_a_unit(func, given):
    """A number in quotes is neither; pandas would take it for nanoseconds."""
    with pytest.raises(ValueError, match=r"(window|horizons) is"):
        func(bars(), config_for(func, given))


@pytest.mark.parametrize("text", ["20", "0.5"])
def test_a_quoted_number_is_told_both_ways_to_write_it(text):
    """The error shows the number, and the duration that may have been meant."""
    with pytest.raises(ValueError, match=rf"{text} without quotes, or with a unit, '{text}s'"):
        vwap_bands(bars(), {"window": text})


@pytest.mark.parametrize(
    "text", ["120s", "2min", "2 minutes", "1min60s", "1min, 60 s", "00:02:00", "PT2M", "+2min", "2m"]
)
def test_durations_may_be_written_in_many_ways(text):
    """What pandas reads as two minutes is two minutes."""
    pd.testing.assert_frame_equal(vwap_bands(bars(), {"window": text}), vwap_bands(bars(), {"window": "2min"}))


@pytest.mark.parametrize(
    ("func", "config"),
    [
        (vwap_bands, {"min_rows": "1"}),
        (vwap_bands, {"min_rows": float("inf")}),
        (vwap_bands, {"bands": ["1"]}),
        (vwap_bands, {"bands": [True]}),
        (vwap_bands, {"bands": [float("inf")]}),
        (vwap_bands, {"bands": [10**400]}),
        (vwap_bands, {"bands": b"12"}),
        (vwap_bands, {"session_start": "0930"}),
        (vwap_bands, {"session_start": "25:00"}),
        (vwap_bands, {"session_start": 930}),
        (vwap_bands, {"session_start": "-01:00"}),
        (vwap_bands, {"session_tz": "Mars/Olympus"}),
        (vwap_bands, {"session_tz": 5}),
        (vwap_bands, {"trade_actions": "T"}),
        (vwap_bands, {"trade_actions": []}),
        (vwap_bands, {"trade_actions": ["T"]}),
        (vwap_bands, {"columns": {"price": ["close"]}}),
        (realised_volatility, {"within_session": "false"}),
        (realised_volatility, {"within_session": 0}),
        (realised_volatility, {"periods_per_year": "252"}),
        (realised_volatility, {"periods_per_year": float("inf")}),
        (order_flow_imbalance, {"fills_remove": "no", "window": 1}),
        (order_flow_imbalance, {"max_distance": "5", "window": 1}),
        (order_flow_imbalance, {"max_distance": float("nan"), "window": 1}),
        (order_flow_imbalance, {"max_distance": -1, "window": 1}),
        (log_returns, {"within_session": "true"}),
        (log_returns, {"forward": ["5"]}),
        (log_returns, {"horizons": None}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_options_of_another_type_are_refused_by_name(func, config):
    """Text for numbers and flags, numbers beyond all bounds and clocks that are none name their option."""
    raw = events(action=["A", "T", "C"], side="B", order_id=1) if func is order_flow_imbalance else bars()

    with pytest.raises(ValueError, match=next(iter(config))):
        func(raw, config)


@pytest.mark.parametrize("name", ["event", "action", "Event_Type"])
@pytest.mark.parametrize("func", FEATURES)
@pytest.mark.parametrize(
    "values",
    [
        [0, 0, 1],
        ["", "CPI", ""],
        [None, "T", None],
        ["BUY", "SELL", "BUY"],
        [True, False, True],
        [np.nan] * 3,
        [b"T"] * 3,
    ],
    ids=str,
)
def test_a_column_that_holds_no_actions_is_refused(func, name, values):
    """A news flag or a word for the side drops no rows; the error names the column and both ways out."""
    with pytest.raises(ValueError, match=rf"column '{name}' .*trade_actions.*'action': None"):
        func(events(**{name: values}, side="B"), config_for(func))


@pytest.mark.parametrize("func", [vwap_bands, realised_volatility, log_returns])
def test_order_events_without_a_trade_are_refused(func):
    """An empty frame would look like a quiet day."""
    with pytest.raises(ValueError, match="no row has an action of"):
        func(events(action=["A", "A", "C"]), config_for(func))


def test_the_caller_says_what_is_a_trade():
    """Actions of any kind can be named, in either case; a role can be left without a column; no rows are no fault."""
    flagged = events(event=[0, 0, 1])

    assert len(log_returns(flagged, {"columns": {"action": None}, "horizons": [1]})) == 3
    assert len(log_returns(flagged, {"trade_actions": [1], "horizons": [1]})) == 1
    assert len(log_returns(events(action=["t", "a", "T"]), {"horizons": [1]})) == 2
    assert len(log_returns(flagged.iloc[:0], {"horizons": [1]})) == 0


def test_order_events_by_another_name_are_not_all_trades():
    """Kinds of messages beside order ids, as LOBSTER has them, need a word; a type of trade does not."""
    lobster = events(type=[1, 4, 5], order_id=[7, 7, 0], direction=[1, -1, 1])

    with pytest.raises(ValueError, match="column 'type' beside order ids"):
        vwap_bands(lobster, {"window": 1})
    assert len(vwap_bands(lobster, {"window": 1, "columns": {"action": "type"}, "trade_actions": [4, 5]})) == 2
    assert len(vwap_bands(lobster, {"window": 1, "columns": {"action": None}})) == 3
    assert len(vwap_bands(events(type=[1, 4, 5]), {"window": 1})) == 3


def test_unknown_events_have_no_flow_in_silence():
    """Words for actions are refused, where they would all have counted zero."""
    with pytest.raises(ValueError, match="holds 'ADD'"):
        order_flow_imbalance(events(action=["ADD", "CANCEL", "TRADE"], side="B"), {"window": 1})


def test_columns_that_may_both_be_meant_are_refused():
    """Two spellings of one name, and sides of zero and one, are not guessed."""
    with pytest.raises(ValueError, match="'price' and 'Price' may both be the price"):
        vwap_bands(events(Price=1.0), {"window": 1})
    for two in ([0, 1, 1], ["0", "1", "1"], [0.0, 1.0, np.nan]):
        with pytest.raises(ValueError, match="only 0 and 1"):
            order_flow_imbalance(events(side=two), {"window": 1})
    assert order_flow_imbalance(events(side=[0, 1, -1]), {"window": 1})["flow"].tolist() == [0.0, 1.0, -1.0]


def test_bands_have_names_of_their_own():
    """Bands that print alike in six digits are told apart; the same one twice is refused."""
    frame = vwap_bands(bars(), {"window": 2, "bands": [1, 2.5, 1.0000001, 1.0000002]})

    names = ["1", "2.5", "1.0000001", "1.0000002"]
    assert list(frame.columns)[2:] == [f"{side}_{name}" for name in names for side in ("upper", "lower")]
    with pytest.raises(ValueError, match="'upper_1' twice"):
        vwap_bands(bars(), {"window": 2, "bands": [1, 1.0]})


@pytest.mark.parametrize("option", ["horizons", "forward"])
def test_a_horizon_is_asked_for_once(option):
    """Equal horizons would be one column; two ways of writing a duration are two."""
    with pytest.raises(ValueError, match=f"{option} asks for the column"):
        log_returns(bars(), {option: [5, 5]})
    assert len(log_returns(bars(), {"horizons": [], option: ["1min", "60s"]}).columns) == 2
