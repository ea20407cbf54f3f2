"""Python values as JSON that tells their types, and whether two values are the same to the bit.

JSON alone makes lists of tuples, texts of keys, and floats of what numpy counted. What
is no JSON by itself travels as an object of one key, the name of its type. Equality
here is stricter than ``==``: ``1``, ``True`` and ``1.0`` differ, so do ``0.0`` and
``-0.0``, ``Decimal("1")`` and ``Decimal("1.0")``, and the ways to say that a value is missing.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pickle import PicklingError
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd


def to_json(value: Any) -> Any:
    """Turn a value into what ``json.dumps`` takes and ``from_json`` turns back.

    Raises ``TypeError`` naming a type that cannot be.
    """
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [to_json(item) for item in value]
    if value is pd.NaT or value is pd.NA:
        return {"missing": "NaT" if value is pd.NaT else "NA"}
    write = _WRITERS.get(kind)
    if write is None and isinstance(value, np.generic):
        write = _numpy_scalar
    if write is None:
        raise TypeError(f"a value of type {kind.__module__}.{kind.__qualname__} cannot be stored")
    name = "numpy" if isinstance(value, np.generic) else kind.__name__
    return {name: write(value)}


def from_json(value: Any) -> Any:
    """Return the value that ``to_json`` was given."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    return _READERS[name](inner)


_MOST_LEVELS = 100
_NESTING = (Mapping, list, tuple, set, frozenset)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are of one type and equal in every bit that a function could see."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    compare = _COMPARISONS.get(type(one))
    if compare is not None:
        return compare(one, other)
    if isinstance(one, np.generic):
        return bool(one.dtype == other.dtype) and (
            same(one.item(), other.item()) if one.dtype.hasobject else one.tobytes() == other.tobytes()
        )
    try:
        return bool(one == other)
    except (TypeError, ValueError):
        return False


def is_deep(value: Any) -> bool:
    """Tell values that nest beyond what Python copies and writes without reaching its own limit."""
    level = [value]
    for _ in range(_MOST_LEVELS):
        inner = [
            list(part) + list(part.values()) if isinstance(part, Mapping) else list(part)
            for part in level
            if isinstance(part, _NESTING)
        ]
        level = [part for parts in inner for part in parts if isinstance(part, _NESTING)]
        if not level:
            return False
    return True


def same_zone(one: tzinfo | None, other: tzinfo | None) -> bool:
    """Tell whether two time zones are one.

    An hour's offset that is named like a zone is neither that zone nor the bare offset.
    """
    if one is None or other is None or one is other:
        return one is other
    if _is_of_a_file(one) or _is_of_a_file(other):
        return False
    return one.utcoffset(None) == other.utcoffset(None) and str(one) == str(other)


def _is_of_a_file(zone: tzinfo) -> bool:
    """Tell a zone that was read from a file: it bears any key, and says so only when it is pickled."""
    try:
        return type(zone) is ZoneInfo and not zone.__reduce__()
    except PicklingError:
        return True


def zone_to_json(zone: tzinfo | None) -> Any:
    """Describe a time zone; raises ``TypeError`` for one that has no key and no plain offset."""
    if zone is None or zone is UTC:
        return None if zone is None else "utc"
    if type(zone) is ZoneInfo and zone.key and not _is_of_a_file(zone):
        return {"zone": zone.key}
    if type(zone) is timezone and timezone(zone.utcoffset(None)).tzname(None) == zone.tzname(None):
        return {"offset": zone.utcoffset(None).total_seconds()}
    raise TypeError(f"the time zone {zone!r} cannot be stored")


def zone_from_json(said: Any) -> tzinfo | None:
    """Make the time zone again."""
    if said is None or said == "utc":
        return None if said is None else UTC
    return ZoneInfo(said["zone"]) if "zone" in said else timezone(timedelta(seconds=said["offset"]))


def _same_items(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(same, one, other))


