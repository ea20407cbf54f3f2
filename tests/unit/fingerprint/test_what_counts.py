"""What a function can tell apart has digests of its own; what it cannot is not passed on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import reduce
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dateutil.tz
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.errors import UnhashableInput
from fstore.fingerprint.identification import content_digest, identify, to_table
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from tests.unit.fingerprint.inputs.fingerprint_staging import seen

pytz = pytest.importorskip("pytz")

Probe = Callable[[pd.DataFrame], Any]
TIMES = pd.date_range("2024-01-02 09:30", periods=3, freq="h")
STR = pd.StringDtype("pyarrow", na_value=np.nan)
PYTHON = pd.StringDtype("python", na_value=np.nan)


def column(values: Any) -> pd.DataFrame:
    """Make a frame of one column."""
    return pd.DataFrame({"x": values})


def indexed(index: Any) -> pd.DataFrame:
    """Make a frame of one number a row over an index."""
    return pd.DataFrame({"x": np.arange(float(len(index)))}, index=index)


def labelled(labels: Any) -> pd.DataFrame:
    """Make a frame of one row under these labels."""
    return pd.DataFrame([np.arange(float(len(labels)))], columns=labels)


def marked(attrs: dict[Any, Any]) -> pd.DataFrame:
    """Make a frame with attrs."""
    frame = column([1.0])
    frame.attrs = attrs
    return frame


def category(categories: Any, codes: Any = (0, 1, -1), *, ordered: bool = False) -> pd.Categorical:
    """Make a category of these codes."""
    return pd.Categorical.from_codes(list(codes), categories=pd.Index(categories), ordered=ordered)


def codes(frame: pd.DataFrame) -> list[int]:
    return frame["x"].cat.codes.tolist()


def categories(frame: pd.DataFrame) -> Any:
    found = frame["x"].cat.categories
    return (
        found.tolist(),
        str(found.dtype),
        getattr(found.dtype, "storage", None),
        str(getattr(found.dtype, "na_value", None)),
    )


def index_codes(frame: pd.DataFrame) -> Any:
    index: Any = frame.index
    return index.codes.tolist(), index.categories.tolist(), index.ordered


def level_codes(frame: pd.DataFrame) -> Any:
    level: Any = frame.index.get_level_values(0)
    return level.codes.tolist(), level.categories.tolist()


def values(frame: pd.DataFrame) -> Any:
    return [(type(value).__name__, str(value)) for value in frame["x"].array], str(frame["x"].dtype)


def bits(frame: pd.DataFrame) -> bytes:
    return np.asarray(frame["x"].array._data if hasattr(frame["x"].array, "_data") else frame["x"]).tobytes()


def hours(frame: pd.DataFrame) -> Any:
    index: Any = frame.index
    return index.hour.tolist(), str(index.dtype)


def index_look(frame: pd.DataFrame) -> Any:
    index = frame.index
    return type(index).__name__, str(index.dtype), index.tolist(), list(index.names), index.nlevels


def label_look(frame: pd.DataFrame) -> Any:
    levels = [frame.columns.get_level_values(i) for i in range(frame.columns.nlevels)]
    return (
        frame.columns.tolist(),
        list(frame.columns.names),
        [(str(x.dtype), getattr(x.dtype, "storage", "")) for x in levels],
    )


def attrs_in_order(frame: pd.DataFrame) -> str:
    return repr(frame.attrs)


def dtypes(frame: pd.DataFrame) -> Any:
    return [(str(dtype), getattr(dtype, "storage", ""), repr(getattr(dtype, "na_value", ""))) for dtype in frame.dtypes]


def multi(first: Any) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([first, [1, 2, 3]], names=["a", "b"])


TOLD_APART: dict[str, tuple[pd.DataFrame, pd.DataFrame, Probe]] = {
    "order of categories": (
        column(category(["A", "N"], [1, 0, 1])),
        column(category(["N", "A"], [0, 1, 0])),
        codes,
    ),
    "order of categories of numbers": (column(category([3, 1])), column(category([1, 3], [1, 0, -1])), codes),
    "order of categories of times": (column(category(TIMES[:2])), column(category(TIMES[1::-1], [1, 0, -1])), codes),
    "order of categories of flags": (column(category([True, False])), column(category([False, True], [1, 0, -1])), codes),
    "unused category": (column(category(["a", "b"])), column(category(["a", "b", "c"])), categories),
    "unused category in front": (column(category(["a", "b"])), column(category(["c", "a", "b"], [1, 2, -1])), codes),
    "categories of no rows": (column(category(["a", "b"], [])), column(category(["b", "a"], [])), categories),
    "width of categories": (column(category(np.array([3, 1], "i1"))), column(category(np.array([3, 1], "i8"))), categories),
    "text and object categories": (
        column(category(pd.Index(["a", "b"], dtype=STR))),
        column(category(pd.Index(["a", "b"], dtype=object))),
        categories,
    ),
    "storage of categories": (
        column(category(pd.Index(["a", "b"], dtype=STR))),
        column(category(pd.Index(["a", "b"], dtype=PYTHON))),
        categories,
    ),
    "missing value of categories": (
        column(category(pd.Index(["a", "b"], dtype=STR))),
        column(category(pd.Index(["a", "b"], dtype="string"))),
        categories,
    ),
    "ordered": (
        column(category(["a", "b"])),
        column(category(["a", "b"], ordered=True)),
        lambda frame: frame["x"].cat.ordered,
    ),
    "category index": (
        indexed(pd.CategoricalIndex(category(["a", "b"]))),
        indexed(pd.CategoricalIndex(category(["b", "a"], [1, 0, -1]))),
        index_codes,
    ),
    "category level": (
        indexed(multi(category(["a", "b"]))),
        indexed(multi(category(["b", "a"], [1, 0, -1]))),
        level_codes,
    ),
    "NaN and NA in a masked column": (
        column(type(pd.array([0.5], dtype="Float64"))(np.array([1.0, np.nan]), np.array([False, False]))),
        column(pd.array([1.0, None], dtype="Float64")),
        lambda frame: frame["x"].isna().tolist(),
    ),
    "sign of zero": (column([0.0, 1.0]), column([-0.0, 1.0]), bits),
    "payload of NaN": (
        column(np.array([0x7FF8000000000000], "u8").view("f8")),
        column(np.array([0x7FF8000000000001], "u8").view("f8")),
        bits,
    ),
    "missing marker": (
        column(pd.Series(["a", None], dtype=object)),
        column(pd.Series(["a", np.nan], dtype=object)),
        values,
    ),
    "storage of text": (column(pd.Series(["a"], dtype=STR)), column(pd.Series(["a"], dtype=PYTHON)), dtypes),
    "missing value of text": (column(pd.Series(["a"], dtype=STR)), column(pd.Series(["a"], dtype="string")), dtypes),
    "width of Arrow text": (
        column(pd.Series(["a"], dtype=pd.ArrowDtype(pa.string()))),
        column(pd.Series(["a"], dtype=pd.ArrowDtype(pa.large_string()))),
        dtypes,
    ),
    "unit of times": (indexed(TIMES.as_unit("s")), indexed(TIMES.as_unit("ns")), index_look),
    "zone": (indexed(TIMES.tz_localize("UTC")), indexed(TIMES.tz_localize("UTC").tz_convert("Asia/Tokyo")), hours),
    "offset and zone": (
        indexed(TIMES.tz_localize("UTC").tz_convert(timezone(timedelta(hours=9)))),
        indexed(TIMES.tz_localize("UTC").tz_convert("Asia/Tokyo")),
        hours,
    ),
    "one level": (
        indexed(pd.MultiIndex.from_arrays([[1, 2, 3]], names=["a"])),
        indexed(pd.Index([1, 2, 3], name="a")),
        index_look,
    ),
    "range and integers": (indexed(pd.RangeIndex(3)), indexed(pd.Index([0, 1, 2])), index_look),
    "start of a range": (indexed(pd.RangeIndex(3)), indexed(pd.RangeIndex(1, 4)), index_look),
    "name of a range": (indexed(pd.RangeIndex(3)), indexed(pd.RangeIndex(3, name=0)), index_look),
    "name of an index": (indexed(TIMES.rename("a")), indexed(TIMES.rename("b")), index_look),
    "labels": (labelled(["1"]), labelled([1]), label_look),
    "name of labels": (labelled(pd.Index(["a"])), labelled(pd.Index(["a"], name="n")), label_look),
    "dtype of labels": (labelled(pd.Index(["a"])), labelled(pd.Index(["a"], dtype=object)), label_look),
    "storage of labels": (labelled(pd.Index(["a"])), labelled(pd.Index(["a"], dtype=PYTHON)), label_look),
    "dtype of label levels": (
        labelled(pd.MultiIndex.from_arrays([pd.Index(["a"]), [1]])),
        labelled(pd.MultiIndex.from_arrays([pd.Index(["a"], dtype=object), [1]])),
        label_look,
    ),
    "order of attrs": (marked({"a": 1, "b": 2}), marked({"b": 2, "a": 1}), attrs_in_order),
    "order of nested attrs": (marked({"a": {"x": 1, "y": 2}}), marked({"a": {"y": 2, "x": 1}}), attrs_in_order),
    "type in attrs": (marked({"a": 1}), marked({"a": True}), attrs_in_order),
    "rows without columns": (indexed(pd.RangeIndex(3))[[]], indexed(pd.RangeIndex(4))[[]], len),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD_APART)
def test_what_a_function_can_tell_apart_counts(name: str, tmp_path: Path) -> None:
    """Two digests, and the function sees of each frame what it would see of the frame itself."""
    one, other, probe = TOLD_APART[name]

    assert probe(one) != probe(other)
    assert content_digest(one) != content_digest(other)
    for frame in (one, other):
        assert probe(seen(frame, tmp_path)) == probe(frame)
        assert content_digest(seen(frame, tmp_path)) == content_digest(frame)


@pytest.mark.parametrize("name", [name for name, (one, _, _) in TOLD_APART.items() if len(one.columns)])
def test_an_ingested_file_shows_the_same(name: str, tmp_path: Path) -> None:
    """Its digest is that of the frame, and so is what the function sees."""
    for at, frame in enumerate(TOLD_APART[name][:2]):
        source = ingest(frame, tmp_path / f"{at}.parquet")

        assert content_digest(source) == content_digest(frame)
        assert TOLD_APART[name][2](to_frame(to_table(source))) == TOLD_APART[name][2](frame)


ALIKE: dict[str, tuple[pd.DataFrame, pd.DataFrame, Probe]] = {
    "freq": (
        indexed(TIMES),
        indexed(pd.DatetimeIndex(TIMES, freq=None)),
        lambda frame: getattr(frame.index, "freq", None),
    ),
    "end of a range": (
        indexed(pd.RangeIndex(0, 8, 3)),
        indexed(pd.RangeIndex(0, 9, 3)),
        lambda frame: (frame.index.start, frame.index.stop, frame.index.step),  # type: ignore[attr-defined]
    ),
    "unused levels": (
        indexed(multi(["a", "b", "c"])),
        indexed(pd.MultiIndex(levels=[["z", "c", "b", "a"], [1, 2, 3]], codes=[[3, 2, 1], [0, 1, 2]], names=["a", "b"])),
        lambda frame: ([level.tolist() for level in frame.index.levels], [c.tolist() for c in frame.index.codes]),  # type: ignore[attr-defined]
    ),
    "flags": (
        column([1.0]),
        column([1.0]).set_flags(allows_duplicate_labels=False),
        lambda frame: frame.flags.allows_duplicate_labels,
    ),
    "class": (column([1.0]), type("Own", (pd.DataFrame,), {})({"x": [1.0]}), type),
    "library of a zone": (
        indexed(TIMES.tz_localize(ZoneInfo("America/New_York"))),
        indexed(TIMES.tz_localize(pytz.timezone("America/New_York"))),
        lambda frame: repr(frame.index.tz),  # type: ignore[attr-defined]
    ),
    "library of an offset": (
        indexed(TIMES.tz_localize(timezone(timedelta(hours=1)))),
        indexed(TIMES.tz_localize(pytz.FixedOffset(60))),
        lambda frame: repr(frame.index.tz),  # type: ignore[attr-defined]
    ),
    "library of an offset in a level": (
        indexed(multi(TIMES.tz_localize(timezone(timedelta(hours=1))))),
        indexed(multi(TIMES.tz_localize(dateutil.tz.tzoffset(None, 3600)))),
        lambda frame: repr(frame.index.levels[0].tz),  # type: ignore[attr-defined]
    ),
    "library of UTC": (
        column(TIMES.tz_localize(UTC)),
        column(TIMES.tz_localize(dateutil.tz.tzutc())),
        lambda frame: repr(frame["x"].dt.tz),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_what_does_not_count_is_not_passed_on(name: str, tmp_path: Path) -> None:
    """One digest, and no function can see which of the two was given."""
    one, other, probe = ALIKE[name]

    assert probe(one) != probe(other)
    assert content_digest(one) == content_digest(other)
    assert probe(seen(one, tmp_path / "1")) == probe(seen(other, tmp_path / "2"))
    pd.testing.assert_frame_equal(seen(one, tmp_path / "1"), seen(other, tmp_path / "2"))


def misnamed() -> tzinfo:
    with Path("/usr/share/zoneinfo/Asia/Tokyo").open("rb") as file:
        return ZoneInfo.from_file(file, key="CET")


FALSE_ZONES: dict[str, Callable[[], tzinfo]] = {
    "an offset called CET": lambda: timezone(timedelta(hours=1), "CET"),
    "an offset called Europe/London": lambda: timezone(timedelta(hours=0), "Europe/London"),
    "an offset called UTC": lambda: timezone(timedelta(hours=1), "UTC"),
    "a named offset of dateutil": lambda: dateutil.tz.tzoffset("CET", 3600),
    "a file of dateutil": lambda: dateutil.tz.gettz("America/New_York") or pytest.skip("no zone files"),
    "the host's zone": dateutil.tz.tzlocal,
    "seconds": lambda: timezone(timedelta(hours=1, seconds=30)),
    "a file under another name": misnamed,
}


@pytest.mark.parametrize("kind", ["index", "column", "level", "categories", "intervals"])
@pytest.mark.parametrize("name", FALSE_ZONES)
def test_a_zone_that_would_come_back_as_another_is_refused(name: str, kind: str) -> None:
    """By an error of fstore that names the place, wherever the zone hides."""
    try:
        zone = FALSE_ZONES[name]()
    except FileNotFoundError:
        pytest.skip("no zone files")
    times = TIMES.tz_localize("UTC").tz_convert(zone)
    frames = {
        "index": lambda: indexed(times.rename("when")),
        "column": lambda: pd.DataFrame({"when": times}),
        "level": lambda: indexed(pd.MultiIndex.from_arrays([times, [1, 2, 3]], names=["when", "b"])),
        "categories": lambda: pd.DataFrame({"when": pd.Categorical(times)}),
        "intervals": lambda: pd.DataFrame({"when": pd.arrays.IntervalArray.from_breaks(times)}),
    }
    frame = frames[kind]()

    with pytest.raises(UnhashableInput) as caught:
        content_digest(frame)
    assert "when" in caught.value.where


def test_a_fixed_offset_keeps_its_hours(tmp_path: Path) -> None:
    """In summer too, when the zone that is an hour ahead in winter is two ahead."""
    frame = indexed(pd.DatetimeIndex([datetime(2024, 7, 1, 9, tzinfo=timezone(timedelta(hours=1)))]))

    assert hours(seen(frame, tmp_path))[0] == [9]


def test_times_that_pytz_does_not_know_are_refused() -> None:
    """After 2037 its zones have no summer time, and Python's have one."""
    near, far = (
        indexed(pd.DatetimeIndex([f"{year}-07-01"], tz=pytz.timezone("Europe/Paris"))) for year in (2036, 2040)
    )

    content_digest(near)
    with pytest.raises(UnhashableInput, match="2037"):
        content_digest(far)


