"""Trailing windows over rows, over time or since the start of a session, for vectorised sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.indexers import BaseIndexer

from fstore.intraday.bars import Floats
from fstore.intraday.options import positive_int, span_ns
from fstore.intraday.sessions import Ints, session_numbers


@dataclass(frozen=True, slots=True)
class Windows:
    """One window a row: rows ``starts[i]`` to ``i``, both included.

    ``min_rows`` usable rows make it count.
    """

    starts: Ints
    min_rows: int

    def sum(self, values: Floats, *, skip_first: int = 0) -> Floats:
        """Add up the values inside each window, NaN counting as zero.

        ``skip_first`` leaves out that many rows at the old end of each window,
        for values that look back across it. The running sum is compensated
        (Kahan), so large values that have left do not spoil later windows.
        """
        clean = np.nan_to_num(values, nan=0.0)
        if not len(clean):
            return clean
        ends = np.arange(1, len(clean) + 1, dtype=np.int64)
        bounds = _Bounds(starts=np.minimum(self.starts + skip_first, ends), ends=ends)
        sums: Floats = np.asarray(pd.Series(clean).rolling(bounds, min_periods=0).sum(), dtype=np.float64)
        return sums

    def count(self, usable: npt.NDArray[np.bool_], *, skip_first: int = 0) -> Floats:
        """Count the usable rows inside each window, exactly."""
        total = np.concatenate([[0], np.cumsum(usable, dtype=np.int64)])
        ends = np.arange(1, len(usable) + 1, dtype=np.int64)
        counts: Floats = np.asarray(total[ends] - total[np.minimum(self.starts + skip_first, ends)], dtype=np.float64)
        return counts


class _Bounds(BaseIndexer):
    """Hands precomputed window bounds to pandas' compiled rolling sums."""

    starts: Ints
    ends: Ints

    def get_window_bounds(
        self,
        num_values: int = 0,
        min_periods: int | None = None,
        center: bool | None = None,
        closed: str | None = None,
        step: int | None = None,
    ) -> tuple[Ints, Ints]:
        return self.starts, self.ends


def make_windows(length: int, stamps: pd.DatetimeIndex | None, config: Mapping[str, Any], *, lag: int = 0) -> Windows:
    """Build the windows that ``config["window"]`` asks for.

    An integer means that many rows, a text like ``"30min"`` the half-open span
    (t - 30 min, t], nothing means since the start of the session (see
    ``session_numbers``). ``config["min_rows"]`` is the number of usable rows
    below which a window gives NaN: by default the full number for a window of
    rows, one for the others.
    """
    window = config.get("window")
    rows = np.arange(length, dtype=np.int64)
    if window is None:
        sessions = session_numbers(need_times(stamps, "a window since the start of the session"), config)
        starts, least = np.searchsorted(sessions, sessions, side="left").astype(np.int64), 1
    elif isinstance(window, str):
        ticks = need_times(stamps, f"the window {window!r}").as_unit("ns").asi8
        starts, least = np.searchsorted(ticks, ticks - span_ns(window, "window"), side="right").astype(np.int64), 1
    else:
        count = positive_int(window, "window")
        starts, least = np.maximum(rows - count + 1, 0), count
    asked = config.get("min_rows")
    return Windows(starts, least if asked is None else positive_int(asked, "min_rows"))


def need_times(stamps: pd.DatetimeIndex | None, purpose: str) -> pd.DatetimeIndex:
    """Raise ``ValueError`` when rows carry no times but ``purpose`` needs them."""
    if stamps is None:
        raise ValueError(
            f"{purpose} needs timestamps: give the raw data a DatetimeIndex, "
            "set config['columns'] = {'time': '<name>'}, or use a number of rows instead"
        )
    return stamps
