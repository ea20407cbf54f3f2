"""Indexes get back the frequency they were returned with, and none that their values do not keep."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fstore.results.frequencies import with_frequency

FREQUENCIES = ("s", "min", "5min", "7h", "250ms", "D", "2D", "B", "W-WED", "MS", pd.offsets.Minute(3))


def bare(index: pd.DatetimeIndex, *, writeable: bool = True) -> pd.DatetimeIndex:
    """Return the same moments without a frequency, as they are read from a file."""
    values = index.asi8.copy()
    values.flags.writeable = writeable
    return pd.DatetimeIndex(
        values if index.tz is not None else values.view(index.dtype), dtype=index.dtype, name=index.name, copy=False
    )


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("tz", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("freq", FREQUENCIES)
@pytest.mark.parametrize("rows", [1, 2, 2_000])
def test_frequency_comes_back(rows: int, freq: object, tz: str | None, unit: str, writeable: bool) -> None:
    """Also over changes of clocks, and for one moment alone, of which nothing can be inferred."""
    if unit == "s" and freq == "250ms":
        pytest.skip("no such moments")
    index = pd.date_range("2024-03-06", periods=rows, freq=freq, tz=tz, unit=unit, name="time")
    again = with_frequency(bare(index, writeable=writeable), index.freqstr)
    pd.testing.assert_index_equal(again, index, exact=True)
    assert again.freq == index.freq
    assert again.unit == unit
    assert again.dtype == index.dtype


@pytest.mark.parametrize("tz", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("at", [0, 1, 499, 999])
@pytest.mark.parametrize("moved", [1, -1, 60_000_000_000])
def test_values_that_do_not_keep_it_are_refused(at: int, moved: int, tz: str | None) -> None:
    """Wherever the one moment lies."""
    index = bare(pd.date_range("2024-03-06", periods=1_000, freq="min", tz=tz, unit="ns"))
    values = index.asi8.copy()
    values[at] += moved
    spoiled = bare(pd.DatetimeIndex(values, dtype=index.dtype))
    with pytest.raises(ValueError, match="does not conform"):
        with_frequency(spoiled, "min")


def test_missing_moments_and_others_steps_are_refused() -> None:
    """And so is a frequency that leads beyond what the unit holds."""
    index = bare(pd.date_range("2024-03-06", periods=10, freq="min", unit="ns"))
    for freq in ("2min", "s", "h"):
        with pytest.raises(ValueError, match="does not conform"):
            with_frequency(index, freq)
    with pytest.raises(ValueError, match=r"conform|NaT|bound"):
        with_frequency(pd.DatetimeIndex([pd.NaT, index[0]], dtype="M8[ns]"), "min")
    with pytest.raises(ValueError, match=r"conform|bound"):
        with_frequency(pd.DatetimeIndex([pd.Timestamp.max, index[0]], dtype="M8[ns]"), "min")


def test_no_moments_keep_any_frequency() -> None:
    """An empty index has it as well."""
    assert with_frequency(pd.DatetimeIndex([], dtype="M8[ns]"), "min").freqstr == "min"


def test_read_only_moments_stay_where_they_are() -> None:
    """Pages that all holders of a frame share are not copied for a frequency."""
    index = bare(pd.date_range("2024-03-06", periods=1_000, freq="min"), writeable=False)
    assert np.shares_memory(with_frequency(index, "min").asi8, index.asi8)
