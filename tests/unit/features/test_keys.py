"""Keys: one canonical text per config, one digest per set of parts."""

from __future__ import annotations

import datetime as dt
import enum
import json
import string
import warnings
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fstore.errors import InvalidRequest, UnhashableInput
from fstore.features.keys import (
    MAX_CONFIG_BYTES,
    canonical_config,
    check_symbol,
    config_text,
    differing_parts,
    key_of,
    restore_config,
)
from fstore.model import KeyParts
from tests.awkward_tables import foreign_zone

at = dt.datetime.fromisoformat  # times without a zone are part of what is tested


class Side(enum.Enum):
    """An enum whose values are texts."""

    BUY = "buy"


class Name(enum.StrEnum):
    """An enum that is text itself."""

    WINDOW = "window"


def _without_unit(kind: type[np.generic], value: str | int) -> np.generic:
    """Make a time without a unit, which newer NumPy warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return kind(value)


def make_parts(**changes: str) -> KeyParts:
    """Build the parts of a key."""
    parts = {"symbol": "AAPL", "feature": "m:f", "feature_version": "1", "config": "{}", "fingerprint": "b3m1:00"}
    return KeyParts(**(parts | changes))


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=8) | st.sampled_from(
    ["$", "$$", "$date", "2024-01-02"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.dates()
    | st.datetimes(
        timezones=st.none() | st.sampled_from([dt.UTC, ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")]),
        min_value=at("1950-01-01"),
        max_value=at("2100-01-01"),
        allow_imaginary=False,  # a time that a clock jumps over is refused
    )
    | st.times()
    | st.timedeltas(min_value=dt.timedelta(days=-100_000), max_value=dt.timedelta(days=100_000))
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.binary(max_size=4)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
configs = st.dictionaries(texts, values, max_size=4)


def shuffled(value: Any) -> Any:
    """Give every mapping inside its names in the opposite order, and every list as a tuple."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return tuple(shuffled(item) for item in value)
    return value


def exact(value: Any) -> Any:
    """Describe a restored value so that equal descriptions mean values no function can tell apart."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return f"{type(value).__name__} {value!r}"


@given(configs)
def test_restoring_and_writing_again_changes_nothing(config: dict[str, Any]):
    """The text of a restored config is the text it was restored from."""
    text = canonical_config(config)

    assert canonical_config(restore_config(text)) == text
    assert config_text(json.loads(text)) == text


@given(configs)
def test_order_of_names_and_kind_of_sequence_do_not_matter(config: dict[str, Any]):
    """Shuffled names and tuples for lists give the same text."""
    assert canonical_config(shuffled(config)) == canonical_config(config)


@given(configs, configs)
@settings(max_examples=300)
def test_texts_are_equal_only_for_what_no_function_can_tell_apart(a: dict[str, Any], b: dict[str, Any]):
    """Two configs share a text exactly when their restored forms are the same, type by type."""
    one, other = canonical_config(a), canonical_config(b)

    assert (one == other) == (exact(restore_config(one)) == exact(restore_config(other)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (20, 20.0),
        (1, True),
        (0.0, -0.0),
        (0, None),
        ("2024-01-02", dt.date(2024, 1, 2)),
        (dt.date(2024, 1, 2), at("2024-01-02")),
        (at("2024-01-02"), dt.datetime(2024, 1, 2, tzinfo=dt.UTC)),
        (dt.datetime(2024, 1, 2, 14, tzinfo=dt.UTC), pd.Timestamp("2024-01-02 09:00", tz="America/New_York")),
        (dt.date(2024, 1, 2), {"$date": "2024-01-02"}),
        ({"$date": "x"}, {"$$date": "x"}),
        (Decimal("1.5"), 1.5),
        (Decimal("1.5"), Decimal("1.50")),
        (Path("/x"), "/x"),
        (b"x", "78"),
        (1e22, 10**22),
        ("1", 1),
        ([], {}),
        ([[1], 2], [1, [2]]),
        ("\u00e9", "e\u0301"),
        (pd.Timestamp(1, unit="ns"), pd.Timestamp(0, unit="ns")),
    ],
)
def test_different_values_stay_different(a: Any, b: Any):
    """What a function could tell apart has two texts."""
    assert canonical_config({"v": a}) != canonical_config({"v": b})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.int32(5), 5),
        (np.bool_(True), True),
        (np.float32(0.5), 0.5),
        (np.str_("x"), "x"),
        (Side.BUY, "buy"),
        (Name.WINDOW, "window"),
        ((1, (2,)), [1, [2]]),
        (MappingProxyType({"b": 1, "a": 2}), {"a": 2, "b": 1}),
        ({Name.WINDOW: 1}, {"window": 1}),
        (PurePosixPath("/x//y/"), Path("/x/y")),
        (np.datetime64("2024-01-02"), at("2024-01-02")),
        (np.datetime64("2024-01-02T09:30", "ns"), pd.Timestamp("2024-01-02 09:30")),
        (np.timedelta64(3, "m"), dt.timedelta(minutes=3)),
        (pd.Timedelta("3min"), dt.timedelta(minutes=3)),
        (pd.Timestamp("2024-01-02", tz="UTC"), dt.datetime(2024, 1, 2, tzinfo=ZoneInfo("UTC"))),
        (dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(0), "x")), dt.datetime(2024, 1, 2, tzinfo=dt.UTC)),
        (at("2024-01-02").replace(fold=1), at("2024-01-02")),
        (dt.time(9, 30, fold=1), dt.time(9, 30)),
    ],
)
def test_one_value_has_one_form(a: Any, b: Any):
    """NumPy scalars, enums, tuples, views and pandas types map to the plain value's form."""
    assert canonical_config({"v": a}) == canonical_config({"v": b})


