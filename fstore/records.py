"""Records as flat rows and back: columns, JSON and messages follow from the fields of a dataclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def flat(record: Any) -> dict[str, Any]:
    """Return the fields of a record, those of a record within it among them, as plain JSON values."""
    found: dict[str, Any] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if is_dataclass(value):
            found |= flat(value)
        elif isinstance(value, datetime):
            found[each.name] = value.isoformat()
        else:
            found[each.name] = str(value) if isinstance(value, StrEnum) else value
    return found


def unflat(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return the record of these fields, as ``flat`` gives them or a row holds them; others are ignored."""
    found: dict[str, Any] = {}
    for name, part, convert in _parts_of(kind):  # type: ignore[arg-type]  # mypy takes a class of any kind for unhashable
        if part is not None:
            found[name] = unflat(part, values)
        elif name in values:
            found[name] = convert(values[name]) if convert is not None else values[name]
    return kind(**found)


def flat_names(kind: type[Any]) -> tuple[str, ...]:
    """Return the names that ``flat`` gives the fields of a record."""
    return tuple(one for name, part, _ in _parts_of(kind) for one in ((name,) if part is None else flat_names(part)))  # type: ignore[arg-type]


def is_plain(kind: type[Any]) -> bool:
    """Return whether the values of a row are a record's arguments as they are."""
    parts = _parts_of(kind)  # type: ignore[arg-type]
    return not any(part or convert for _, part, convert in parts) and not any(each.kw_only for each in fields(kind))


@cache
def _parts_of(kind: type[Any]) -> tuple[tuple[str, type[Any] | None, Callable[[Any], Any] | None], ...]:
    hints = get_type_hints(kind)
    return tuple((each.name, *_part(hints[each.name])) for each in fields(kind))


def _part(hint: Any) -> tuple[type[Any] | None, Callable[[Any], Any] | None]:
    """Return the record that a field holds, its own fields standing among the others, or how its value is converted."""
    if isinstance(hint, type):
        return (hint, None) if is_dataclass(hint) else (None, hint if issubclass(hint, StrEnum) else None)
    stored = next((one for one in get_args(hint) if isinstance(one, type) and is_dataclass(one)), None)
    return None, None if stored is None else lambda value: stored(**value) if value else None  # as JSON, in one field
