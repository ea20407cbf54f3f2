"""The built-in features are what they declare: checked on bars, quotes and trades of several days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore import intraday
from fstore.errors import InvalidRequest
from fstore.features.partitioning import checked_partitioning
from fstore.features.registry import resolve_feature
from fstore.increments.checks.check import check_feature
from fstore.increments.checks.report import Kind
from fstore.testing import check_feature as checked
from tests.unit.intraday.test_intraday_real import real

DECLARED = {
    name: resolve_feature(f"fstore.intraday:{name}_by_day").partitioning
    for name in ("vwap_bands", "realised_volatility", "order_flow_imbalance", "log_returns")
}
NEW_YORK: dict[str, Any] = {"session_start": "18:00", "session_tz": "America/New_York"}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("vwap_bands", "bars", {}),
    ("vwap_bands", "bars", {"window": 60}),
    ("vwap_bands", "trades", {"window": "90min"}),
    ("vwap_bands", "trades", NEW_YORK),
    ("vwap_bands", "quotes", {"window": 30, "weights": "equal"}),
    ("realised_volatility", "bars", {"window": 60}),
    ("realised_volatility", "bars", {"window": "2h", "estimator": "bipower"}),
    ("realised_volatility", "trades", {"within_session": True, **NEW_YORK}),
    ("realised_volatility", "quotes", {"window": "26h", "min_rows": 5}),
    ("order_flow_imbalance", "quotes", {"window": 50}),
    ("order_flow_imbalance", "quotes", {"window": "30min"}),
    ("order_flow_imbalance", "trades", {"window": "30min"}),
    ("order_flow_imbalance", "quotes", NEW_YORK),
    ("log_returns", "bars", {"horizons": [1, 30], "forward": [5]}),
    ("log_returns", "quotes", {"horizons": ["5min", "2h"], "forward": ["10min"]}),
    ("log_returns", "trades", {"horizons": ["30h"], "within_session": True}),
]


def index(rows_a_day: int, rng: np.random.Generator) -> pd.DatetimeIndex:
    days = pd.date_range("2024-10-30", periods=9, tz="UTC")
    starts = [day for day in days if day.day_of_week < 5]
    seconds = [np.sort(rng.integers(0, 86_400, rows_a_day)) for _ in starts]
    stamps = np.concatenate([start.timestamp() + each for start, each in zip(starts, seconds, strict=True)])
    return pd.DatetimeIndex(stamps.astype("datetime64[s]"), name="time").tz_localize("UTC")


@pytest.fixture(scope="module")
def raw() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(9)
    at = index(300, rng)
    price = 100 * np.exp(rng.normal(0, 1e-3, len(at)).cumsum())
    size = rng.integers(1, 50, len(at))
    spread = 0.01 * rng.integers(1, 4, len(at))
    bars = {"open": price, "high": price + 0.1, "low": price - 0.1, "close": price, "volume": size}
    quotes = {"bid": price, "ask": price + spread, "bid_size": size, "ask_size": size[::-1]}
    trades = {"price": price, "size": size, "side": rng.choice(["B", "S"], len(at))}
    return {"bars": pd.DataFrame(bars, at), "quotes": pd.DataFrame(quotes, at), "trades": pd.DataFrame(trades, at)}


@pytest.mark.parametrize(
    ("name", "kind", "config"), CASES, ids=[f"{name}-{kind}-{at}" for at, (name, kind, _) in enumerate(CASES)]
)
def test_built_in_features_are_local_as_they_declare(
    raw: dict[str, pd.DataFrame], name: str, kind: str, config: dict[str, Any]
) -> None:
    """Windows, sessions, horizons to both sides."""
    checked(f"fstore.intraday:{name}_by_day", raw[kind], config)


def test_without_a_reach_they_are_not(raw: dict[str, pd.DataFrame]) -> None:
    """So the test above can fail."""
    nothing = checked_partitioning("f", "day")
    assert nothing is not None
    for name, kind, config in (CASES[1], CASES[5], CASES[9], CASES[13]):
        report = check_feature(getattr(intraday, name), raw[kind], config, nothing, costs=False)
        assert Kind.LOOKBACK in {each.kind for each in report.findings}, name


def test_horizons_of_rows_and_of_time_have_no_common_reach() -> None:
    """Which is told for the config that mixes them."""
    with pytest.raises(InvalidRequest, match="mixes rows and durations"):
        DECLARED["log_returns"].evaluated({"horizons": [1, "5min"]})


REAL: list[tuple[str, str, dict[str, Any]]] = [
    ("btcperp_1m_2022-01", "vwap_bands", {}),
    ("btcperp_1m_2022-01", "vwap_bands", {"window": 60, "bands": [1, 2, 3]}),
    ("btcperp_1m_2022-01", "realised_volatility", {"window": 60, "periods_per_year": 525_600}),
    ("btcperp_1m_2022-01", "realised_volatility", {"window": "4h", "estimator": "bipower"}),
    ("btcperp_1m_2022-01", "order_flow_imbalance", {"window": "30min"}),
    ("btcperp_1m_2022-01", "log_returns", {"horizons": [1, 5, 20], "forward": [5]}),
    ("gbpusd_bid_1m_2012-02", "vwap_bands", {"window": 60, "weights": "equal"}),
    ("gbpusd_bid_1m_2012-02", "realised_volatility", {"within_session": True, **NEW_YORK}),
    ("gbpusd_bid_1m_2012-02", "order_flow_imbalance", {"window": "100min"}),
    ("gbpusd_bid_1m_2012-02", "log_returns", {"horizons": ["5min", "60h"], "forward": ["15min"]}),
    ("sp500_1m_2019-11", "vwap_bands", {"window": 30, "weights": "equal"}),
    ("sp500_1m_2019-11", "realised_volatility", {"window": 30, "within_session": True}),
    ("sp500_1m_2019-11", "order_flow_imbalance", {"window": "30min"}),
    ("sp500_1m_2019-11", "log_returns", {"horizons": [1, 390], "forward": [30]}),
    ("eurusd_quote_ticks_2020-01-01", "vwap_bands", {"window": 50, "weights": "equal"}),
    ("eurusd_quote_ticks_2020-01-01", "realised_volatility", {"window": "10min"}),
    ("eurusd_quote_ticks_2020-01-01", "order_flow_imbalance", {"window": "1min"}),
    ("eurusd_quote_ticks_2020-01-01", "log_returns", {"horizons": ["1min"], "forward": ["10s"]}),
    ("esh4_orders_2023-12-25", "vwap_bands", {"window": "5min"}),
    ("esh4_orders_2023-12-25", "vwap_bands", {"session_start": "17:00", "session_tz": "America/Chicago"}),
    ("esh4_orders_2023-12-25", "realised_volatility", {"window": "30min"}),
    ("esh4_orders_2023-12-25", "order_flow_imbalance", {"method": "trades", "window": "5min"}),
    ("esh4_orders_2023-12-25", "log_returns", {"horizons": ["1min", "30min"], "forward": ["5min"]}),
]


@pytest.mark.parametrize(
    ("file", "name", "config"), REAL, ids=[f"{file[:6]}-{name}-{at}" for at, (file, name, _) in enumerate(REAL)]
)
def test_they_are_so_on_real_data(file: str, name: str, config: dict[str, Any]) -> None:
    """Files of a day or two are repeated with shifted times, so that there is a day before and one after."""
    raw = real(f"{file}.parquet")
    days = int((raw.index[-1] - raw.index[0]).days) + 1
    if days < 4:
        raw = pd.concat([raw.set_axis(raw.index + pd.Timedelta(days=days * n)) for n in range(3)])

    report = checked(f"fstore.intraday:{name}_by_day", raw, config)

    assert len(report.checked) >= 3


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("vwap_bands", {"window": 20}, "window is 20 trades"),
        ("realised_volatility", {"window": 20}, "window is 20 trades"),
        ("order_flow_imbalance", {"window": 20, "method": "trades"}, "window is 20 trades"),
        ("log_returns", {}, "horizons is 1 trades"),
        ("log_returns", {"horizons": ["1min"], "forward": [3]}, "forward is 3 trades"),
    ],
)
def test_rows_of_trades_are_refused_among_order_events(name: str, config: dict[str, Any], said: str) -> None:
    """A day's window would hold fewer of them than were asked for, and nobody would be told."""
    raw = pd.DataFrame(
        {"action": ["A", "T"] * 40, "side": "B", "price": 100.0, "size": 1},
        pd.date_range("2024-01-01", periods=80, freq="h", tz="UTC"),
    )
    with pytest.raises(ValueError, match=said):
        getattr(intraday, f"{name}_by_day")(raw, config)
    getattr(intraday, f"{name}_by_day")(raw[raw["action"] == "T"].drop(columns="action"), {**config, "columns": {}})


