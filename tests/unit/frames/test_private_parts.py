"""Private parts of pandas and Arrow that fstore relies on, each with the version in whose source it was read.

A test that fails after an upgrade says what to read again.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.frames.parts import dtypes_of

READ_IN = "read in pandas 3.1.1 and pyarrow 26.0.1; read it again in "
PANDAS, ARROW = READ_IN + f"pandas {version('pandas')}", READ_IN + f"pyarrow {version('pyarrow')}"

FRAMES = {
    "numbers in one block": pd.DataFrame(np.zeros((3, 2)), columns=["a", "b"]),
    "numbers in two blocks": pd.DataFrame({"a": [1.5], "b": [1]}),
    "masked numbers": pd.DataFrame({"a": pd.array([1, 2], "Int64")}),
    "texts, categories and times": pd.DataFrame(
        {
            "t": ["x"],
            "c": pd.Categorical(["y"]),
            "z": [pd.Timestamp("2024", tz="UTC")],
            "o": pd.Series([None], dtype=object),
        }
    ),
    "no columns": pd.DataFrame(index=[1, 2]),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="int32")}),
    "labels that are numbers": pd.DataFrame([[1, 2.5]], columns=[7, 3]),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_dtypes_are_those_that_pandas_tells(kind: str) -> None:
    """``DataFrame._mgr.get_dtypes`` is what ``DataFrame.dtypes`` asks."""
    frame = FRAMES[kind]
    assert hasattr(frame._mgr, "get_dtypes"), PANDAS
    assert dtypes_of(frame) == frame.dtypes.tolist()
    assert list(map(str, dtypes_of(frame))) == list(map(str, frame.dtypes))


def test_a_single_block_is_one_piece_of_memory() -> None:
    """``DataFrame._mgr.is_single_block`` tells of which frames ``to_numpy`` copies nothing."""
    one, two = FRAMES["numbers in one block"], pd.concat([FRAMES["numbers in one block"]] * 2, axis=1)
    assert one._mgr.is_single_block, PANDAS
    assert np.shares_memory(one.to_numpy(), one.to_numpy())
    assert not two._mgr.is_single_block, PANDAS


def test_masked_arrays_keep_a_mask() -> None:
    """``_mask`` is the array of what is missing; under it anything may lie."""
    assert pd.array([1, None], "Int64")._mask.tolist() == [False, True], PANDAS


def test_pandas_types_are_known_to_arrow_once_pandas_used_them() -> None:
    """``pandas.core.arrays.arrow.extension_types`` registers both when it is imported."""
    import pandas.core.arrays.arrow.extension_types as types

    assert types.ArrowPeriodType("D").extension_name == "pandas.period", PANDAS
    assert types.ArrowIntervalType(pa.int64(), "right").extension_name == "pandas.interval", PANDAS


def test_arrow_makes_zones_of_texts() -> None:
    """``pa.lib.string_to_tzinfo`` gives names and offsets alike, and raises for what is neither."""
    assert pa.lib.string_to_tzinfo("+01:30").utcoffset(None).total_seconds() == 5400, ARROW
    assert str(pa.lib.string_to_tzinfo("Asia/Tokyo")) == "Asia/Tokyo"
    with pytest.raises(Exception, match="Mars"):
        pa.lib.string_to_tzinfo("Mars/Olympus")
