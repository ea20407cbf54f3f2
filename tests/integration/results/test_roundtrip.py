"""What a feature function returned is what every caller gets, through a worker, a file and back."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import fstore
from fstore import ComputeFailed
from tests import awkward_frames, portraits, sample_features, sample_frames
from tests.awkward_tables import REFUSED

FRAMES = {**awkward_frames.FRAMES, **sample_frames.KINDS}
RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})


# One or two of each kind; all of them are tried without workers in tests/unit/results/test_results.py.
AWKWARD = (
    "get_dummies", "cut", "qcut", "pivot over categories", "no columns", "no rows, seconds", "index in s", "periods as labels",
    "categories, floats", "categories without rows, ints", "category index, intervals of times", "True and NaN", "large ints",
    "business hours of an exchange", "business days with a holiday", "durations with a frequency", "index name 0", "year 10000",
    "attrs of a tuple", "attrs with an int as key", "NaN beside null", "range as labels", "one level", "unique labels",
)  # fmt: skip


@pytest.mark.parametrize("kind", [*sample_frames.KINDS, *AWKWARD])
def test_the_frame_comes_back_as_it_was_returned(staffed, kind):
    """Values, dtypes, column labels, index, names, time zones, frequency and attrs survive."""
    wanted = FRAMES[kind]()

    computed, hit = (
        staffed.store.get_or_compute("RT", RAW, {"kind": kind}, sample_features.sample, timeout=30) for _ in range(2)
    )

    for found in (computed, hit):
        assert_same(found, wanted)


@pytest.mark.parametrize("kind", AWKWARD[::3])
def test_a_frame_computed_by_the_caller_comes_back_as_it_was_returned(staffed, kind):
    """A local feature's result is read back from the store like any other."""
    wanted = FRAMES[kind]()
    feature = fstore.local(lambda raw, config: FRAMES[config["kind"]](), version="1", name="awkward")

    for _ in range(2):
        found = staffed.store.get_or_compute("RT-local", RAW, {"kind": kind}, feature, timeout=30)
        assert_same(found, wanted)


@pytest.mark.parametrize("kind", ["complex", "dateutil's UTC", "an own frequency", "a union", "own objects in attrs"])
@pytest.mark.parametrize("where", ["in a worker", "by the caller"])
def test_what_cannot_survive_is_refused_and_leaves_nothing(staffed, kind, where):
    """Everybody who asks gets the typed error that names the column, and no file or staged result is left."""
    make, names = REFUSED[kind]
    local = fstore.local(lambda raw, config: make(), version="1", name="unstorable")
    feature = sample_features.unstorable if where == "in a worker" else local

    with pytest.raises(ComputeFailed, match=names) as caught:
        staffed.store.get_or_compute("RT-refused", RAW, {"kind": kind}, feature, timeout=30)

    assert caught.value.error_type == "UnstorableResult"
    root = staffed.store.resources.entries.capabilities.folder
    assert not list(root.glob(f"entries/*/{caught.value.key}*"))
    assert not list(root.glob(f"staging/results/{caught.value.key}*"))


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert portraits.of_frame(found) == portraits.of_frame(wanted)


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
