"""What has no digest is refused in words of its owner's frame: the column or index, and what to do about it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.errors import UnhashableInput
from fstore.fingerprint.identification import content_digest, to_table
from fstore.frames.convert import to_frame
from fstore.results.codec import check_faithful, decode_result, encode_result
from fstore.results.stored_tables import UnstorableResult
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging

# How Arrow and pandas speak; a user has never called what these words are about.
FOREIGN = (
    "Could not convert",
    "tried to convert",
    "Unsupported",
    "not supported",
    "codec can't",
    "with type",
    "kernel",
)


def _column(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": values})


def _categories(*values: Any) -> pd.DataFrame:
    return _column(pd.Categorical.from_codes(list(range(len(values))), pd.Index(values, dtype=object)))


def _attrs(attrs: dict[Any, Any]) -> pd.DataFrame:
    frame = _column([1.0])
    frame.attrs = attrs
    return frame


FRAMES: Mapping[str, tuple[Callable[[], pd.DataFrame], str, str]] = {
    "sparse": (lambda: _column(pd.arrays.SparseArray([0.0, 1.0])), "'x'", "to_dense"),
    "complex": (lambda: _column([1j]), "'x'", r"\.real"),
    "big endian": (lambda: _column(np.array([1.0], ">f8")), "'x'", r"astype\('float64'\)"),
    "wider floats": (lambda: _column(np.array([1.0], np.longdouble)), "'x'", "float64"),
    "lone surrogates": (lambda: _column(pd.Series(["\ud800"], dtype=object)), "'x'", "clean it"),
    "lone surrogates of a dtype": (lambda: _column(pd.array(["\ud800"], dtype="string[python]")), "'x'", "clean it"),
    "surrogates in a name": (lambda: pd.DataFrame({"x": [1]}, index=pd.Index(["a"], name="\ud800")), "index name", "clean"),
    "truth with None": (lambda: _column(pd.Series([True, None], dtype=object)), "'x'", r"astype\('boolean'\)"),
    "dates as index": (lambda: pd.DataFrame({"x": [1]}, index=pd.Index([dt.date(2024, 1, 1)])), "index", "to_datetime"),
    "categories of two kinds": (lambda: _categories(1, "a"), "'x'", "strings"),
    "categories of a date and a time of that day": (
        lambda: _categories(dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 5, tzinfo=dt.UTC)),
        "'x'",
        "strings",
    ),
    "categories of two scales": (lambda: _categories(Decimal("1.0"), Decimal("2.50")), "'x'", "strings"),
    "categories of zoned times": (lambda: _categories(dt.time(9, tzinfo=dt.UTC), dt.time(10)), "'x'", "strings"),
    "views of lists": (lambda: _column(pd.array([[1]], dtype=pd.ArrowDtype(pa.list_view(pa.int64())))), "'x'", "convert"),
    "a tuple as name": (lambda: pd.DataFrame({"x": [1]}, index=pd.Index([1], name=("a", 1))), r"\('a', 1\)", "rename_axis"),
    "attrs with a frame": (lambda: _attrs({"f": _column([1.0])}), "attrs", r"frame\.attrs = \{\}"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_is_refused_in_its_owners_words(kind: str) -> None:
    """Each refusal names the part and the remedy, and quotes no library."""
    make, where, remedy = FRAMES[kind]

    with pytest.raises(UnhashableInput, match=remedy) as refused:
        content_digest(make())

    assert pd.Series([str(refused.value)]).str.contains(where).all()
    assert not [word for word in FOREIGN if word in str(refused.value)]
    assert len(str(refused.value)) < 300


def test_a_zone_that_nobody_knows_is_refused_at_its_column() -> None:
    """The metadata of a table are not blamed for it."""
    table = pa.table({"at": pa.array([1], pa.timestamp("ms", "Mars/Olympus"))})

    with pytest.raises(UnhashableInput, match="at: no time zone is called 'Mars/Olympus'"):
        content_digest(table)


@pytest.mark.parametrize(
    "kind",
    [
        pa.map_(pa.string(), pa.list_view(pa.int64())),
        pa.list_(pa.list_view(pa.int64()), 1),
        pa.list_(pa.struct([("m", pa.map_(pa.string(), pa.large_list_view(pa.int64())))])),
    ],
    ids=str,
)
def test_list_views_that_nobody_converts_are_refused_before_the_digest(kind: pa.DataType) -> None:
    """Not at staging, after all bytes were hashed; a field that is only called so is none."""
    with pytest.raises(UnhashableInput, match=r"x: .*list views within"):
        content_digest(pa.table({"x": pa.nulls(1, kind)}))

    content_digest(pa.table({"x": pa.nulls(1, pa.map_(pa.string(), pa.struct([("list_view", pa.int64())])))}))


@pytest.mark.parametrize(
    "values",
    [pa.array([1], pa.time64("ns")), pa.array([1.0, float("nan")]).dictionary_encode()],
    ids=["nanoseconds of a day", "NaN as a category"],
)
def test_values_that_pandas_has_not_are_refused_when_a_frame_is_made(values: pa.Array) -> None:
    """A feature that takes Arrow may have them; of a frame the refusal is typed and names the column."""
    table = pa.table({"x": values})
    assert content_digest(table) == content_digest(to_table(table))

    with pytest.raises(UnhashableInput, match=r"'x'.*cast it"):
        to_frame(to_table(table))
    with pytest.raises(UnstorableResult, match=r"'x'.*cast it"):
        check_faithful(table, table)


def test_a_lack_of_memory_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's error for it is one of its exceptions too; blaming the data would be remembered as their fault."""

    def full(raw: object) -> object:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr("fstore.fingerprint.sources.table_in_form", full)

    with pytest.raises(MemoryError):
        to_table(pa.table({"x": [1]}))


