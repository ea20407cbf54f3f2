"""Time zones: the name under which Arrow keeps one, for those whose name says all there is to say.

Arrow and Parquet keep a zone as a text. A zone object may call itself whatever it
likes: an offset of one hour that is called CET (``datetime.astimezone`` makes such),
a table read from a file under another table's name. What would come back as another
zone is refused; an offset or UTC of another library comes back as Python's own.
"""

from __future__ import annotations

import sys
from datetime import UTC, timedelta, timezone, tzinfo
from pickle import PicklingError
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput

_LAST_OF_PYTZ = pd.Timestamp("2037-01-01", tz="UTC")
_FURTHEST = 26 * 3_600  # seconds from UTC: further than any clock


def zone_name(zone: tzinfo) -> str | None:
    """Return the text that stands for exactly this zone, or None if there is none."""
    if zone is UTC:
        return "UTC"
    if type(zone) is ZoneInfo:
        return _iana_name(zone)
    if type(zone) is timezone:
        return _offset_name(zone.utcoffset(None), zone.tzname(None))
    package = type(zone).__module__.partition(".")[0]
    if package == "pytz":
        return _pytz_name(zone)
    if package == "dateutil" and type(zone).__name__ in ("tzutc", "tzoffset"):  # its files end in 2037, IANA's do not
        return _offset_name(zone.utcoffset(None), zone.tzname(None))
    return None


def is_plain(dtype: object) -> bool:
    """Has this dtype no zone, or one that stays as it is; told in little time."""
    if type(dtype) is not pd.DatetimeTZDtype:
        return True
    zone: Any = dtype.tz
    return zone is UTC or (type(zone) is ZoneInfo and zone is _known(zone.key))


def with_plain_zones(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with Python's own zones for those of other libraries.

    Raises ``UnhashableInput`` for one without a name.
    """
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        for at, (level, name) in enumerate(zip(index.levels, index.names, strict=True)):
            if not is_plain(level.dtype):
                zoned: Any = _rezoned(pd.DatetimeIndex(level), f"index level {name!r}")
                index = index.set_levels([zoned], level=[at])
        frame = frame if index is frame.index else frame.set_axis(index)
    elif isinstance(index, pd.DatetimeIndex) and not is_plain(index.dtype):
        frame = frame.set_axis(_rezoned(index, f"index {index.name!r}"))
    for at, dtype in enumerate(frame.dtypes.tolist()):
        if not is_plain(dtype):
            frame = frame.copy(deep=False)
            frame.isetitem(at, _rezoned(pd.DatetimeIndex(frame.iloc[:, at]), repr(frame.columns[at])).array)
    return frame


def _rezoned(times: pd.DatetimeIndex, where: str) -> pd.DatetimeIndex:
    zone: Any = times.tz
    name = zone_name(zone)
    if name is None:
        raise UnhashableInput(where, _advice(zone))
    if hasattr(zone, "_utc_transition_times") and (times > _LAST_OF_PYTZ).any():
        raise UnhashableInput(
            where, f"pytz knows no summer time after 2037; use .tz_convert(zoneinfo.ZoneInfo({name!r})), which does"
        )
    if type(zone) in (ZoneInfo, timezone) and name != "UTC":
        return times
    return times.tz_convert(UTC if name == "UTC" else pa.lib.string_to_tzinfo(name))


def _advice(zone: object) -> str:
    return (
        f"its time zone {zone!r} would come back as another one: use .tz_convert with the name of a zone, such as "
        "'Europe/Paris', 'UTC', or with datetime.timezone(offset)"
    )


def _known(key: str | None) -> ZoneInfo | None:
    try:
        return None if key is None else ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _iana_name(zone: ZoneInfo) -> str | None:
    if zone.key is None or _known(zone.key) is None:
        return None
    try:
        zone.__reduce__()  # one that was read from a file may bear any key, and says so here alone
    except PicklingError:
        return None
    return zone.key


def _offset_name(offset: timedelta | None, called: str | None) -> str | None:
    if offset is None or offset % timedelta(minutes=1):
        return None
    if called is not None and called != timezone(offset).tzname(None):
        return None
    minutes = offset // timedelta(minutes=1)
    if minutes == 0:
        return "UTC"
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _pytz_name(zone: Any) -> str | None:
    name = getattr(zone, "zone", None)
    if name is None:
        return _offset_name(zone.utcoffset(None), None)
    try:
        known = sys.modules["pytz"].timezone(name)
    except (KeyError, AttributeError, LookupError):
        return None
    return name if type(known) is type(zone) and _known(name) is not None else None


def instants_of_clock(clock: npt.NDArray[np.int64], zone: Any) -> npt.NDArray[np.int64]:
    """Return when the clock of ``zone`` first shows these times or later ones.

    Both are seconds, as of 1970 and of 1970 UTC. Summer time makes a clock show some times twice and skip others;
    so defined, later times never come earlier.
    """
    walls = pd.DatetimeIndex(clock.astype("datetime64[s]"))
    local = walls.tz_localize(zone, ambiguous=np.ones(len(walls), dtype=bool), nonexistent="NaT")
    found = np.array(local.asi8, dtype=np.int64)
    gone = np.asarray(local.isna())
    if gone.any():
        # pandas shifts such times forward by whole hours, which is not right for every gap.
        early, late = clock[gone] - _FURTHEST, clock[gone] + _FURTHEST
        while (late - early > 1).any():
            middle = (early + late) // 2
            shown = pd.DatetimeIndex(middle.astype("datetime64[s]")).tz_localize("UTC").tz_convert(zone)
            reached = shown.tz_localize(None).asi8 >= clock[gone]
            early, late = np.where(reached, early, middle), np.where(reached, middle, late)
        found[gone] = late
    return found
