"""The quick way from a table of numbers to a frame, against Arrow's own way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.frames.number_frames import number_frame
from fstore.results.codec import (
    UnstorableResult,
    check_faithful,
    decode_result,
    encode_result,
    hand_out_frame,
    map_result,
)
from tests.sample_frames import KINDS

KIND_NAMES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
LABELS: tuple[Callable[[int], Any], ...] = (
    lambda n: [f"f{i}" for i in range(n)],
    pd.RangeIndex,
    lambda n: pd.Index(range(5, 5 + n), name="numbers"),
    lambda n: pd.Index([f"f{i}" for i in range(n)], dtype=object, name="names"),
    lambda n: pd.MultiIndex.from_product([["a"], range(n)], names=["x", None]),
)
INDEXES: tuple[Callable[[int], pd.Index], ...] = (
    pd.RangeIndex,
    lambda n: pd.RangeIndex(10, 10 - 2 * n, -2, name="r"),
    lambda n: pd.date_range("2024-03-09 12:00", periods=n, freq="h", tz="America/New_York", name="when"),
    lambda n: pd.date_range("2024-03-09", periods=n, freq="D", tz="Europe/Paris"),
    lambda n: pd.date_range("2024-03-09", periods=n, freq="90s").as_unit("ns"),
    lambda n: pd.DatetimeIndex([pd.NaT, *pd.date_range("1969-12-31", periods=n - 1, freq="7us")][:n]),
    lambda n: pd.Index(np.arange(n) % 3, name="n"),
)


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Compare everything a frame shows, the bits of its values and the types of its labels included."""
    pd.testing.assert_frame_equal(found, wanted, check_exact=True, check_index_type="exact", check_column_type="exact")
    assert type(found.index) is type(wanted.index)
    assert type(found.columns) is type(wanted.columns)
    assert found.columns.dtype == wanted.columns.dtype
    assert found.columns.names == wanted.columns.names
    assert [dtype.str for dtype in found.dtypes] == [dtype.str for dtype in wanted.dtypes]
    assert found.to_numpy().tobytes() == wanted.to_numpy().tobytes()
    assert getattr(found.index, "freq", None) == getattr(wanted.index, "freq", None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_built_quickly_is_what_arrow_builds(kind: str) -> None:
    """Whatever the quick way takes on, of all kinds of frames, comes out the same."""
    frame = KINDS[kind]()
    try:
        table = pa.Table.from_pandas(frame)
    except (pa.ArrowException, TypeError, ValueError):
        pytest.skip("Arrow cannot hold it")

    found = number_frame(table)

    if found is not None:
        assert_same(found, table.to_pandas())


def test_random_frames_of_numbers_come_out_as_arrow_builds_them() -> None:
    """Every dtype, under labels and over indexes of many kinds, whole and in chunks; and most of them quickly."""
    rng = np.random.default_rng(5)
    quick = 0
    for number in range(600):
        rows, columns = int(rng.integers(0, 40)), int(rng.integers(1, 9))
        bits = rng.integers(0, 256, (columns, rows, 8), dtype=np.uint8)
        dtype = np.dtype(KIND_NAMES[number % len(KIND_NAMES)])
        values = bits.reshape(columns, -1)[:, : rows * dtype.itemsize].copy().view(dtype).T
        frame = pd.DataFrame(values, columns=LABELS[number % len(LABELS)](columns))
        frame.index = INDEXES[int(rng.integers(len(INDEXES)))](rows)
        if number % 3 == 0:
            frame.isetitem(0, np.zeros(rows, "float32"))
        table = pa.Table.from_pandas(frame, nthreads=1)
        if number % 2 and rows:
            cut = int(rng.integers(rows))
            table = pa.concat_tables([table.slice(0, cut), table.slice(cut)])

        found = number_frame(table)

        if found is not None:
            quick += 1
            assert_same(found, table.to_pandas())
    assert quick > 300


def test_a_frame_has_values_and_labels_of_its_own() -> None:
    """Writing into a frame, or naming its axes, reaches neither the table nor the next frame."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.date_range("2024-01-01", periods=2, tz="UTC", name="t"))
    table = encode_result(frame)

    mine = decode_result(table)
    mine.iloc[:] = -1.0
    mine.iloc[0, 0] = 7.0
    mine.columns.name = "changed"
    mine.index.name = "changed"
    over = mine.reset_index()
    over.loc[0, "changed"] = pd.Timestamp("1999-01-01", tz="UTC")

    pd.testing.assert_frame_equal(decode_result(table), frame)


def vandalise(frame: pd.DataFrame) -> None:
    """Do everything to a frame's parts that pandas lets through, in place."""
    frame.index.name = frame.columns.name = "changed"
    parts = [frame.index, frame.columns, *(frame.iloc[:, i].array for i in range(frame.shape[1]))]
    for part in parts:
        for values in (np.asarray(part), getattr(part, "asi8", None)):
            if isinstance(values, np.ndarray) and values.flags.writeable and values.size:
                values[0] = values[-1]
    if frame.size:
        frame.iloc[0, 0] = frame.iloc[-1, 0]


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("rows", [7, 90_000])
def test_no_two_frames_share_what_can_be_changed(
    index: Callable[[int], pd.Index], labels: Callable[[int], Any], rows: int
) -> None:
    """Whatever is done to a frame, its index, labels and arrays, the next one of the same table is as it was."""
    frame = pd.DataFrame(np.arange(rows * 3.0).reshape(rows, 3), columns=labels(3), index=index(rows))
    table = encode_result(frame)
    base = map_result(table)

    for take in (lambda: decode_result(table), lambda: None if base is None else hand_out_frame(base)):
        first = take()
        if first is not None:
            vandalise(first)
            pd.testing.assert_frame_equal(take(), frame, check_freq=False)


def test_large_frames_of_numbers_lie_over_the_table() -> None:
    """Values and times are the table's own memory, read-only."""
    times = pd.date_range("2024-03-09", periods=1000, freq="s", tz="America/New_York", name="t")
    frame = pd.DataFrame({"price": np.arange(1000.0), "size": np.arange(1000)}, index=times)
    table = encode_result(frame)

    base = map_result(table)

    assert base is not None
    pd.testing.assert_frame_equal(base, frame)
    addresses = [table.column(i).chunk(0).buffers()[1].address for i in range(3)]
    arrays = [np.asarray(base["price"].array), np.asarray(base["size"].array), base.index.asi8]  # type: ignore[attr-defined]
    assert [array.__array_interface__["data"] for array in arrays] == [(address, True) for address in addresses]


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoded_frame_can_be_written_to(kind: str) -> None:
    """No column meets read-only memory."""
    frame = KINDS[kind]()
    try:
        mine = decode_result(encode_result(frame))
    except (TypeError, ValueError):
        pytest.skip("it is no result")
    if len(mine) > 1 and mine.index.is_unique and kind != "lists":
        for at in range(mine.shape[1]):
            mine.iloc[0, at] = mine.iloc[1, at]


@pytest.mark.parametrize(
    "metadata",
    [
        b"{}",
        b"not json",
        b'{"index_columns": [{"kind": "other"}]}',
        b'{"index_columns": [{"kind": "range", "start": 0, "stop": 2, "step": 1, "name": null}], '
        b'"columns": [{"name": "(", "field_name": "a", "pandas_type": "float64", "numpy_type": "float64", "metadata": null}], '
        b'"column_indexes": [{"name": null, "field_name": null, "pandas_type": "mixed", "numpy_type": "object", "metadata": null}, '
        b'{"name": null, "field_name": null, "pandas_type": "mixed", "numpy_type": "object", "metadata": null}]}',
        b'{"index_columns": ["gone"], "columns": [], "column_indexes": []}',
        b'{"index_columns": [{"kind": "range", "start": 0, "stop": 9, "step": 1, "name": null}], "columns": [], "column_indexes": []}',
    ],
)
def test_metadata_that_do_not_fit_are_left_to_arrow(metadata: bytes) -> None:
    """The quick way never guesses what metadata mean that it does not know."""
    table = pa.table({"a": [1.0, 2.0]}).replace_schema_metadata({b"pandas": metadata})

    assert number_frame(table) is None


def test_a_result_whose_labels_would_change_is_refused() -> None:
    """Labels count with their dtype: a function that asks for it would see another one."""
    frame = pd.DataFrame([[1.0, 2.0]], columns=pd.Index(["a", "b"], dtype=object))
    other = frame.set_axis(pd.Index(["a", "b"], dtype="str"), axis=1)

    check_faithful(frame, encode_result(frame))
    with pytest.raises(UnstorableResult, match="labels"):
        check_faithful(frame, encode_result(other))


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "+05:30", None])
@pytest.mark.parametrize("freq", ["s", "90min", "h", "D", "B", "MS", "-1h"])
def test_a_frequency_comes_back(freq: str, zone: str | None) -> None:
    """An index keeps its frequency, over a change of the clock too."""
    frame = pd.DataFrame({"a": np.arange(60.0)})
    frame.index = pd.date_range("2024-03-09 12:00", periods=60, freq=freq, tz=zone)

    found = decode_result(encode_result(frame))

    pd.testing.assert_frame_equal(found, frame)
    assert found.index.freq == frame.index.freq  # type: ignore[attr-defined]
    assert found.index.dtype == frame.index.dtype
