"""The built-in features are what they declare: checked on bars, quotes and trades of several days."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore import intraday
from fstore.errors import InvalidRequest
from fstore.features.partitioning import checked_partitioning
from fstore.increments.checks.check import check_feature
from fstore.increments.checks.report import Kind
from fstore.intraday.reach import DECLARED

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
    report = check_feature(getattr(intraday, name), raw[kind], config, DECLARED[name], costs=False)

    assert report.is_right, str(report)


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
