"""What a feature of this process computes from: a copy of its own, compared with what was fingerprinted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.compute.private_copies import private_copy
from fstore.compute.raw_data import Taker, hold_raw, own_raw
from fstore.errors import SourceChanged, UnhashableInput
from fstore.fingerprint.identification import identify, to_table
from fstore.fingerprint.sources import FrameInput
from fstore.model import Fingerprint

ROWS = 300
NUMBERS = np.arange(ROWS, dtype="float64")


def taken_of(raw: object) -> Fingerprint:
    """Take the fingerprint of raw data."""
    return identify(raw, threshold_bytes=1 << 30).fingerprint


def shown(value: Any) -> str:
    """Write down all numbers that a feature is given."""
    if isinstance(value, pd.DataFrame):
        return repr(value.reset_index().to_dict("list"))
    return repr((value if isinstance(value, pa.Table) else value.to_table()).to_pydict())


class Stream:
    """An object that answers each reading with what its rows are by then."""

    def __init__(self, *answers: pa.Table) -> None:
        self.answers = list(answers)

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        table = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return table.__arrow_c_stream__(requested_schema)


def over_columns(numbers: np.ndarray) -> Any:
    return pd.DataFrame({"x": numbers}, copy=False)


def over_block(numbers: np.ndarray) -> Any:
    return pd.DataFrame(numbers.reshape(-1, 2), columns=["x", "y"], copy=False)


def over_index(numbers: np.ndarray) -> Any:
    return pd.DataFrame({"y": range(len(numbers))}, index=pd.Index(numbers, name="x", copy=False))


def over_times(numbers: np.ndarray) -> Any:
    return pd.DataFrame({"t": numbers.view("M8[ns]")}, copy=False)


def over_masked(numbers: np.ndarray) -> Any:
    array = pd.arrays.FloatingArray(numbers, np.zeros(len(numbers), dtype=bool), copy=False)
    return pd.DataFrame({"x": pd.Series(array, copy=False)}, copy=False)


def over_arrow(numbers: np.ndarray) -> Any:
    return pa.table({"x": pa.array(numbers)})


def over_batch(numbers: np.ndarray) -> Any:
    return pa.RecordBatch.from_arrays([pa.array(numbers)], names=["x"])


def over_buffers(numbers: np.ndarray) -> Any:
    return pa.table({"x": pa.Array.from_buffers(pa.float64(), len(numbers), [None, pa.py_buffer(numbers)])})


def over_lists(numbers: np.ndarray) -> Any:
    offsets = pa.array(range(0, len(numbers) + 1, 10), pa.int32())
    return pa.table({"x": pa.ListArray.from_arrays(offsets, pa.array(numbers))})


def over_structs(numbers: np.ndarray) -> Any:
    return pa.table({"x": pa.StructArray.from_arrays([pa.array(numbers)], names=["p"])})


def over_slices(numbers: np.ndarray) -> Any:
    return pa.table({"x": pa.array(numbers)}).slice(10, 200)


def over_stream(numbers: np.ndarray) -> Any:
    return Stream(pa.table({"x": pa.array(numbers)}))


SHARING: list[Callable[[np.ndarray], Any]] = [
    over_columns, over_block, over_index, over_times, over_masked, over_arrow, over_batch, over_buffers, over_lists,
    over_structs, over_slices, over_stream,
]  # fmt: skip
WANTED = ["pandas", "arrow", "dataset"]


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("make", SHARING)
def test_numbers_written_under_raw_data_are_refused(make: Callable[[np.ndarray], Any], wanted: str) -> None:
    """Whoever writes past pandas to memory that raw data lie in gets no result of the new numbers under the old key."""
    numbers = NUMBERS.copy()
    held = hold_raw(make(numbers))
    taken = taken_of(held)

    numbers[20] = 1e9

    with pytest.raises(SourceChanged):
        Taker().take(held, taken, wanted=wanted)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("make", SHARING)
def test_what_was_taken_is_out_of_reach(make: Callable[[np.ndarray], Any], wanted: str) -> None:
    """Writing to the memory of raw data after they were copied changes nothing that a feature sees."""
    numbers = NUMBERS.copy()
    held = hold_raw(make(numbers))
    taken = taken_of(held)
    value = Taker().take(held, taken, wanted=wanted).value
    before = shown(value)

    numbers[:] = -1.0

    assert shown(value) == before


@pytest.mark.parametrize("make", SHARING)
def test_an_owned_copy_is_out_of_reach(make: Callable[[np.ndarray], Any]) -> None:
    """What a submitted local feature or an iterator's request keeps stays what it was."""
    numbers = NUMBERS.copy()
    held = hold_raw(make(numbers))
    taken = taken_of(held)
    mine = own_raw(held)

    numbers[:] = -1.0

    assert taken_of(mine) == taken


def add_column(frame: pd.DataFrame) -> None:
    frame["new"] = 1


def drop_column(frame: pd.DataFrame) -> None:
    del frame["y"]


def set_item(frame: pd.DataFrame) -> None:
    frame.iloc[3, 0] = -5.0


def add_in_place(frame: pd.DataFrame) -> None:
    frame["x"] += 1000


def grow(frame: pd.DataFrame) -> None:
    frame.loc[ROWS] = [1.0, 2.0]


def rename_index(frame: pd.DataFrame) -> None:
    frame.index.name = "changed"


def rename_columns(frame: pd.DataFrame) -> None:
    frame.columns = pd.Index(["p", "q"])