class Venue(StrEnum):
    """Texts that know more than their letters."""

    A = "a"


def described(attrs: dict[Any, Any]) -> pd.DataFrame:
    """Make a frame with these attrs."""
    frame = column([1.0])
    frame.attrs = attrs
    return frame


REFUSED: dict[str, tuple[pd.DataFrame, str, str]] = {
    "index called 0": (indexed(pd.Index([1, 2], name=0)), "index name 0", "rename_axis"),
    "mixed labels": (labelled(["a", 1]), "labels", "columns.astype(str)"),
    "labels of a category": (labelled(pd.CategoricalIndex(["a"])), "labels", "columns.astype(str)"),
    "labels of one level": (labelled(pd.MultiIndex.from_arrays([["a"]])), "labels", "get_level_values(0)"),
    "labels of times": (labelled(TIMES), "2024", "string"),
    "intervals of zoned times": (column(pd.interval_range(TIMES[0].tz_localize("UTC"), periods=2)), "'x'", ".left"),
    "dictionaries in a list": (
        column(pd.Series([None], dtype=pd.ArrowDtype(pa.list_(pa.dictionary(pa.int8(), pa.string()))))), "x", "plain values",
    ),
    "mixed categories": (column(pd.Categorical([1, "a"])), "'x'", "convert"),
    "texts of an enumeration": (column(pd.Series([Venue.A], dtype=object)), "'x'", ".astype('str')"),
    "numpy's texts": (column(pd.Series([np.str_("a")], dtype=object)), "'x'", ".astype('str')"),
    "categories of an enumeration": (
        column(pd.Categorical.from_codes([0], pd.Index([Venue.A], dtype=object))), "'x'", "strings",
    ),
    "attrs of an enumeration": (described({"venue": Venue.A}), "attrs", "plain value"),
    "attrs of an enumeration in a list": (described({"venues": [Venue.A]}), "attrs", "plain value"),
    "attrs called by an enumeration": (described({Venue.A: 1}), "attrs", "plain value"),
    "attrs of numpy's floats": (described({"scale": np.float64(2.5)}), "attrs", "plain value"),
    "attrs of a mapping of another kind": (described({"a": OrderedDict(b=1)}), "attrs", "plain value"),
    "attrs of a huge int": (described({"a": 10**5000}), "attrs", "frame.attrs = {}"),
    "attrs that nest a thousand times": (described(reduce(lambda inner, _: {"a": inner}, range(3000), {})), "attrs", "levels"),
    "a zone that nobody knows": (
        column(pd.arrays.ArrowExtensionArray(pa.array([0], pa.timestamp("ns", "Mars/Phobos")))), "x", "no time zone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_where_and_what_to_do(name: str) -> None:
    """In words of pandas, not in those of a schema."""
    frame, where, advice = REFUSED[name]

    with pytest.raises(UnhashableInput) as caught:
        content_digest(frame)
    assert where in caught.value.where
    assert advice in caught.value.reason
    assert "[[" not in caught.value.reason


@pytest.mark.parametrize("make", [lambda frame: frame, to_table], ids=["frame", "table"])
def test_the_tail_sees_the_order_of_categories(make: Callable[[pd.DataFrame], Any], tmp_path: Path) -> None:
    """Whatever form the data have; also of categories that no row of the tail uses."""
    one, other = column(category(["a", "b", "c"], [0] * 2000)), column(category(["a", "c", "b"], [0] * 2000))
    digests = [identify(make(frame), threshold_bytes=0, policy="tail").fingerprint.digest for frame in (one, other)]
    file = identify(ingest(one, tmp_path / "one.parquet"), threshold_bytes=0, policy="tail").fingerprint.digest

    assert digests[0] != digests[1]
    assert digests[0] == file


@pytest.mark.parametrize("rows", [0, 3])
def test_categories_in_a_level_count_even_of_no_rows(rows: int, tmp_path: Path) -> None:
    """A worker finds the digest that the trainer took, and shows all categories in their order."""
    levels = [pd.Categorical(["b", "a", "b"], categories=["c", "b", "a"]), pd.Categorical([True, False, True])]
    frame = indexed(pd.MultiIndex.from_arrays(levels, names=["venue", "is_open"])).iloc[:rows]

    shown = seen(frame, tmp_path)

    assert content_digest(to_table(frame)) == content_digest(frame)
    assert shown.index.get_level_values(0).categories.tolist() == ["c", "b", "a"]
    assert content_digest(shown) == content_digest(frame)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["index", "named index", "level"])
def test_functions_see_nan_beside_missing_numbers_in_an_index_too(kind: str, dtype: str) -> None:
    """A masked float may be NaN or missing, and is what it was, in an index as in a column."""
    values = pd.arrays.FloatingArray(np.array([np.nan, -0.0, 1.5], dtype), np.array([False, False, True]))
    index = pd.Index(values, name="strike" if kind == "named index" else None)
    frame = indexed(pd.MultiIndex.from_arrays([index, list("abc")]) if kind == "level" else index)

    shown = to_frame(to_table(frame)).index

    found: Any = shown.get_level_values(0).array
    assert found.isna().tolist() == [False, False, True]
    assert np.isnan(found[0]) and np.signbit(found[1])
    assert list(shown.names) == list(frame.index.names)
