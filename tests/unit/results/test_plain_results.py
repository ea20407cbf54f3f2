"""The quick way for frames of numbers gives what the long way gives, and lets nothing pass that the long way refuses."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from datetime import UTC

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.results import plain_results
from fstore.results.codec import check_faithful, encode_result
from fstore.results.plain_results import is_surely_same, plain_table
from fstore.results.stored_frames import frame_to_table
from fstore.results.stored_tables import UnstorableResult

ROWS = 40
TIMES = pd.date_range("2026-01-05 09:30", periods=ROWS, freq="min", name="time")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def numbers(number: int, **how: object) -> pd.DataFrame:
    """Make a frame of floats, a NaN, an infinity and a negative zero among them."""
    values = np.random.default_rng(number).standard_normal((ROWS, 4))
    values[0, 0], values[1, 1], values[2, 2] = np.nan, -np.inf, -0.0
    return pd.DataFrame(values, **{"columns": list("abcd"), **how})


def mixed(number: int) -> pd.DataFrame:
    """Make columns of several dtypes."""
    frame = numbers(number)
    return frame.assign(
        n=np.arange(ROWS) + number, small=np.arange(ROWS, dtype=np.int8), f=frame["a"].astype("float32")
    )


def unfrequent(frame: pd.DataFrame) -> pd.DataFrame:
    """Forget the frequency of the index."""
    frame.index.freq = None
    return frame


def with_attrs(frame: pd.DataFrame) -> pd.DataFrame:
    """Note something beside a frame."""
    found = frame.copy()
    found.attrs["vendor"] = "x"
    return found


KINDS: dict[str, Callable[[int], pd.DataFrame]] = {
    "a range": numbers,
    "another range": lambda number: numbers(number, index=pd.RangeIndex(5, 5 + 2 * ROWS, 2, name="row")),
    "times": lambda number: unfrequent(numbers(number, index=TIMES.copy())),
    "times of a zone": lambda number: unfrequent(numbers(number, index=TIMES.tz_localize(BERLIN))),
    "times of UTC in seconds": lambda number: unfrequent(numbers(number, index=TIMES.tz_localize(UTC).as_unit("s"))),
    "labels without texts": lambda number: numbers(number, columns=pd.RangeIndex(4, name="lag")),
    "named labels": lambda number: numbers(number, columns=pd.Index(list("abcd"), name="field", dtype="str")),
    "several dtypes": mixed,
    "integers": lambda number: pd.DataFrame({"x": np.arange(ROWS) + number, "y": np.arange(ROWS)}),
}


@pytest.fixture(autouse=True)
def _no_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_results, "_shapes", {})


def read_back(table: pa.Table) -> pa.Table:
    """Take a table out of bytes again."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_file(sink.getvalue()).read_all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_frame_of_a_shape_becomes_the_table_that_the_long_way_makes(kind: str) -> None:
    """Schema, metadata, and values to the bit."""
    assert plain_table(KINDS[kind](1)) is None
    encode_result(KINDS[kind](1))
    frame = KINDS[kind](2)

    quick, long = plain_table(frame), frame_to_table(frame)

    assert quick is not None
    assert quick.schema.equals(long.schema, check_metadata=True)
    assert [column.chunk(0).buffers()[1] for column in read_back(quick).columns] == [
        column.chunk(0).buffers()[1] for column in read_back(long).columns
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_back_is_compared_to_the_bit(kind: str) -> None:
    """Quickly from the second of a shape on: one bit of any value of any column, or of the index, is seen."""
    first = KINDS[kind](1)
    check_faithful(first, read_back(encode_result(first)))
    frame = KINDS[kind](2)
    table = read_back(encode_result(frame))

    assert is_surely_same(frame, table)
    for at, column in enumerate(table.columns):
        for row in (0, ROWS - 1):
            data = bytearray(column.chunk(0).buffers()[1].to_pybytes())
            data[(len(data) // ROWS) * row] ^= 1
            spoilt = pa.Array.from_buffers(column.type, ROWS, [None, pa.py_buffer(bytes(data))])
            other = table.set_column(at, table.schema.field(at), spoilt)
            assert other.schema.equals(table.schema, check_metadata=True)
            assert not is_surely_same(frame, other)
            with pytest.raises(UnstorableResult):
                check_faithful(frame, other)


def test_a_missing_value_is_no_value() -> None:
    """Though its bytes may be the same."""
    first, frame = numbers(1), numbers(2)
    check_faithful(first, read_back(encode_result(first)))
    table = encode_result(frame)
    values = table.column(0).chunk(0)
    holes = pa.Array.from_buffers(values.type, ROWS, [pa.py_buffer(b"\xff" * 4 + b"\x7f"), values.buffers()[1]])
    assert holes.null_count == 1
    assert not is_surely_same(frame, table.set_column(0, table.schema.field(0), holes))


@pytest.mark.parametrize(
    "other",
    {
        "name of the index": lambda frame: frame.rename_axis("row"),
        "labels": lambda frame: frame.rename(columns={"a": "z"}),
        "name of the labels": lambda frame: frame.rename_axis(columns="field"),
        "attrs": with_attrs,
        "flags": lambda frame: frame.set_flags(allows_duplicate_labels=False),
        "index": lambda frame: frame.set_axis(range(1, ROWS + 1)),
        "integers as index": lambda frame: frame.set_axis(list(range(ROWS))),
        "dtype": lambda frame: frame.astype("float32"),
        "order": lambda frame: frame[list("bacd")],
    }.items(),
    ids=lambda item: item[0],
)
def test_what_differs_in_more_than_values_is_no_frame_of_the_shape(
    other: tuple[str, Callable[[pd.DataFrame], pd.DataFrame]],
) -> None:
    """The table of the one never passes for the other."""
    first = numbers(1)
    table = read_back(encode_result(first))
    check_faithful(first, table)
    assert is_surely_same(first, table)

    assert not is_surely_same(other[1](first), table)
    with pytest.raises(UnstorableResult):
        check_faithful(other[1](first), table)


def test_two_zones_of_one_name_are_two_shapes() -> None:
    """A zone that only calls itself UTC is for the long way to judge, whatever was found of Python's own."""
    first = unfrequent(numbers(1, index=TIMES.tz_localize(UTC)))
    table = read_back(encode_result(first))
    check_faithful(first, table)
    frame = first.set_axis(first.index.tz_convert(zoneinfo.ZoneInfo("UTC")))
    assert is_surely_same(first, table)
    assert not is_surely_same(frame, table)


def test_a_shape_is_believed_only_once_a_frame_of_it_came_back() -> None:
    """Encoding alone says nothing of reading."""
    frame = numbers(1)
    table = read_back(encode_result(frame))
    assert not is_surely_same(frame, table)
    with pytest.raises(UnstorableResult):
        check_faithful(frame, read_back(encode_result(numbers(2))))
    assert not is_surely_same(frame, table)


def test_values_under_another_schema_are_another_frame() -> None:
    """Names, order and metadata say what the values mean."""
    frame = numbers(1)
    table = read_back(encode_result(frame))
    check_faithful(frame, table)
    for other in (
        table.replace_schema_metadata(None),
        table.rename_columns(list("abcz")),
        table.replace_schema_metadata({**table.schema.metadata, b"fstore.frame": b'{"unique_labels": true}'}),
    ):
        assert is_surely_same(frame, table)
        assert not is_surely_same(frame, other)
    with pytest.raises(UnstorableResult):
        check_faithful(frame, other)
