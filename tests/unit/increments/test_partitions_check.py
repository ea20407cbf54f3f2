"""``check_feature`` tells right declarations from wrong ones: windows too short, looks ahead, global statistics, gaps."""
# ruff: noqa: DTZ001, DTZ002, DTZ005, DTZ006, DTZ007, DTZ011

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.features.partitioning import Partitioning, checked_partitioning, partitions, sessions
from fstore.increments.checks.check import check_feature
from fstore.increments.checks.clock import clock_at
from fstore.increments.checks.report import CheckReport, Kind

Config = Mapping[str, Any]
DAY = "day"


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """Ten trading days of minute bars from 09:30, with a weekend and the change of clocks between them."""
    rng = np.random.default_rng(7)
    days = pd.bdate_range("2024-03-04", periods=10)
    index = pd.DatetimeIndex(np.concatenate([(day + pd.Timedelta("9h30min") + pd.to_timedelta(range(390), unit="min")).asi8 for day in days]).astype("datetime64[us]"), name="time")  # fmt: skip
    close = 100 * np.exp(rng.normal(0, 1e-3, len(index)).cumsum())
    frame = pd.DataFrame({"close": close, "volume": rng.integers(1, 900, len(index))}, index)
    return frame.tz_localize("America/New_York")


def close(raw: pd.DataFrame) -> pd.Series:
    return raw["close"]


def normalized(raw: pd.DataFrame) -> pd.DatetimeIndex:
    assert isinstance(raw.index, pd.DatetimeIndex)
    return raw.index.normalize()


def naive(raw: pd.DataFrame) -> pd.DatetimeIndex:
    assert isinstance(raw.index, pd.DatetimeIndex)
    return raw.index.tz_localize(None)


def table(name: str = "x") -> Callable[[pd.Series], pd.DataFrame]:
    return lambda series: series.to_frame(name)


def one(made: Callable[[pd.DataFrame], Any]) -> Callable[[pd.DataFrame, Config], pd.DataFrame]:
    """Make a feature of one column."""
    return lambda raw, config: pd.Series(made(raw), index=raw.index).to_frame("x")


def rsi(raw: pd.DataFrame) -> pd.Series:
    change = close(raw).diff()
    up = change.clip(lower=0).ewm(alpha=1 / 14).mean()
    return 100 * up / (up - change.clip(upper=0).ewm(alpha=1 / 14).mean())


def session_vwap(raw: pd.DataFrame) -> pd.Series:
    days = normalized(raw)
    spent = (close(raw) * raw["volume"]).groupby(days).cumsum()
    return spent / raw["volume"].groupby(days).cumsum()


def previous_close(raw: pd.DataFrame) -> Any:
    days = normalized(raw)
    return close(raw).groupby(days).last().shift(1).reindex(days).to_numpy()


def day_score(raw: pd.DataFrame) -> pd.Series:
    by_day = close(raw).groupby(normalized(raw))
    return (close(raw) - by_day.transform("mean")) / by_day.transform("std")


