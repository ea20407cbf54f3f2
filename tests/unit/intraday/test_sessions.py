"""Sessions by a clock that goes forward and back, against the first minute at which it shows their start."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from fstore.intraday import vwap_bands
from fstore.intraday.sessions import session_numbers

# Every kind of change: an hour, half an hour, at midnight, by another sign in winter, and a whole day that was skipped.
CHANGES = {
    "America/New_York": ("2024-03-10 07:00", "2024-11-03 06:00"),
    "Europe/London": ("2024-03-31 01:00", "2024-10-27 01:00"),
    "Europe/Dublin": ("2024-03-31 01:00", "2024-10-27 01:00"),
    "Australia/Sydney": ("2024-04-06 16:00", "2024-10-05 16:00"),
    "Australia/Lord_Howe": ("2024-04-06 15:00", "2024-10-05 15:30"),
    "Atlantic/Azores": ("2024-03-31 01:00", "2024-10-27 01:00"),
    "America/Sao_Paulo": ("2017-10-15 03:00", "2018-02-18 02:00"),
    "America/Havana": ("2024-03-10 05:00", "2024-11-03 05:00"),
    "America/St_Johns": ("2011-03-13 03:31", "2010-11-07 02:31"),
    "Pacific/Apia": ("2011-12-30 10:00", "2011-09-24 14:00"),
}


@pytest.mark.parametrize(("zone", "change"), [(zone, at) for zone, both in CHANGES.items() for at in both])
def test_sessions_equal_a_walk_through_the_minutes(zone: str, change: str) -> None:
    """Whatever the start, the number of a session is that of the last start that the clock has reached."""
    middle = pd.Timestamp(change, tz="UTC")
    minutes = pd.date_range(middle - pd.Timedelta("50h"), middle + pd.Timedelta("30h"), freq="min").tz_convert(zone)
    clock = minutes.tz_localize(None).as_unit("s").asi8 // 60
    rows = slice(26 * 60, None, 7)
    for start in range(0, 1440, 15):
        reached = np.maximum.accumulate((clock - start) // 1440)[rows]

        found = session_numbers(minutes[rows], {"session_start": f"{start // 60:02d}:{start % 60:02d}"})

        assert (found == reached).all(), f"{start // 60:02d}:{start % 60:02d}"


def test_a_start_that_the_clock_shows_twice_is_the_first() -> None:
    """The session that began at 01:30 in summer time goes on through the hour that is repeated."""
    index = pd.date_range("2024-11-03 00:30", periods=8, freq="15min", tz="America/New_York")
    raw = pd.DataFrame({"price": 100.0 + np.arange(8), "size": 1}, index=index)

    for config in ({}, {"session_tz": "America/New_York"}):
        vwap = vwap_bands(raw.tz_convert("UTC") if config else raw, {"session_start": "01:30", **config})["vwap"]
        assert vwap.tolist() == [100.0, 100.5, 101.0, 101.5, 104.0, 104.5, 105.0, 105.5]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_sessions_are_the_same_in_every_unit_and_kind_of_zone(unit: str) -> None:
    """Seconds and nanoseconds, naive times, fixed offsets and no rows at all have sessions."""
    naive = pd.DatetimeIndex(["2024-11-03 01:29", "2024-11-03 01:30", "2024-11-04 01:29:59"]).as_unit(unit)
    day = (dt.date(2024, 11, 3) - dt.date(1970, 1, 1)).days

    for zone in (None, "UTC", dt.timezone(dt.timedelta(hours=1))):
        assert session_numbers(naive.tz_localize(zone), {"session_start": "1:30"}).tolist() == [day - 1, day, day]
        assert session_numbers(naive[:0].tz_localize(zone), {}).tolist() == []
