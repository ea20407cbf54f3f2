"""Declarations of features, and ``fstore check-feature`` and ``fstore.testing.check_feature`` that hold features against them."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.cli.app import run
from fstore.errors import ConfigurationError, FeatureNotRegistered, InvalidRequest
from fstore.features import registry
from fstore.features.keys import canonical_config, key_of
from fstore.features.partitioning import checked_partitioning
from fstore.features.registry import resolve_feature
from fstore.model import KeyParts
from fstore.testing import check_feature

MODULE = """
import fstore

@fstore.feature(version="1", partition="day", lookback=lambda config: config["window"] - 1)
def mean(raw, config):
    return raw["close"].rolling(config["window"]).mean().to_frame("mean")

@fstore.feature(version="1", partition="day", lookback=5)
def short(raw, config):
    return mean(raw, config)

@fstore.feature(version="1", input="arrow", partition="day", time="time")
def table(raw, config):
    return raw.select(["time", "close"])

def unregistered(raw, config):
    return mean(raw, config)

broken = local = fstore.local(unregistered, partition="day", lookback=19, name="checked mean")
"""


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of eight days of bars of 100 rows."""
    index = pd.DatetimeIndex(
        np.concatenate([pd.date_range(day, periods=100, freq="min") for day in pd.date_range("2024-03-04", periods=8)]),
        name="time",
    )
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    frame = pd.DataFrame({"close": np.random.default_rng(3).normal(100, 1, len(index))}, index)
    frame.to_parquet(path)
    return path


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module of features and return the name of what is in it."""
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "declared_features.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    yield lambda name: f"declared_features:{name}"
    sys.modules.pop("declared_features", None)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def arguments(name: str, bars: Path, *more: str) -> list[str]:
    return ["check-feature", name, "--data", str(bars), "--config", '{"window": 20}', "--no-costs", *more]


def test_a_right_declaration_ends_well(module: Any, bars: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without any server or setting."""
    assert run(arguments(module("mean"), bars, "--json")) == 0
    found = said(capsys)
    assert found["right"]
    assert found["feature"] == "declared_features:mean"
    assert found["checked"][0] == "2024-03-04"


def test_a_wrong_one_ends_with_1_and_says_what_to_do(
    module: Any, bars: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kind of fault, and the advice, in both forms."""
    assert run(arguments(module("short"), bars, "--json")) == 1
    assert {each["kind"] for each in said(capsys)["findings"] if each["fault"]} == {"lookback"}
    assert run(arguments(module("short"), bars)) == 1
    assert "lengthen lookback=" in " ".join(capsys.readouterr().out.split())


def test_what_declares_nothing_is_checked_against_what_is_said(
    module: Any, bars: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--partition`` takes any function, ``--suggest`` finds its reach, and a tolerance says how exactly."""
    name = module("unregistered")
    assert run(arguments(name, bars)) == 2
    assert "--partition day" in capsys.readouterr().err
    assert run(arguments(name, bars, "--lookback", "19")) == 2
    assert "without --partition" in capsys.readouterr().err
    assert run(arguments(name, bars, "--partition", "day", "--lookback", "19", "--json")) == 0
    assert '"rows",19' in said(capsys)["declaration"]
    assert run(arguments(name, bars, "--partition", "day", "--lookback", "1 partition", "--json")) == 0
    assert '"partitions",1' in said(capsys)["declaration"]
    assert run(arguments(name, bars, "--partition", "day", "--suggest", "--json")) == 1
    assert said(capsys)["suggestion"]["lookback"] == 19
    assert run(arguments(name, bars, "--partition", "day", "--lookback", "18", "--tolerance", "1e9", "--json")) == 1
    assert {each["worst"] for each in said(capsys)["findings"] if each["fault"]} == {None}, "NaN on one side only"


@pytest.mark.parametrize("name", ["table", "local"])
def test_tables_and_local_features_are_checked_too(module: Any, bars: Path, name: str) -> None:
    """The former by a column of times."""
    assert run(arguments(module(name), bars)) == 0


@pytest.mark.parametrize(
    ("name", "more", "code"),
    [
        ("declared_features:nothing", (), 5),
        ("no_such_module_:f", (), 5),
        ("no colon", (), 5),
        ("declared_features:mean", ("--config", "[]"), 2),
        ("declared_features:mean", ("--config", "{}"), 5),
        ("declared_features:mean", ("--data", "/nowhere.parquet"), 5),
        ("declared_features:mean", ("--partition", "day", "--lookback", "a while"), 3),
        ("declared_features:mean", ("--partition", "day", "--tz", "Mars/Olympus"), 3),
    ],
)
@pytest.mark.usefixtures("module")
def test_what_cannot_be_checked_is_told(name: str, more: tuple[str, ...], code: int, bars: Path) -> None:
    """With the exit code of its kind; 1 only says that a declaration is wrong."""
    assert run(arguments(name, bars, *more)) == code


def test_tests_of_features_fail_with_the_report(module: Any, bars: Path) -> None:
    """``check_feature`` takes names, functions and frames, and raises what pytest shows."""
    raw = pd.read_parquet(bars)
    assert check_feature(module("mean"), raw, {"window": 20}).is_right
    assert check_feature(module("mean"), fstore.ParquetSource(bars), {"window": 20}).is_right
    with pytest.raises(AssertionError, match="depends on rows before its window"):
        check_feature(module("short"), raw, {"window": 20})
    mean = sys.modules["declared_features"].unregistered
    assert check_feature(mean, raw, {"window": 20}, partition="day", lookback=19).is_right
    with pytest.raises(AssertionError):
        check_feature(mean, raw, {"window": 20}, partition="day", lookback=18)
    with pytest.raises(InvalidRequest, match="declares no partition"):
        check_feature(mean, raw, {"window": 20})
    with pytest.raises(FeatureNotRegistered, match="no 'nothing'"):
        check_feature(module("nothing"), raw)


def test_a_declaration_is_kept_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On features and local ones alike; all faults at once, each with what to write instead."""
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    sessions = fstore.sessions("day", start="18:00", tz="America/New_York")
    reach: dict[str, Any] = {"partition": sessions, "lookback": fstore.partitions(1), "lookahead": "5min"}
    expected = checked_partitioning("f", **reach)
    for declare in (fstore.feature, fstore.local):
        declared = declare(version="1", **reach)(gap)
        assert resolve_feature(declared).partitioning == expected
        with pytest.raises(ConfigurationError) as caught:
            declare(version="1", partition="fortnight", lookback=-1)(gap)
        assert len(caught.value.faults) == 2
        with pytest.raises(ConfigurationError, match="means nothing without partition="):
            declare(version="1", lookback=5)(gap)
        with pytest.raises(ConfigurationError, match="cut by their index"):
            declare(version="1", partition="day", time="ts")(gap)


def gap(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


def test_keys_of_features_that_declare_nothing_stay_as_they_were() -> None:
    """Name, version and key of a registered and of a local feature, to the letter."""
    made = [fstore.feature(version="1")(gap), fstore.local(gap, version="1", name="gap")]
    found = [resolve_feature(each) for each in made]
    assert [(each.name, each.version) for each in found] == [
        (f"{__name__}:gap", "1"),
        ("local:gap", "1"),
    ]
    assert all(each.partitioning is None for each in found)
    parts = KeyParts("ES", "local:gap", "1", canonical_config({"window": 20}), f"b3m2:{'0' * 64}")
    assert key_of(parts) == "652ea61780b3106f13639c2065f32efc44eaada0dcfa2f5c2c6466327e8fcd1b"
