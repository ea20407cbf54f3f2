"""The quick way to a digest says what the long way says, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from pandas.api.internals import create_dataframe_from_blocks

from fstore.errors import UnhashableInput
from fstore.fingerprint import content_digest, to_table
from fstore.fingerprint.columns import columns_of
from fstore.fingerprint.footer import footer_of
from fstore.fingerprint.one_form import table_of_frame
from fstore.fingerprint.quick.plain_numbers import plain_numbers_digest, plain_numbers_table
from fstore.frames import look_at

ROWS = 40


def long_way(frame: pd.DataFrame) -> tuple[str, int]:
    """Take the digest as every other frame's is taken."""
    look = look_at(frame)
    columns = columns_of(look)
    return footer_of(look, columns).root, sum(column.data_bytes for column in columns)


def quick_way(frame: pd.DataFrame) -> tuple[str, int]:
    """Take it at once; the schema that is found with it spares a second look."""
    found = plain_numbers_digest(frame)
    assert found is not None
    digest, size, schema = found
    assert schema.equals(look_at(frame).schema, check_metadata=True)
    return digest, size


def numbers(seed: int = 0, *, dtype: Any = "float64", **how: Any) -> pd.DataFrame:
    values = np.random.default_rng(seed).standard_normal((ROWS, 3)) * 100
    return pd.DataFrame(values.astype(dtype), columns=["open", "close", "size"], **how)


def times(**how: Any) -> pd.DatetimeIndex:
    return pd.date_range("2026-01-02 09:30", periods=ROWS, freq="min", **how)


def mixed(seed: int) -> pd.DataFrame:
    frame = numbers(seed)
    frame["size"] = frame["size"].astype("int32")
    frame["more"] = np.arange(ROWS, dtype="uint8") + seed
    return frame


def in_order_of_memory(frame: pd.DataFrame, places: list[int]) -> pd.DataFrame:
    """Make a frame whose one block holds its columns at other places than they have: pandas lets libraries do so."""
    block = frame.to_numpy().T.copy()
    return create_dataframe_from_blocks([(block, np.array(places))], index=frame.index, columns=frame.columns)


PLAIN: dict[str, Callable[[int], pd.DataFrame]] = {
    "float64": numbers,
    "float32": lambda seed: numbers(seed, dtype="float32"),
    "float16": lambda seed: numbers(seed, dtype="float16"),
    "int64": lambda seed: numbers(seed, dtype="int64"),
    "one column": lambda seed: numbers(seed)[["close"]],
    "one row": lambda seed: numbers(seed).iloc[:1],
    "columns in another order": lambda seed: numbers(seed)[["size", "open", "close"]],
    "columns that lie in another order": lambda seed: in_order_of_memory(numbers(seed), [2, 0, 1]),
    "columns that lie backwards": lambda seed: in_order_of_memory(numbers(seed), [2, 1, 0]),
    "every second row": lambda seed: numbers(seed).iloc[::2],
    "every second column": lambda seed: numbers(seed).iloc[:, ::2],
    "rows of another owner": lambda seed: pd.DataFrame(
        np.random.default_rng(seed).standard_normal((ROWS, 3)), columns=["a", "b", "c"], copy=False
    ),
    "several dtypes": mixed,
    "column by column": lambda seed: pd.DataFrame({name: numbers(seed)[name].to_numpy() for name in ("close", "open")}),
    "inserted first": lambda seed: numbers(seed).assign(new=1.5)[["new", "open"]],
    "nan and -0.0": lambda seed: numbers(seed).mask(numbers(seed) < 0).replace(0.0, -0.0),
    "a named range": lambda seed: numbers(seed, index=pd.RangeIndex(3, 3 + 2 * ROWS, 2, name="row")),
    "named labels": lambda seed: numbers(seed).rename_axis(columns="field"),
    "labels that repeat what is missing": lambda seed: numbers(seed).set_axis(
        pd.Index(["nan", "None", ""], dtype="str"), axis=1
    ),
    "labels of another text": lambda seed: numbers(seed).set_axis(
        pd.Index(["a", "b", "c"], dtype="string[pyarrow]"), axis=1
    ),
    "times": lambda seed: numbers(seed, index=times(name="time")),
    "times of a zone": lambda seed: numbers(seed, index=times(tz="America/New_York", name="time")),
    "times of UTC": lambda seed: numbers(seed, index=times(tz="UTC")),
    "times in seconds": lambda seed: numbers(seed, index=times(unit="s", name="time")),
    "times backwards": lambda seed: numbers(seed, index=times(name="time")[::-1]),
    "every second time": lambda seed: numbers(seed, index=times(name="time")).iloc[::2],
}


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_the_quick_way_says_what_the_long_way_says(make: Callable[[int], pd.DataFrame]) -> None:
    for seed in range(3):  # the first of a shape is described, later ones find what was said of it
        frame = make(seed)
        assert quick_way(frame) == long_way(frame)


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_the_quick_table_is_the_one_that_stands_for_the_frame(make: Callable[[int], pd.DataFrame]) -> None:
    """Bit by bit, in one piece a column, with the same words about it: what is staged has the frame's own digest."""
    for seed in range(3):
        frame = make(seed)
        table, expected = plain_numbers_table(frame), table_of_frame(look_at(frame))
        assert table is not None
        table.validate(full=True)
        assert table.schema.equals(expected.schema, check_metadata=True)
        assert [column.num_chunks for column in table.columns] == [1] * table.num_columns
        for column, other in zip(table.columns, expected.columns, strict=True):
            assert column.chunk(0).to_numpy().tobytes() == other.chunk(0).to_numpy().tobytes()
        assert content_digest(table) == content_digest(frame)
        assert to_table(frame).equals(table, check_metadata=True) or frame.isna().any(axis=None)


