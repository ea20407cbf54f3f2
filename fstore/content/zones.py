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

import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput


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
    """Return the frame with Python's own zones for those of other libraries; raises ``UnhashableInput`` for one without a name."""
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        for at, (level, name) in enumerate(zip(index.levels, index.names, strict=True)):
            zone = getattr(level.dtype, "tz", None)
            if zone is not None and (plain := _plain(zone, f"index level {name!r}")) is not zone:
                zoned: Any = pd.DatetimeIndex(level).tz_convert(plain)
                index = index.set_levels([zoned], level=[at])
        frame = frame if index is frame.index else frame.set_axis(index)
    elif isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        plain = _plain(index.tz, f"index {index.name!r}")
        if plain is not index.tz:
            frame = frame.set_axis(index.tz_convert(plain))
    for at, dtype in enumerate(frame.dtypes.tolist()):
        if type(dtype) is not pd.DatetimeTZDtype:
            continue
        label = repr(frame.columns[at])
        if (plain := _plain(dtype.tz, label)) is not dtype.tz:
            frame = frame.copy(deep=False)
            frame.isetitem(at, frame.iloc[:, at].dt.tz_convert(plain))
    return frame


def _plain(zone: Any, where: str) -> Any:
    if zone is UTC or (type(zone) is ZoneInfo and zone is _known(zone.key)):
        return zone
    name = zone_name(zone)
    if name is None:
        raise UnhashableInput(where, _advice(zone))
    return UTC if name == "UTC" else zone if type(zone) in (ZoneInfo, timezone) else pa.lib.string_to_tzinfo(name)


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
