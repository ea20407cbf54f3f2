"""Config values and their JSON forms: there and back without a guess.

Every form is chosen to come back unchanged from Postgres' ``jsonb``, which
knows no -0.0, writes 1e22 as an integer and cannot store NUL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from fstore.errors import UnhashableInput
from fstore.features.config.times import restored_timestamp, timestamp_text

MAX_DEPTH = 32
_MAX_INTEGER_BITS = 4096
_ADVICE: dict[type, str] = {
    set: "a set has no order; pass a sorted list",
    frozenset: "a set has no order; pass a sorted list",
    np.ndarray: "pass array.tolist(), so that the function is given what it expects: a list",
    pd.Series: "pass series.tolist(), or make it part of the raw data",
    pd.Index: "pass index.tolist()",
    pd.DataFrame: "make it part of the raw data",
    range: "pass list(range(...))",
    complex: "pass its real and imaginary part",
    bytearray: "pass bytes",
}


def simplified(value: Any, where: str, depth: int = 0) -> Any:
    """Reduce a value to what JSON can hold, tagging what it has no form for.

    ``where`` names it in errors.
    """
    if depth > MAX_DEPTH:
        raise UnhashableInput(where, f"more than {MAX_DEPTH} levels deep, or it contains itself")
    if (form := _PLAIN.get(type(value))) is not None:  # what nearly all are, and no subclass of it
        return form(value, where)
    if isinstance(value, Enum):
        return simplified(value.value, where, depth + 1)
    if isinstance(value, Mapping):
        return _mapping(value, where, depth)
    if isinstance(value, (list, tuple)):
        return [simplified(item, f"{where}[{place}]", depth + 1) for place, item in enumerate(value)]
    if value is pd.NaT or value is pd.NA:
        raise UnhashableInput(where, f"{value} is not equal to itself; leave it out or pass None")
    for kinds, form in _FORMS:
        if isinstance(value, kinds):
            return form(value, where)
    advice = next((text for kind, text in _ADVICE.items() if isinstance(value, kind)), "pass plain values instead")
    raise UnhashableInput(where, f"{type(value).__module__}.{type(value).__qualname__} has no canonical form; {advice}")


def restored(form: Any) -> Any:
    """Build the value of a JSON form; raises ValueError for a form ``simplified`` does not make."""
    if isinstance(form, list):
        return [restored(item) for item in form]
    if not isinstance(form, dict):
        return form
    tags = [name for name in form if name.startswith("$") and not name.startswith("$$")]
    if not tags:
        return {name[1:] if name.startswith("$$") else name: restored(item) for name, item in form.items()}
    if len(form) != 1 or tags[0] not in _BUILDERS or not isinstance(form[tags[0]], str):
        raise ValueError(f"unknown tag {tags[0]!r}; a name of your own that begins with '$' is written with '$$'")
    return _BUILDERS[tags[0]](form[tags[0]])


def _mapping(value: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    forms: dict[str, Any] = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise UnhashableInput(where, f"the key {name!r:.60} is {type(name).__name__}; keys must be strings")
        plain = _string(name.value if isinstance(name, Enum) else name, where)
        # '$' marks tags; a name that begins with it gets a second one.
        escaped = f"${plain}" if plain.startswith("$") else plain
        if escaped in forms:
            raise UnhashableInput(where, f"two keys are both written {plain!r}")
        forms[escaped] = simplified(item, f"{where}[{plain!r}]", depth + 1)
    return forms


def _string(value: str, where: str) -> str:
    plain = str.__str__(value)
    if "\x00" in plain:
        raise UnhashableInput(where, "a text with a NUL character cannot be stored")
    try:
        plain.encode("utf-8")
    except UnicodeEncodeError:
        raise UnhashableInput(where, "a text with half a surrogate pair cannot be stored") from None
    return plain


def _integer(value: Any, where: str) -> int:
    number = int(value)
    if number.bit_length() > _MAX_INTEGER_BITS:
        raise UnhashableInput(where, f"an integer of more than {_MAX_INTEGER_BITS} bits")
    return number


def _float(value: Any, where: str) -> Any:
    number = float(value)
    if not math.isfinite(number):
        raise UnhashableInput(where, f"{number} has no canonical form; leave it out or pass None")
    if number != value:
        raise UnhashableInput(where, f"{type(value).__name__} holds more digits than a float can; pass float(...)")
    text = repr(number)
    return {"$float": text} if "e" in text or text == "-0.0" else number


def _decimal(value: Decimal, where: str) -> dict[str, str]:
    if not value.is_finite():
        raise UnhashableInput(where, f"{value} has no canonical form; leave it out or pass None")
    return {"$decimal": str(value)}


def _time(value: time, where: str) -> dict[str, str]:
    if value.tzinfo is not None:
        raise UnhashableInput(where, "a time of day with a zone depends on the day; pass the zone's name beside it")
    return {"$time": value.replace(fold=0).isoformat()}


def _timedelta(value: timedelta | np.timedelta64, where: str) -> dict[str, str]:
    if isinstance(value, np.timedelta64) and np.datetime_data(value.dtype)[0] == "generic":
        raise UnhashableInput(where, "a timedelta64 without a unit has no canonical form")
    try:
        exact = pd.Timedelta(value)
        if pd.isna(exact):
            raise UnhashableInput(where, "NaT is not equal to itself; leave it out or pass None")
        text = f"{(exact // pd.Timedelta(1, unit='us')) * 1000 + exact.nanoseconds} ns"
        faithful = _restored_timedelta(text) == value
    except (ValueError, OverflowError, ArithmeticError) as exc:
        raise UnhashableInput(where, f"this timedelta cannot be written in nanoseconds: {exc}") from exc
    if not faithful:
        raise UnhashableInput(where, f"this timedelta does not come back unchanged from {text!r}")
    return {"$timedelta": text}


def _restored_timedelta(text: str) -> pd.Timedelta:
    nanoseconds = int(text.removesuffix(" ns"))
    microseconds, rest = divmod(nanoseconds, 1000)
    return pd.Timedelta(nanoseconds, unit="ns") if rest else pd.Timedelta(np.timedelta64(microseconds, "us"))


# In the order of the tests: bool is an int, a datetime is a date.
_FORMS: tuple[tuple[Any, Callable[[Any, str], Any]], ...] = (
    (type(None), lambda value, where: None),
    ((bool, np.bool_), lambda value, where: bool(value)),
    (str, _string),
    ((np.timedelta64, timedelta), _timedelta),
    ((int, np.integer), _integer),
    ((float, np.floating), _float),
    ((datetime, np.datetime64), lambda value, where: {"$datetime": timestamp_text(value, where)}),
    (date, lambda value, where: {"$date": value.isoformat()}),
    (time, _time),
    (Decimal, _decimal),
    (UUID, lambda value, where: {"$uuid": str(value)}),
    (PurePath, lambda value, where: {"$path": _string(value.as_posix(), where)}),
    (bytes, lambda value, where: {"$bytes": value.hex()}),
)
_PLAIN: dict[type, Callable[[Any, str], Any]] = {
    type(None): lambda value, where: None,
    bool: lambda value, where: value,
    str: _string,
    int: _integer,
    float: _float,
}
_BUILDERS: dict[str, Callable[[str], Any]] = {
    "$float": float,
    "$datetime": restored_timestamp,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": _restored_timedelta,
    "$decimal": Decimal,
    "$uuid": UUID,
    "$path": Path,
    "$bytes": bytes.fromhex,
}