RIGHT: list[tuple[str, Any, dict[str, Any]]] = [
    ("rolling mean", one(lambda raw: close(raw).rolling(60).mean()), {"lookback": 59}),
    ("rolling std", one(lambda raw: close(raw).rolling(60).std()), {"lookback": 59}),
    ("rolling median", one(lambda raw: close(raw).rolling(21).median()), {"lookback": 20}),
    ("log return", one(lambda raw: np.log(close(raw)).diff()), {"lookback": 1}),
    ("label", one(lambda raw: close(raw).shift(-5) / close(raw)), {"lookahead": 5}),
    ("centred", one(lambda raw: close(raw).rolling(11, center=True).mean()), {"lookback": 5, "lookahead": 5}),
    ("ewm", one(lambda raw: close(raw).ewm(span=20).mean()), {"lookback": 400}),
    ("rsi", one(rsi), {"lookback": 800}),
    ("session vwap", one(session_vwap), {}),
    ("z-score of a day", one(day_score), {}),
    ("previous close", one(previous_close), {"lookback": partitions(1)}),
    ("rolling by time", one(lambda raw: close(raw).rolling("30min").mean()), {"lookback": "30min"}),
    ("row-wise", one(lambda raw: close(raw) * raw["volume"]), {}),
    ("by the week", one(lambda raw: close(raw).rolling(30).max()), {"partition": "week", "lookback": 29}),
    ("sessions", one(lambda raw: close(raw).diff()), {"partition": sessions(DAY, start="18:00"), "lookback": 1}),
    ("raises when short", one(lambda raw: close(raw).rolling(3).mean()[2:]), {"lookback": 400}),
]
WRONG: list[tuple[str, Any, dict[str, Any], set[Kind]]] = [
    ("rolling mean", one(lambda raw: close(raw).rolling(60).mean()), {"lookback": 58}, {Kind.LOOKBACK}),
    ("rolling std", one(lambda raw: close(raw).rolling(60).std()), {}, {Kind.LOOKBACK}),
    ("ewm", one(lambda raw: close(raw).ewm(span=20).mean()), {"lookback": 20}, {Kind.LOOKBACK}),
    ("rsi", one(rsi), {"lookback": 14}, {Kind.LOOKBACK}),
    ("cumsum", one(lambda raw: close(raw).cumsum()), {"lookback": 400}, {Kind.LOOKBACK}),
    ("expanding", one(lambda raw: close(raw).expanding().max()), {"lookback": partitions(1)}, {Kind.LOOKBACK}),
    (
        "z-score of all",
        one(lambda raw: (close(raw) - close(raw).mean()) / close(raw).std()),
        {"lookback": partitions(2)},
        {Kind.LOOKBACK, Kind.LOOKAHEAD},
    ),
    ("rank of all", one(lambda raw: close(raw).rank(pct=True)), {}, {Kind.LOOKBACK, Kind.LOOKAHEAD}),
    ("label", one(lambda raw: close(raw).shift(-5) / close(raw)), {"lookahead": 4}, {Kind.LOOKAHEAD}),
    ("hidden label", one(lambda raw: close(raw).shift(-1)), {"lookback": 100}, {Kind.LOOKAHEAD}),
    ("centred", one(lambda raw: close(raw).rolling(11, center=True).mean()), {"lookback": 10}, {Kind.LOOKAHEAD}),
    ("previous close", one(previous_close), {"lookback": "2h"}, {Kind.LOOKBACK}),
    ("resample", lambda raw, config: raw[["close"]].resample("7min").last(), {}, {Kind.LOOKBACK}),
    ("ffill", one(lambda raw: close(raw).ffill()), {}, {Kind.GAPS}),
    ("bfill", one(lambda raw: close(raw).bfill()), {}, {Kind.GAPS}),
    ("interpolate", one(lambda raw: close(raw).interpolate()), {"lookback": 1}, {Kind.GAPS}),
    ("every fifth row of the window", lambda raw, config: raw[["close"]].iloc[::5], {"lookback": 10}, {Kind.LOOKBACK}),
    ("age, by the date", one(lambda raw: (pd.Timestamp(date.today()) - naive(raw)).days), {}, {Kind.CLOCK}),
    ("age, by datetime", one(lambda raw: [(datetime.now() - at.to_pydatetime()).days for at in naive(raw)]), {}, {Kind.CLOCK}),
    ("age, by pandas", one(lambda raw: (pd.Timestamp.now().normalize() - naive(raw)).days), {}, {Kind.CLOCK}),
    ("age, by a word", one(lambda raw: (pd.Timestamp("today").normalize() - naive(raw)).days), {}, {Kind.CLOCK}),
    ("age, by time", one(lambda raw: time.time() // 86_400 - raw.index.as_unit("s").asi8 // 86_400), {}, {Kind.CLOCK}),
    ("what is recent", one(lambda raw: close(raw).where(naive(raw) > datetime.now() - timedelta(days=30))), {}, {Kind.CLOCK}),
    ("random", one(lambda raw: close(raw) + np.random.random(len(raw))), {}, {Kind.REPEAT}),
    ("no times", lambda raw, config: raw.reset_index(drop=True), {}, {Kind.RESULT}),
    ("backwards", lambda raw, config: raw[::-1], {}, {Kind.RESULT}),
    ("no zone", lambda raw, config: raw.tz_localize(None), {}, {Kind.RESULT}),
    ("dtype by the day", lambda raw, config: raw[["volume"]].astype("i8" if raw.index[0].day % 2 else "f8"), {}, {Kind.RESULT}),
    ("categories", lambda raw, config: raw[["volume"]].assign(c=pd.Categorical(raw["volume"] % (raw.index[0].day % 3 + 2))), {}, {Kind.RESULT}),
]  # fmt: skip


def declared(partition: Any = DAY, **reach: Any) -> Partitioning:
    found = checked_partitioning("f", partition, **reach)
    assert found is not None
    return found


def checked(func: Any, raw: Any, reach: Mapping[str, Any], **how: Any) -> CheckReport:
    return check_feature(func, raw, {}, declared(**reach), costs=False, **how)


@pytest.mark.parametrize(("func", "reach"), [each[1:] for each in RIGHT], ids=[each[0] for each in RIGHT])
def test_right_declarations_pass(bars: pd.DataFrame, func: Any, reach: dict[str, Any]) -> None:
    """No false alarm."""
    report = checked(func, bars, reach)

    assert report.is_right, str(report)


@pytest.mark.parametrize(("func", "reach", "kinds"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_wrong_declarations_are_found(bars: pd.DataFrame, func: Any, reach: dict[str, Any], kinds: set[Kind]) -> None:
    """And the kind of fault is told."""
    report = checked(func, bars, reach)

    assert kinds <= {each.kind for each in report.findings if each.is_fault}, str(report)


def test_clocks_are_set_for_a_call_and_back_again() -> None:
    """What is no clock stays what it is meanwhile, and so does whatever is asked by a library."""

    def asked() -> list[Any]:
        return [time.time(), time.time_ns() / 1e9, datetime.now(UTC).timestamp(), pd.Timestamp.now("UTC").timestamp()]

    names = (time.time, datetime, date, pd.Timestamp, pd.to_datetime)
    with pytest.raises(ZeroDivisionError), clock_at(1e9, asked):
        assert all(1e9 <= shown < 1e9 + 60 for shown in asked())
        assert time.gmtime().tm_year == 2001 and time.gmtime(0).tm_year == 1970 and datetime.today().year == 2001
        assert date.today() == pd.Timestamp("today").date() == pd.to_datetime("now").date()
        for made in (
            datetime(2024, 1, 2, 3),
            pd.Timestamp("2024-01-02 03:00"),
            pd.Timestamp(year=2024, month=1, day=2),
        ):
            assert isinstance(made, datetime) and made.date() == date(2024, 1, 2) and type(made) in (names[1], names[3])
        assert datetime.strptime("2024", "%Y").year == datetime.fromtimestamp(1.7e9).year + 1 == 2024
        assert isinstance(pd.Timestamp("2024"), pd.Timestamp) and issubclass(pd.Timestamp, date)
        assert pd.Series(1, pd.date_range("2024", periods=9)).resample("2D").sum().loc["2024-01-03":].tolist() == [
            2,
            2,
            2,
            1,
        ]
        raise ZeroDivisionError
    assert (time.time, datetime, date, pd.Timestamp, pd.to_datetime) == names and time.time() > 1.7e9


def test_a_function_that_writes_into_its_input_is_told(bars: pd.DataFrame) -> None:
    """Its own input is a frame of its own, but callers by hand would be surprised."""

    def func(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
        raw["twice"] = raw["close"] * 2
        return raw[["twice"]]

    assert {each.kind for each in checked(func, bars, {}).findings} == {Kind.INPUT}


@pytest.mark.parametrize(
    ("func", "lookback", "lookahead"),
    [
        (one(lambda raw: close(raw).rolling(60).mean()), 59, 0),
        (one(lambda raw: close(raw).shift(-5) - close(raw).shift(3)), 3, 5),
        (one(lambda raw: close(raw).cumsum()), None, 0),
        (one(session_vwap), 0, 0),
    ],
    ids=["rolling", "both sides", "never", "none"],
)
def test_the_shortest_reach_is_suggested(bars: pd.DataFrame, func: Any, lookback: int | None, lookahead: int) -> None:
    """By bisection; none where no length will do."""
    suggestion = checked(func, bars, {}, suggest=True).suggestion

    assert suggestion is not None
    assert (suggestion.lookback, suggestion.lookahead) == (lookback, lookahead), str(suggestion)
    assert suggestion.checked == lookback
    advice = "leave partition= out" if lookback is None else f"with lookback={lookback}"
    assert advice in str(suggestion).splitlines()[-1]


def test_an_ewm_shows_how_its_error_falls_with_its_length(bars: pd.DataFrame) -> None:
    """So that where it is cut is a decision."""
    suggestion = checked(one(lambda raw: close(raw).ewm(span=20).mean()), bars, {}, suggest=True).suggestion

    assert suggestion is not None
    errors = [worst for _, worst in suggestion.errors_back]
    assert errors == sorted(errors, reverse=True)
    assert suggestion.lookback is not None and 60 < suggestion.lookback < 200
    assert suggestion.checked is not None and suggestion.checked > suggestion.lookback
    right = checked(one(lambda raw: close(raw).ewm(span=20).mean()), bars, {"lookback": suggestion.checked})
    assert right.is_right, str(right)
    assert f"lookback={suggestion.checked}" in str(suggestion).splitlines()[-1]


def test_of_one_partition_no_reach_is_told(bars: pd.DataFrame) -> None:
    """Nothing lies outside of it, so any would do."""
    day = bars[bars.index.normalize() == bars.index[0].normalize()]
    report = checked(one(lambda raw: close(raw).cumsum()), day, {}, suggest=True)
    assert report.is_right
    assert report.suggestion is None
    assert [each.kind for each in report.findings] == [Kind.ALONE]
    assert "give data of several" in str(report)


def test_costs_tell_when_partitions_do_not_pay(bars: pd.DataFrame) -> None:
    """Time is passed in: a call that takes a second however few rows it has."""
    now = 0.0

    def func(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
        nonlocal now
        now += 1
        return raw[["close"]]

    report = check_feature(func, bars, {}, declared(), clock=lambda: now)

    assert report.costs is not None
    assert (report.costs.one_call, report.costs.by_partitions, report.costs.appended) == (1, 10, 1)
    assert report.is_right
    assert Kind.COST in {each.kind for each in report.findings}


def test_tables_and_columns_of_times_are_checked_as_well(bars: pd.DataFrame) -> None:
    """As ``input="arrow"`` features are given them."""
    raw = pa.Table.from_pandas(bars.reset_index(), preserve_index=False)
    reach = {"time": "time", "lookback": 1}

    def func(table: pa.Table, config: Config) -> pa.Table:
        values = table.column("close").to_numpy()
        return table.select(["time"]).append_column("x", pa.array(np.diff(values, prepend=np.nan)))

    assert checked(func, raw, reach, kind="arrow").is_right
    assert not checked(func, raw, {"time": "time"}, kind="arrow").is_right


def test_a_function_that_raises_is_told_and_not_passed(bars: pd.DataFrame) -> None:
    """Two equal errors are no difference, and show nothing: for all days it takes no such data, for one a request fails."""
    declared = checked_partitioning("f", "day")
    assert declared is not None
    first = str(bars.index[0].date())

    def missing(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
        return raw[["no_such_column"]]

    def picky(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
        if str(raw.index[0].date()) == first:
            raise ValueError("not this day")
        return raw[["close"]]

    refused = check_feature(missing, bars, {}, declared, suggest=True)
    assert {each.kind for each in refused.findings} == {Kind.REFUSED}
    assert (refused.is_right, refused.costs, refused.suggestion) == (False, None, None)
    assert "no_such_column" in str(refused) and "it takes no such data" in str(refused)
    raised = check_feature(picky, bars, {}, declared, costs=False)
    assert not raised.is_right
    assert (Kind.RAISES, first) in [(each.kind, each.partition) for each in raised.findings]
    assert "not this day" in str(raised)