def test_functions_are_given_plain_values_of_stable_types():
    """Restored values have the documented types, whatever was passed in."""
    restored = restore_config(
        canonical_config(
            {
                "tuple": (1, 2),
                "enum": Side.BUY,
                "when": at("2024-01-02T09:30"),
                "open": pd.Timestamp("2024-01-02 09:30:00.000000001", tz="America/New_York"),
                "hold": dt.timedelta(minutes=5),
                "tick": pd.Timedelta(1, unit="ns"),
                "day": dt.date(2024, 1, 2),
                "close": dt.time(16),
                "step": Decimal("0.10"),
                "id": UUID(int=1),
                "file": Path("/x"),
                "raw": b"\x00",
                "tiny": 1e-9,
                "$own": {"$date": 1},
            }
        )
    )

    assert exact(restored) == exact(
        {
            "tuple": [1, 2],
            "enum": "buy",
            "when": pd.Timestamp("2024-01-02 09:30"),
            "open": pd.Timestamp("2024-01-02 09:30:00.000000001", tz="America/New_York"),
            "hold": pd.Timedelta("5min"),
            "tick": pd.Timedelta(1, unit="ns"),
            "day": dt.date(2024, 1, 2),
            "close": dt.time(16),
            "step": Decimal("0.10"),
            "id": UUID(int=1),
            "file": Path("/x"),
            "raw": b"\x00",
            "tiny": 1e-9,
            "$own": {"$date": 1},
        }
    )
    assert restored["when"].unit == "us"
    assert str(restored["open"].tz) == "America/New_York"


def test_ambiguous_hour_keeps_its_instant():
    """The two 01:30 of an autumn night are two configs, and come back as what they were."""
    zone = ZoneInfo("America/New_York")
    first, second = (dt.datetime(2024, 11, 3, 1, 30, tzinfo=zone, fold=fold) for fold in (0, 1))

    one, two = canonical_config({"t": first}), canonical_config({"t": second})

    assert one != two
    assert restore_config(two)["t"] - restore_config(one)["t"] == dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (float("nan"), "nan"),
        (np.float64("inf"), "inf"),
        (Decimal("NaN"), "NaN"),
        (pd.NaT, "NaT"),
        (pd.NA, "NA"),
        (_without_unit(np.datetime64, "NaT"), ""),
        (np.datetime64("NaT", "ns"), "NaT"),
        (_without_unit(np.timedelta64, "NaT"), ""),
        (np.timedelta64("NaT", "s"), "NaT"),
        (_without_unit(np.timedelta64, 3), "without a unit"),
        (np.timedelta64(1, "ps"), "ps"),
        (np.datetime64(1, "ps"), "finer than a nanosecond"),
        (np.datetime64("20000-01-01"), "year"),
        (dt.timedelta.max, "timedelta"),
        (dt.time(9, tzinfo=dt.UTC), "zone"),
        ({1, 2}, "sorted list"),
        (frozenset(), "sorted list"),
        (np.arange(3), "tolist"),
        (pd.Series([1]), "tolist"),
        (pd.DataFrame(), "raw data"),
        (range(3), "list(range"),
        (1j, "imaginary"),
        (object(), "no canonical form"),
        (pd.Timestamp("2024-07-01", tz=foreign_zone()), "does not come back"),
        (dt.datetime(2012, 3, 11, 2, 30, tzinfo=ZoneInfo("America/New_York")), "does not come back"),
        (len, "no canonical form"),
        ({1: 2}, "keys must be strings"),
        ({None: 2}, "keys must be strings"),
        ("a\x00", "NUL"),
        ("\ud800", "surrogate"),
        ({"\ud800": 1}, "surrogate"),
        (1 << 5000, "bits"),
        (np.longdouble(1) / 3, "float"),
    ],
)
def test_what_has_no_faithful_form_is_refused_by_its_place(bad: Any, reason: str):
    """The error names the place inside the config and says what to pass instead."""
    with pytest.raises(UnhashableInput) as caught:
        canonical_config({"bands": [1, 2, bad]})

    assert caught.value.where == "config['bands'][2]"
    assert reason in caught.value.reason


