"""Records as flat rows and back, addresses as text and back.

Columns, JSON and messages follow from the fields of a dataclass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


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
    """Return the record that a field holds, or how its value is converted.

    A record's own fields stand among the others.
    """
    if isinstance(hint, type):
        return (hint, None) if is_dataclass(hint) else (None, hint if issubclass(hint, StrEnum) else None)
    stored = next((one for one in get_args(hint) if isinstance(one, type) and is_dataclass(one)), None)
    return None, None if stored is None else lambda value: stored(**value) if value else None  # as JSON, in one field


@dataclass(frozen=True, slots=True, order=True)
class ObjectUrl:
    """An object or a prefix in a bucket, ``s3://bucket/key``; an empty ``key`` is the whole bucket."""

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}".rstrip("/")

    def holds(self, other: ObjectUrl) -> bool:
        """Tell whether another one is this one, or lies below it; names are compared letter by letter."""
        return f"{other}/".startswith(f"{self}/")

    @staticmethod
    def is_url(text: object) -> bool:
        """Tell whether a text is meant as one, faulty ones included; a path never begins like this."""
        return isinstance(text, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text.strip()) is not None

    @classmethod
    def parse(cls, text: str) -> ObjectUrl:
        """Read one; raises ``ValueError``, whose text quotes nothing that could be a secret."""
        scheme, _, rest = text.strip().partition("://")
        rest = rest.removesuffix("/")
        bucket, _, key = rest.partition("/")
        linked = "@" in bucket or not {"?", "#"}.isdisjoint(rest)
        odd = not key.isprintable() or len(key.encode()) > 1024 or {"", ".", ".."} & set(key.split("/") if key else ())
        for found, fault in (
            (scheme != "s3", f"expected s3://bucket/key, found an address that begins with {scheme[:12]}://"),
            (linked, "access keys belong in settings, links with '?' or '#' are not taken; write s3://bucket/key"),
            (not _BUCKET.fullmatch(bucket), "a bucket's name has 3 to 63 small letters, digits, dots and hyphens"),
            (bucket.endswith("--x-s3"), "directory buckets (--x-s3) list in no order and are not supported"),
            (odd, "a key has no empty part, no '.' or '..' as one, no control character and at most 1024 bytes"),
        ):
            if found:
                raise ValueError(fault)
        return cls(bucket, key)