def insert(frame: pd.DataFrame) -> None:
    frame.insert(0, "new", NUMBERS)


def note(frame: pd.DataFrame) -> None:
    frame.attrs["unit"].append("changed")


@pytest.mark.parametrize(
    "change", [add_column, drop_column, set_item, add_in_place, grow, rename_index, rename_columns, insert, note]
)
def test_held_frames_stay_what_they_were(change: Callable[[pd.DataFrame], None]) -> None:
    """What a trainer does with its frame after it asked concerns the frame, not the question."""
    frame = pd.DataFrame({"x": NUMBERS, "y": NUMBERS * 2})
    frame.attrs["unit"] = ["USD"]
    held = hold_raw(frame)
    taken = taken_of(held)
    before = frame.copy(deep=True)

    change(frame)

    pd.testing.assert_frame_equal(Taker().take(held, taken, wanted="pandas").value, before)


def test_holding_a_frame_copies_nothing() -> None:
    """A hit pays for no copy of its raw data."""
    frame = pd.DataFrame({"x": NUMBERS})

    held = hold_raw(frame)

    assert isinstance(held, FrameInput)
    assert np.shares_memory(held.frame["x"].to_numpy(), frame["x"].to_numpy())


def test_a_stream_is_read_once() -> None:
    """What is computed from is what the first reading gave, for a query that is run again may answer otherwise."""
    first, second = pa.table({"x": [1.0]}), pa.table({"x": [1.0, 2.0]})

    held = hold_raw(Stream(first, second))

    assert Taker().take(held, taken_of(held), wanted="arrow").value.equals(first)


def test_a_stream_that_ends_in_an_error_is_refused() -> None:
    """An error of whoever gives the data is told as one of raw data."""

    class Broken:
        def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
            def batches() -> Any:
                yield pa.record_batch({"x": [1.0]})
                raise pa.ArrowInvalid("the connection was lost")

            return pa.RecordBatchReader.from_batches(pa.schema({"x": pa.float64()}), batches()).__arrow_c_stream__()

    with pytest.raises((UnhashableInput, OSError)):
        hold_raw(Broken())


def test_a_feature_that_changes_its_input_leaves_it_to_the_others_as_it_was() -> None:
    """Several features of one call share the copy that is made for them, and none sees what another did to its own."""
    frame = pd.DataFrame({"x": NUMBERS, "side": ["b", "s", None] * 100})
    held, taker = hold_raw(frame), Taker()
    taken = taken_of(held)

    first = taker.take(held, taken, wanted="pandas").value
    for name in first:
        first[name] = 0
    first.index = first.index[::-1]

    pd.testing.assert_frame_equal(taker.take(held, taken, wanted="pandas").value, frame)
    pd.testing.assert_frame_equal(frame["x"].to_frame(), pd.DataFrame({"x": NUMBERS}))


LAID_OUT = [
        pa.table({"x": pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["c"]).dictionary_encode()])}),
        pa.table({"x": pa.array([], pa.dictionary(pa.int8(), pa.string()))}),
        pa.table({"x": pa.array([None, "a"], pa.string_view())}),
        pa.table({"x": pa.array([[1, None], None], pa.list_(pa.int16()))}),
        pa.table({"x": pa.array([b"12", None], pa.binary(2)), "y": pa.array([True, None])}),
        pa.table({"x": pa.nulls(4)}),
        pa.table({"x": pa.array(range(9))}, metadata={b"k": b"v"}).slice(3, 2),
        pa.table({"x": pa.chunked_array([pa.array([1.5]), pa.array([], pa.float64()), pa.array([2.5])])}),
]  # fmt: skip


@pytest.mark.parametrize("table", LAID_OUT)
def test_a_copy_of_a_table_in_the_one_form_is_in_it_too(table: pa.Table) -> None:
    """So the form is taken once: what was copied is given to functions as it is."""
    formed = private_copy(to_table(table))

    again = to_table(formed)

    assert again.schema.equals(formed.schema, check_metadata=True)
    assert list(map(str, again.schema.types)) == list(map(str, formed.schema.types))
    for mine, others in zip(formed.columns, again.columns, strict=True):
        assert list(map(len, mine.chunks)) == list(map(len, others.chunks))
        assert mine.equals(others)


TABLES_AS_GIVEN = [
    pa.table({"x": pa.array(["a", None]), "y": pa.array([1, 2], pa.int8())}),
    to_table(pd.DataFrame({"x": pd.period_range("2024", periods=3, freq="D"), "y": pd.Categorical(["a", "b", "a"])})),
    to_table(pd.DataFrame(index=pd.RangeIndex(4))),
    to_table(
        pd.DataFrame({"x": [pd.Timestamp("2024", tz="UTC")] * 2}, index=pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]))
    ),
]


@pytest.mark.parametrize("table", TABLES_AS_GIVEN)
def test_a_copy_of_other_tables_is_in_the_one_form_too(table: pa.Table) -> None:
    """Extension types, categories, rows alone and levels."""
    test_a_copy_of_a_table_in_the_one_form_is_in_it_too(table)


@pytest.mark.parametrize("table", LAID_OUT)
def test_a_copy_equals_its_table(table: pa.Table) -> None:
    """Whatever a table holds and however it is laid out, its copy is equal, with its metadata."""
    copy = private_copy(table)

    assert copy.equals(table, check_metadata=True)
    assert taken_of(copy) == taken_of(table)
