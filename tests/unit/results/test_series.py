"""A Series that a feature returns comes back as the Series it was, bit for bit, or is refused by name."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fstore.storage.local_cache as local_tier
from fstore.results.codec import UnstorableResult, check_faithful, decode_result, encode_result
from fstore.results.likeness import series_difference
from fstore.storage import as_read
from fstore.storage.local_cache import LocalCache
from tests import awkward_frames
from tests.unit.results.test_results import files, published  # noqa: F401 a fixture

Made = pd.Series  # of whatever kind
NAN = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x8000000000000000], dtype="uint64").view("float64")


def times(zone: str | None, unit: str = "ns", freq: str | None = "min") -> pd.DatetimeIndex:
    return pd.date_range("2024-03-31 00:30", periods=3, freq=freq, tz=zone, unit=unit)


def flagged() -> pd.Series:
    series = pd.Series([1.0, 2.0], name="x")
    series.attrs = {"unit": "bp", "of": {"a": [1, 2.5, None]}}
    return series.set_flags(allows_duplicate_labels=False)


KEPT: dict[str, Callable[[], pd.Series]] = {
    "floats": lambda: pd.Series([1.5, -0.0, 3.0], name="vwap"),
    "floats by their bits": lambda: pd.Series(NAN, name="x"),
    "float32": lambda: pd.Series(np.array([1, 2, 3], dtype="float32"), name="x"),
    "ints": lambda: pd.Series([1, 2**62, -1], name="x"),
    "masked": lambda: pd.Series([1, None, 3], dtype="Int64", name="x"),
    "masked floats": lambda: pd.Series(pd.array([1.0, None, 2.0], dtype="Float64"), name="x"),
    "bools": lambda: pd.Series([True, False, True], name="x"),
    "texts": lambda: pd.Series(["a", None, "c"], name="x"),
    "objects": lambda: pd.Series([1, "a", None], dtype=object, name="x"),
    "categories": lambda: pd.Series(
        pd.Categorical(["b", "a", "b"], categories=["b", "a", "z"], ordered=True), name="side"
    ),
    "bins": lambda: pd.cut(pd.Series([1, 5, 9], name="x"), [0, 4, 10]),
    "periods": lambda: pd.Series(pd.period_range("2024-01", periods=3, freq="M"), name="x"),
    "timedeltas": lambda: pd.Series(pd.to_timedelta([1, 2, 3], unit="s"), name="x"),
    "arrow": lambda: pd.Series([1, 2, 3], dtype=pd.ArrowDtype(pa.int32()), name="x"),
    "zoned index": lambda: pd.Series([1.0, 2.0, 3.0], index=times("America/New_York"), name="x"),
    "index with freq": lambda: pd.Series([1.0, 2.0, 3.0], index=times("UTC", freq="5min"), name="x"),
    "index in seconds": lambda: pd.Series([1.0, 2.0, 3.0], index=times(None, unit="s"), name="x"),
    "named index": lambda: pd.Series([1.0, 2.0, 3.0], index=times(None).rename("ts"), name="x"),
    "multi index": lambda: pd.Series(
        [1.0, 2.0], index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["s", None]), name="x"
    ),
    "index twice": lambda: pd.Series([1.0, 2.0], index=["a", "a"], name="x"),
    "a range with steps": lambda: pd.Series([1.0, 2.0, 3.0], index=pd.RangeIndex(5, 11, 2, name="n"), name="x"),
    "an index of its own name": lambda: pd.Series([1.0, 2.0], index=pd.Index([7, 8], name="x"), name="x"),
    "attrs and flags": flagged,
    "no rows": lambda: pd.Series([], dtype="float64", name="x", index=pd.DatetimeIndex([], tz="UTC")),
    "named by a number": lambda: pd.Series([1.0], name=0),
    "named by another number": lambda: pd.Series([1.0], name=5),
    "named by a float": lambda: pd.Series([1.0], name=0.5),
    "named by a tuple": lambda: pd.Series([1.0], name=("a", 1)),
    "named by nothing": lambda: pd.Series([1.0], name=""),
    "named by a time": lambda: pd.Series([1.0], name=pd.Timestamp("2024-01-01", tz="UTC")),
    "named by a set": lambda: pd.Series([1.0], name=frozenset({1})),
    "named like an index": lambda: pd.Series([1.0], name="__index_level_0__"),
    "a row of a frame": lambda: pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0]}).iloc[1],
}


@pytest.mark.parametrize("kind", KEPT)
def test_it_comes_back_as_it_was(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:  # noqa: F811
    """Through the file, and through the local tier by either door; type, name, index, values, attrs and flags."""
    monkeypatch.setattr(local_tier, "SMALL", -1)
    monkeypatch.setattr("fstore.storage.mapped_entry.SMALL", -1)
    series = KEPT[kind]()
    before = series.copy(deep=True)

    locator, table = published(files, series)
    mapped = LocalCache(tmp_path, max_bytes=10**9).promote(locator, table)

    assert mapped is not None
    for back in (decode_result(table), decode_result(as_read(encode_result(series))), mapped.frame()):
        assert type(back) is pd.Series
        assert series_difference(before, back) is None
        assert type(back.name) is type(before.name)
        pd.testing.assert_series_equal(before, back, check_freq=True, check_exact=True)
    assert series_difference(before, series) is None, "it was changed"


@pytest.mark.parametrize("kind", list(awkward_frames.FRAMES)[::2])
def test_each_column_of_awkward_frames(kind: str) -> None:
    """What a frame keeps, a Series keeps, or it is refused by name; it never comes back as another."""
    frame = awkward_frames.FRAMES[kind]()
    for at in range(frame.shape[1]):
        series = frame.iloc[:, at].rename("x")
        try:
            back = as_read(encode_result(series))
            check_faithful(series, back)
        except UnstorableResult as refusal:
            assert str(refusal)
        else:
            assert series_difference(series, decode_result(back)) is None


def test_one_without_a_name_is_refused() -> None:
    """It is said what to do; a name of None would come back as something else."""
    with pytest.raises(UnstorableResult, match="without a name; name it"):
        encode_result(pd.Series([1.0]))


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([lambda: 1], dtype=object, name="x"),
        pd.Series([1.0], name=zoneinfo.ZoneInfo("UTC")),
        pd.Series([1 + 2j], name="x"),
    ],
    ids=["functions", "named by an object", "complex"],
)
def test_what_cannot_be_kept_is_refused(series: pd.Series) -> None:
    """Before anything is stored, as for frames."""
    with pytest.raises(UnstorableResult):
        check_faithful(series, as_read(encode_result(series)))


def test_a_comparison_sees_what_differs() -> None:
    """Each part of a Series on its own: what came back is refused when one of them is another."""
    base = pd.Series([1.0, np.nan], index=times("UTC")[:2], name="x")
    other = base.copy()
    other.attrs = {"a": 1}
    others = (
        other, base.rename("y"), base.tz_convert("Europe/Berlin"), base.astype("float32"), base.to_frame(), base.iloc[:1],
        base.set_axis(base.index._with_freq(None)), base.set_flags(allows_duplicate_labels=False),
    )  # fmt: skip
    assert series_difference(base, base.copy()) is None
    assert all(series_difference(base, changed) for changed in others)


def test_tables_made_of_one_stand_for_frames() -> None:
    """Whoever takes the stored table of a Series and adds a column has a table like any other."""
    table = encode_result(pd.Series([1.0, 2.0], index=["a", "b"], name="x"))
    more = table.append_column("y", pa.array([1, 2]))
    check_faithful(more, as_read(encode_result(more)))
    assert isinstance(decode_result(more), pd.DataFrame)
