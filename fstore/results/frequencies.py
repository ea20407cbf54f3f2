"""The frequency of an index as text that brings back this very frequency.

Its arguments and holidays included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from fstore.results.python_values import from_json, to_json


def is_told_by_its_name(freq: Any) -> bool:
    """Tell whether pandas makes an equal frequency of the short name, which leaves out most arguments."""
    try:
        again = to_offset(freq.freqstr)
    except (ValueError, KeyError):
        return False
    return type(again) is type(freq) and again == freq


def frequency_to_json(freq: Any) -> Any:
    """Describe an offset of pandas' own.

    Raises ``TypeError`` or ``ValueError`` for one that would come back as another.
    """
    kind = type(freq)
    if getattr(pd.offsets, kind.__name__, None) is not kind:
        raise TypeError(f"{kind.__name__} is no offset of pandas")
    given = {name: value for name, value in freq.kwds.items() if name != "calendar"}  # made of the other arguments
    said = [kind.__name__, int(freq.n), bool(freq.normalize), to_json(given)]
    if frequency_from_json(said) != freq:
        raise ValueError("its arguments do not say all about it")
    return said


def frequency_from_json(said: Any) -> Any:
    """Make the offset again."""
    name, n, normalize, given = said
    return getattr(pd.offsets, name)(n=n, normalize=normalize, **from_json(given))


def with_frequency(index: Any, freq: Any) -> Any:
    """Return the index with a frequency; raises ``ValueError`` when its values do not keep it."""
    if isinstance(index, pd.TimedeltaIndex):
        return pd.TimedeltaIndex(index, freq=freq)
    if not isinstance(to_offset(freq), pd.offsets.Tick):
        return pd.DatetimeIndex(index, freq=freq, copy=False)
    # Seconds are as long everywhere, and pandas checks a frequency in UTC in half the time.
    in_utc = index if index.tz is None else index.tz_convert("UTC")
    made = _even_steps(in_utc, freq) if len(index) and in_utc.asi8.flags.writeable else None
    if made is None:  # not even, or over pages that all holders share
        made = pd.DatetimeIndex(in_utc, freq=freq, copy=False)
    return made if index.tz is None else made.tz_convert(index.tz)


def _even_steps(index: pd.DatetimeIndex, freq: Any) -> pd.DatetimeIndex | None:
    """Make the index anew from its first moment; None where that is another one.

    Takes a fifth of the time in which pandas infers the frequency of the values it is given.
    """
    try:
        made = pd.date_range(index[0], periods=len(index), freq=freq, unit=index.unit, name=index.name)
    except (ValueError, OverflowError):  # no first moment, or no last one: pandas says which
        return None
    return made if made.dtype == index.dtype and np.array_equal(made.asi8, index.asi8) else None
