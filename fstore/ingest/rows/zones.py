"""Times of a place's clocks as instants: a time that the clocks showed twice, or never, is none."""

from __future__ import annotations

import re
import zoneinfo

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest
from fstore.ingest.rows.cells import Parsed, none_of

UTC_NS = pa.timestamp("ns", tz="UTC")
NAIVE = "naive"
"""Said in place of a zone: the times are to stay without one."""
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


def check_zone(zone: str) -> None:
    """Raise ``InvalidRequest`` for what is no zone."""
    if zone == NAIVE or (isinstance(zone, str) and _offset_ns(zone) is not None):
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError) as exc:
        raise InvalidRequest(
            "tz", f"{zone!r} is no time zone; say UTC, one like America/New_York, or an offset like -05:00"
        ) from exc


def in_utc(times: pa.Array, zone: str) -> Parsed:
    """Read naive times in nanoseconds as those of a zone's clocks."""
    if zone == NAIVE:
        return Parsed(times, none_of(times))
    offset = _offset_ns(zone)
    if offset is not None:
        ticks = pc.subtract_checked(times.view(pa.int64()), offset)
        return Parsed(ticks.cast(UTC_NS), none_of(times))
    first = pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent="earliest").cast(UTC_NS)
    last = pc.assume_timezone(times, zone, ambiguous="latest", nonexistent="latest").cast(UTC_NS)
    # Both of a time in the gap of spring are shown as other times.
    bad = pc.fill_null(pc.not_equal(first, last), False)
    return Parsed(pc.if_else(bad, None, first), bad)


def why_not(zone: str) -> str:
    """Say why a time is no instant, and what to do."""
    return (
        f"a time that the clocks of {zone} show once (they show it twice or never, when they are changed); "
        "say the zone or offset that the file is really in (--tz, tz=), such as UTC or -05:00"
    )


def _offset_ns(zone: str) -> int | None:
    if zone in ("UTC", "Z", "GMT"):
        return 0
    found = _OFFSET.fullmatch(zone)
    if found is None or int(found[3]) > 59 or int(found[2]) > 23:
        return None
    seconds = int(found[2]) * 3600 + int(found[3]) * 60
    return (-seconds if found[1] == "-" else seconds) * 10**9
