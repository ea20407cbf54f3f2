"""What a feature function returned is what every caller gets, through a worker, a file and back."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from fstore import ComputeFailed
from tests import sample_features, sample_frames

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize("kind", sample_frames.KINDS)
def test_the_frame_comes_back_as_it_was_returned(staffed, kind):
    """Values, dtypes, column labels, index, names, time zones and frequency survive; or the loss is a typed error, never silent."""
    wanted = sample_frames.KINDS[kind]()

    try:
        computed = staffed.store.get_or_compute("RT", RAW, {"kind": kind}, sample_features.sample, timeout=30)
    except ComputeFailed as error:
        assert kind in REFUSED, error
        assert error.error_type == "UnstorableResult"
        return
    hit = staffed.store.get_or_compute("RT", RAW, {"kind": kind}, sample_features.sample, timeout=30)

    assert kind not in REFUSED
    for found in (computed, hit):
        assert_same(found, wanted)


# Parquet knows neither; a typed refusal is the promise, the text says which column to convert.
REFUSED = {"lists", "categories of numbers", "instants in seconds"}


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert_frame_equal(
        found, wanted, check_exact=True, check_column_type="equiv", check_index_type="exact", check_freq=True
    )
    assert type(found.index) is type(wanted.index)
    assert found.columns.names == wanted.columns.names
    assert list(found.dtypes) == list(wanted.dtypes)


@pytest.mark.parametrize("kind", ["zoned index", "nullable", "categories", "no columns"])
def test_an_arrow_table_holds_the_same_frame(staffed, kind):
    """With ``returns="arrow"`` the table becomes the frame that was returned, on a hit and on a computation."""
    first, second = (
        staffed.store.get_or_compute(
            "RT-arrow", RAW, {"kind": kind}, sample_features.sample, returns="arrow", timeout=30
        )
        for _ in range(2)
    )

    assert isinstance(first, pa.Table)
    assert first.equals(second, check_metadata=True)
    assert_frame_equal(first.to_pandas(), sample_frames.KINDS[kind](), check_freq=False, check_column_type="equiv")


def test_a_function_on_arrow_tables_gives_and_gets_tables(staffed):
    """A feature with ``input="arrow"`` may return a table, whose rows every caller gets."""
    raw = pa.table({"a": list(range(10)), "b": pa.array(["x"] * 10).dictionary_encode()})

    table = staffed.store.get_or_compute(
        "RT", raw, {"rows": 4}, sample_features.first_rows, returns="arrow", timeout=30
    )
    frame = staffed.store.get_or_compute("RT", raw, {"rows": 4}, sample_features.first_rows, timeout=30)

    assert table.to_pylist() == raw.slice(0, 4).to_pylist()
    assert_frame_equal(frame, raw.slice(0, 4).to_pandas())


def test_a_callers_changes_stay_with_the_caller(staffed):
    """Whoever writes into the frame it got does not change what the next one gets."""
    raw = pd.DataFrame({"p": [1.0, 2.0]})
    first = staffed.store.get_or_compute("RT", raw, {}, sample_features.scaled, timeout=30)
    first.loc[:, "p"] = 0.0

    again = staffed.store.get_or_compute("RT", raw, {}, sample_features.scaled, timeout=30)

    assert list(again["p"]) == [2.0, 4.0]
    assert list(raw["p"]) == [1.0, 2.0]
