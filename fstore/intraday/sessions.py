"""The session each row belongs to, by a clock that summer time may set forward and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fstore.frames import instants_of_clock
from fstore.intraday.options import session_start

Ints = npt.NDArray[np.int64]
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def session_numbers(stamps: pd.DatetimeIndex, config: Mapping[str, Any]) -> Ints:
    """Return the day number of each row's session; it never goes back.

    A session starts every day at ``config["session_start"]`` ("HH:MM", default
    midnight) by the clock of ``config["session_tz"]``, or of the data themselves:
    where the clock shows that time twice, at the first; where it skips it, with
    the first instant after the gap.
    """
    zone = config.get("session_tz")
    if zone is not None:
        if stamps.tz is None:
            raise ValueError(
                "session_tz needs timestamps with a time zone; localise them first or leave session_tz out"
            )
        try:
            stamps = stamps.tz_convert(zone)
        except (LookupError, ValueError, OSError) as exc:
            raise ValueError(f"session_tz is {zone!r}, which names no time zone here ({exc})") from exc
    seconds = 60 * session_start(config)
    per_second = _PER_SECOND[stamps.unit]
    wall = stamps.tz_localize(None).asi8 - seconds * per_second
    by_the_clock: Ints = np.floor_divide(wall, 86_400 * per_second).astype(np.int64)
    if stamps.tz is None or not len(stamps):
        return by_the_clock
    # By the clock alone a row in the repeated hour would fall back into the day before.
    days = np.unique(np.unique(by_the_clock)[:, None] + np.array([-1, 0, 1]))
    starts = pd.DatetimeIndex(instants_of_clock(days * 86_400 + seconds, stamps.tz).astype("datetime64[s]"))
    at = np.searchsorted(starts.as_unit(stamps.unit).asi8, stamps.asi8, side="right") - 1
    return days[at]