def test_rows_are_refused_where_the_sign_of_a_row_is_that_of_the_last_change() -> None:
    """Prices that stand still over the start of a day have it from beyond any number of rows; sides and quotes say it."""
    at = pd.date_range("2024-01-01", periods=96, freq="h", tz="UTC")
    still = pd.DataFrame({"close": [100.0, 101.0] + [101.0] * 94, "volume": 1.0}, at)

    with pytest.raises(ValueError, match="window is 20 rows, which by day do not tell the sign"):
        intraday.order_flow_imbalance_by_day(still, {"window": 20})

    report = check_feature(
        intraday.order_flow_imbalance_by_day, still, {"window": 20}, DECLARED["order_flow_imbalance"], costs=False
    )
    assert [each.kind for each in report.worst] == [Kind.REFUSED]
    assert "nothing was checked: it raised on 4 partitions" in str(report)
    assert "window is 20 rows" in str(report) and not report.is_right
    for given, config in ((still, {"window": "20h"}), (still.assign(side="B"), {"window": 20}), (still, {})):
        assert len(intraday.order_flow_imbalance_by_day(given, config)) == 96


def test_a_day_without_trades_has_no_rows_and_orders_are_not_cut() -> None:
    """Of a whole stream no trade is a fault; and what an order was, no day tells."""
    day = pd.date_range("2024-01-01", periods=8, freq="h", tz="UTC")
    raw = pd.DataFrame({"action": "A", "side": "B", "price": 100.0, "size": 1, "order_id": 7}, day)
    for name in ("vwap_bands", "realised_volatility"):
        assert getattr(intraday, f"{name}_by_day")(raw, {"window": "1h"}).empty
        with pytest.raises(ValueError, match="no row has an action"):
            getattr(intraday, name)(raw, {"window": "1h"})
    with pytest.raises(ValueError, match="holds 'Q', no action"):
        intraday.vwap_bands_by_day(raw.assign(action="Q"), {"window": "1h"})
    with pytest.raises(ValueError, match="orders outlive a day"):
        intraday.order_flow_imbalance_by_day(raw, {"window": "1h"})


def test_the_features_without_a_declaration_are_what_they_were() -> None:
    """Their keys are those of the version before; each by-day feature is another one, with names of its own."""
    for name in DECLARED:
        plain = resolve_feature(getattr(intraday, name))
        assert (plain.partitioning, plain.version, plain.name) == (None, "2", f"fstore.intraday:{name}")
