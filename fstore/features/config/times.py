"""Points in time as texts: to the nanosecond, with the zone the user named.

The zone is kept because a function may look at the local hour: 09:30 in New
York and the same instant in UTC are two configs. A zone without a name becomes
its offset at that instant.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from fstore.errors import UnhashableInput

_FINEST = frozenset({"ns", "us", "ms", "s", "m", "h", "D", "W", "M", "Y"})
_TEXT = re.compile(r"([^\[\]]+?)(?:\[([^\[\]]+)\])?")


def timestamp_text(value: datetime | np.datetime64, where: str) -> str:
    """Write a datetime as the instant in UTC and the zone to show it in.

    For example ``2024-01-02T14:30:00+00:00[America/New_York]``. Without a zone it is
    the bare local time; a zone without a name is its offset.
    """
    if isinstance(value, np.datetime64) and np.datetime_data(value.dtype)[0] not in _FINEST:
        raise UnhashableInput(where, "a datetime64 finer than a nanosecond, or without a unit, has no canonical form")
    try:
        moment = _normal(pd.Timestamp(value))
        name = _zone_name(moment.tzinfo)
        text = f"{moment.tz_convert(UTC).isoformat()}[{name}]" if name else moment.isoformat()
        back = restored_timestamp(text)
        # A zone of a file may bear another's name; pytz and Python differ after 2037.
        faithful = back == moment and back.utcoffset() == moment.utcoffset()
    except (ValueError, OverflowError, ArithmeticError, TypeError) as exc:
        raise UnhashableInput(where, f"this point in time has no canonical form: {exc}") from exc
    if not faithful:
        raise UnhashableInput(where, f"this point in time does not come back unchanged from {text!r}")
    return text


def restored_timestamp(text: str) -> pd.Timestamp:
    """Build the Timestamp of such a text; its unit is ``us``, or ``ns`` where it has nanoseconds."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a point in time")
    moment = pd.Timestamp(match[1])
    if match[2]:
        moment = moment.tz_convert(ZoneInfo(match[2]))
    elif moment.tzinfo is not None and moment.utcoffset() == timedelta(0):
        moment = moment.tz_convert(UTC)
    return _normal(moment)


def _normal(moment: pd.Timestamp) -> pd.Timestamp:
    if pd.isna(moment):
        raise ValueError("NaT is not equal to itself; leave it out or pass None")
    if not 1 <= moment.year <= 9999:
        raise ValueError("its year is outside 1 to 9999")
    return moment.as_unit("ns" if moment.nanosecond else "us")


def _zone_name(zone: tzinfo | None) -> str | None:
    """Name a zone of the zone database, also one of pytz; None for a bare offset."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if not isinstance(name, str) or name == "UTC":
        return None
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, KeyError):
        return None