def test_values_that_parquet_has_not_are_refused_at_their_column(tmp_path: Path) -> None:
    """The column, its type and the remedy; nothing is left on disk."""
    files = FolderEntries(tmp_path)
    files.create("refusals")
    table = pa.table({"a": [1], "far": pa.array([2**60], pa.timestamp("s"))})

    with pytest.raises(UnstorableResult, match=r"column 'far': .*timestamp\[s\]; cast it"):
        files.publish("ab" * 32, table)


@pytest.mark.parametrize("labels", [[0], pd.date_range("2024-01-01", periods=1)], ids=["numbers", "times"])
def test_a_column_is_named_as_its_owner_wrote_it(labels: Any) -> None:
    """Labels are shown as Python's own values, not as numpy's."""
    frame = pd.DataFrame({"a": pd.Series([len], dtype=object)}).set_axis(pd.Index(labels), axis=1)

    with pytest.raises(UnstorableResult, match=r"column (0|Timestamp\('2024-01-01 00:00:00'\)) of objects .*builtin"):
        encode_result(frame)


@pytest.mark.parametrize("names", [[1, 0], [None, 0], [1, None], ["a", 0]], ids=str)
def test_levels_called_by_numbers_are_taken_by_position(names: list[Any], tmp_path: Path) -> None:
    """pandas takes a number for a name where there is one: no level is mistaken for another, and raw data are refused."""
    index = pd.MultiIndex.from_arrays([[1, 2], [3, 4]], names=names)
    labels = pd.MultiIndex.from_arrays([["a", "b"], ["c", "d"]], names=names)
    entries, staging = FolderEntries(tmp_path), FolderStaging(tmp_path)
    entries.create("levels")

    with pytest.raises(UnhashableInput, match="rename_axis"):
        content_digest(pd.DataFrame({"x": [1.0, 2.0]}, index=index))
    for frame in (pd.DataFrame({"x": [1.0, 2.0]}, index=index), pd.DataFrame([[1.0, 2.0]], columns=labels)):
        again = decode_result(staging.read_result(staging.write_result("ab" * 32, encode_result(frame))).table)
        pd.testing.assert_frame_equal(again, frame)
        assert [*again.index.names, *again.columns.names] == [*frame.index.names, *frame.columns.names]
        assert again.columns.tolist() == frame.columns.tolist()
        assert again.index.tolist() == frame.index.tolist()