def test_config_has_bounds():
    """Depth, size and the outermost kind are limited; a config that contains itself is refused, not followed."""
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    endless: dict[str, Any] = {}
    endless["self"] = endless

    for config, reason in [
        ({"v": deep}, "levels deep"),
        (endless, "contains itself"),
        ({"v": "x" * MAX_CONFIG_BYTES}, "bytes"),
        ([1], "expected a mapping"),
        (None, "expected a mapping"),
    ]:
        with pytest.raises(UnhashableInput, match=reason):
            canonical_config(config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"a": 1}',
        '{"b":1,"a":1}',
        '{"a":NaN}',
        '{"a":1e400}',
        '{"a":{"$date":"no"}}',
        '{"a":{"$date":5}}',
        '{"a":{"$float":"nan"}}',
        '{"a":{"$float":"1.0"}}',
        '{"a":{"$decimal":"x"}}',
        '{"a":{"$nonsense":"1"}}',
        '{"a":{"$date":"2024-01-02","b":1}}',
        '{"a":{"$datetime":"[x"}}',
        '{"a":{"$datetime":"2024-01-01T00:00:00+00:00[Nowhere/Land]"}}',
        '{"a":{"$datetime":"2024-01-01T00:00:00+00:00[America]"}}',
        '{"a":{"$datetime":"2024-01-01T00:00:00+00:00[../x]"}}',
        '{"a":{"$datetime":"NaT"}}',
        '{"a":{"$timedelta":"1"}}',
        '{"$date":"2024-01-02"}',
        '{"a":1,"a":1}',
        "[" * 50_000,
        " " * 70_000,
    ],
)
def test_text_that_is_not_canonical_is_refused(text: str):
    """A message can only carry configs this version would have written itself."""
    with pytest.raises(InvalidRequest) as caught:
        restore_config(text)

    assert caught.value.field == "config"


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_key_is_unambiguous(symbol: str, feature: str, other_symbol: str, other_feature: str):
    """Parts cannot flow over into each other: keys are equal only when all parts are."""
    a, b = make_parts(symbol=symbol, feature=feature), make_parts(symbol=other_symbol, feature=other_feature)

    assert (key_of(a) == key_of(b)) == (a == b)
    assert len(key_of(a)) == 64
    assert set(key_of(a)) <= set(string.hexdigits.lower())


def test_key_commits_to_every_part():
    """A change of any part changes the key, and is named."""
    base = make_parts()
    for part in ("symbol", "feature", "feature_version", "config", "fingerprint"):
        changed = make_parts(**{part: "other"})

        assert key_of(changed) != key_of(base)
        assert differing_parts(base, changed) == (part,)
    assert differing_parts(base, base) == ()


def test_key_is_pinned():
    """The encoding of keys does not change by accident: that would empty every cache."""
    config = canonical_config({"window": 20, "when": dt.date(2024, 1, 2), "eps": 1e-9})

    assert config == '{"eps":{"$float":"1e-09"},"when":{"$date":"2024-01-02"},"window":20}'
    assert key_of(make_parts(config=config)) == "420a3221d89fb0ba51fe5b77094cce23ed2a74e69d3d420aa31f41ffcfb2e9f1"


@pytest.mark.parametrize("symbol", ["A", "../../x", "BRK.B", "ES=F", "日経 225", "x" * 256])
def test_usual_symbols_pass(symbol: str):
    """A symbol may hold any printable characters."""
    assert check_symbol(symbol) == symbol
    assert type(check_symbol(np.str_(symbol))) is str


@pytest.mark.parametrize(
    "symbol", ["", "x" * 257, "x" * 4096, "a\x00", "a\nb", "\x7f", "\ud800", "\u2028", 5, None, b"A"]
)
def test_unusable_symbols_are_refused(symbol: Any):
    """Empty, long, invisible and foreign symbols are refused by name of the field."""
    with pytest.raises(InvalidRequest) as caught:
        check_symbol(symbol)

    assert caught.value.field == "symbol"
    assert len(str(caught.value)) < 200