def _same_mapping(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    return _same_items(list(one), list(other)) and _same_items(list(one.values()), list(other.values()))


def _same_set(one: Any, other: Any) -> bool:
    return one == other and sorted(map(repr, one)) == sorted(map(repr, other))


def _same_array(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.hasobject:
        return _same_items(one.ravel().tolist(), other.ravel().tolist())
    return bool(one.tobytes() == other.tobytes())


def _same_moment(one: Any, other: Any) -> bool:
    plain = one.replace(tzinfo=None) == other.replace(tzinfo=None) and one.fold == other.fold
    zones = type(one.tzinfo) is type(other.tzinfo) and same_zone(one.tzinfo, other.tzinfo)
    return plain and zones and getattr(one, "unit", "") == getattr(other, "unit", "")


_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    float: lambda one, other: struct.pack("d", one) == struct.pack("d", other),
    complex: lambda one, other: same(one.real, other.real) and same(one.imag, other.imag),
    Decimal: lambda one, other: one.as_tuple() == other.as_tuple(),
    list: _same_items,
    tuple: _same_items,
    dict: _same_mapping,
    set: _same_set,
    frozenset: _same_set,
    np.ndarray: _same_array,
    datetime: _same_moment,
    time: _same_moment,
    pd.Timestamp: _same_moment,
    pd.Timedelta: lambda one, other: one == other and one.unit == other.unit,
    pd.Interval: lambda one, other: (
        one.closed == other.closed and same(one.left, other.left) and same(one.right, other.right)
    ),
}


def _moment(value: Any) -> Any:
    return [value.replace(tzinfo=None).isoformat(), value.fold, zone_to_json(value.tzinfo)]


def _timestamp(value: pd.Timestamp) -> Any:
    naive = value.tz_localize(None) if value.tzinfo is None else value.tz_convert("UTC").tz_localize(None)
    return [int(naive.asm8.astype("i8")), value.unit, zone_to_json(value.tzinfo), value.fold]


def _timestamp_of(said: Any) -> pd.Timestamp:
    count, unit, zone, fold = said
    found = pd.Timestamp(np.datetime64(count, unit))
    if zone is not None:
        found = found.tz_localize("UTC").tz_convert(zone_from_json(zone))
    return found if found.fold == fold else found.replace(fold=fold)


def _bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _plain_dtype(dtype: np.dtype[Any]) -> str:
    if dtype.hasobject or dtype.names is not None:
        raise TypeError(f"an array of dtype {dtype} cannot be stored")
    return dtype.str


def _numpy_scalar(value: np.generic) -> Any:
    return [_plain_dtype(value.dtype), _bytes(value.tobytes())]


def _array(value: np.ndarray[Any, Any]) -> Any:
    return [_plain_dtype(value.dtype), list(value.shape), _bytes(value.tobytes())]


def _array_of(said: Any) -> np.ndarray[Any, Any]:
    dtype, shape, data = said
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()


def _items(value: Any) -> list[Any]:
    return [to_json(item) for item in value]


def _pairs(value: Mapping[Any, Any]) -> list[Any]:
    return [[to_json(key), to_json(item)] for key, item in value.items()]


_WRITERS: dict[type, Callable[[Any], Any]] = {
    float: lambda value: struct.pack("<d", value).hex(),
    bytes: _bytes,
    Decimal: str,
    date: date.isoformat,
    datetime: _moment,
    time: _moment,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    pd.Timestamp: _timestamp,
    pd.Timedelta: lambda value: [int(value.asm8.astype("i8")), value.unit],
    pd.Period: lambda value: [value.ordinal, value.freqstr],
    pd.Interval: lambda value: [to_json(value.left), to_json(value.right), value.closed],
    complex: lambda value: [to_json(value.real), to_json(value.imag)],
    tuple: _items,
    set: _items,
    frozenset: _items,
    dict: _pairs,
    np.ndarray: _array,
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "missing": lambda said: pd.NaT if said == "NaT" else pd.NA,
    "float": lambda said: struct.unpack("<d", bytes.fromhex(said))[0],
    "bytes": base64.b64decode,
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "datetime": lambda said: datetime.fromisoformat(said[0]).replace(fold=said[1], tzinfo=zone_from_json(said[2])),
    "time": lambda said: time.fromisoformat(said[0]).replace(fold=said[1], tzinfo=zone_from_json(said[2])),
    "timedelta": lambda said: timedelta(*said),
    "Timestamp": _timestamp_of,
    "Timedelta": lambda said: pd.Timedelta(np.timedelta64(said[0], said[1])),
    "Period": lambda said: pd.Period(ordinal=said[0], freq=said[1]),
    "Interval": lambda said: pd.Interval(from_json(said[0]), from_json(said[1]), said[2]),
    "complex": lambda said: complex(from_json(said[0]), from_json(said[1])),
    "tuple": lambda said: tuple(map(from_json, said)),
    "set": lambda said: set(map(from_json, said)),
    "frozenset": lambda said: frozenset(map(from_json, said)),
    "dict": lambda said: {from_json(key): from_json(item) for key, item in said},
    "numpy": lambda said: np.frombuffer(base64.b64decode(said[1]), np.dtype(said[0]))[0],
    "ndarray": _array_of,
}