def test_no_two_shapes_are_taken_for_one() -> None:
    digests = {name: content_digest(make(0)) for name, make in PLAIN.items()}
    assert len(set(digests.values())) == len(PLAIN)


@pytest.mark.parametrize("rows", [ROWS, 140_000])
def test_columns_are_what_their_labels_find_wherever_they_lie(rows: int) -> None:
    """Both ways, and in large frames: ``to_numpy`` of pandas gives them as they lie in memory."""
    frame = pd.DataFrame(np.arange(3.0 * rows).reshape(rows, 3), columns=["open", "close", "size"])
    swapped = in_order_of_memory(frame, [1, 0, 2])
    plain = pd.DataFrame({name: swapped[name].to_numpy() for name in swapped.columns})
    assert content_digest(swapped) == long_way(swapped)[0] == content_digest(plain) != content_digest(frame)


def test_labels_of_one_mark_are_told_apart_in_any_number() -> None:
    frames = [numbers().set_axis([f"{name}{number}" for name in "abc"], axis=1) for number in range(20)]
    for frame in [*frames, *frames]:
        assert quick_way(frame) == long_way(frame)


def test_what_was_said_of_labels_holds_none_of_the_callers_memory() -> None:
    frame = numbers()
    before = content_digest(frame)
    frame.columns = ["x", "y", "z"]
    assert content_digest(frame) == long_way(frame)[0] != before


LONG: dict[str, Callable[[], pd.DataFrame]] = {
    "no rows": lambda: numbers().iloc[:0],
    "no columns": lambda: numbers()[[]],
    "truth": lambda: numbers() > 0,
    "texts": lambda: numbers().astype(str),
    "numbers that may be missing": lambda: numbers(dtype="int64").astype("Int64"),
    "times as values": lambda: numbers(dtype="int64").astype("datetime64[ns]"),
    "one column of times": lambda: numbers().assign(time=times()),
    "labels that are objects": lambda: numbers().set_axis(pd.Index(["a", "b", "c"], dtype=object), axis=1),
    "labels that are numbers": lambda: numbers().set_axis([1, 2, 3], axis=1),
    "labels in levels": lambda: numbers().set_axis(pd.MultiIndex.from_product([["x"], ["a", "b", "c"]]), axis=1),
    "attrs": lambda: with_attrs(numbers()),
    "a missing time": lambda: numbers(index=times(name="time").where(np.arange(ROWS) != 7)),
    "an index of numbers": lambda: numbers(index=pd.Index(np.arange(ROWS))),
    "an index in levels": lambda: numbers(index=pd.MultiIndex.from_product([["x"], range(ROWS)])),
    "periods": lambda: numbers(index=times().to_period("min")),
    "a kind of frame of its own": lambda: OwnFrame(numbers()),
    "more than a block": lambda: pd.DataFrame({"a": np.zeros(131_073)}),
    "a zone of another library": lambda: numbers(index=times(tz=ZoneInfo.no_cache("Europe/Berlin"))),
}


class OwnFrame(pd.DataFrame):
    """A subclass, which may answer otherwise."""


def with_attrs(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs["venue"] = "X"
    return frame


@pytest.mark.parametrize("make", LONG.values(), ids=LONG)
def test_whatever_else_goes_the_long_way(make: Callable[[], pd.DataFrame]) -> None:
    assert plain_numbers_digest(make()) is None
    assert plain_numbers_table(make()) is None
    assert content_digest(make()) == long_way(make())[0]


def test_labels_that_appear_twice_are_refused_each_time() -> None:
    frame = numbers().set_axis(["a", "b", "a"], axis=1)
    for _ in range(2):
        with pytest.raises(UnhashableInput, match="two columns"):
            content_digest(frame)


def test_a_pandas_without_these_hints_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd.DataFrame, "_iter_column_arrays", None)
    frame = mixed(0)
    assert plain_numbers_digest(frame) is None
    assert content_digest(frame) == long_way(frame)[0]
