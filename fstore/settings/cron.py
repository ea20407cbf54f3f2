"""The five-field schedules of upkeep, in the dialect that cron and Celery share."""

from __future__ import annotations

import re

_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
)
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_ITEM = re.compile(r"(?:\*|([a-z]{3}|[0-9]{1,2})(?:-([a-z]{3}|[0-9]{1,2}))?)(?:/([0-9]{1,2}))?")


def schedule_fault(text: str) -> str | None:
    """Say what is wrong with a schedule such as ``"0 2 * * *"``; None when it can be used.

    The order is minute, hour, day of month, month, day of week (0 is Sunday).
    """
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        return f"expected five fields (minute hour day month weekday), for example '0 2 * * *'; found {len(fields)}"
    for field, (name, low, high) in zip(fields, _FIELDS, strict=True):
        for item in field.split(","):
            if not _item_is_valid(item, low, high, names=_DAYS if name == "day of week" else {}):
                return f"{name} {item!r} is not '*', a number from {low} to {high}, a range or a step such as '*/5'"
    return None


def _item_is_valid(item: str, low: int, high: int, names: dict[str, int]) -> bool:
    match = _ITEM.fullmatch(item)
    if match is None:
        return False
    first, last, step = match.groups()
    if step is not None and (int(step) == 0 or (first is not None and last is None)):
        return False
    numbers = [_number(bound, names) for bound in (first, last) if bound is not None]
    return all(number is not None and low <= number <= high for number in numbers) and _ascends(numbers)


def _number(bound: str, names: dict[str, int]) -> int | None:
    return int(bound) if bound.isdigit() else names.get(bound)


def _ascends(numbers: list[int | None]) -> bool:
    return len(numbers) < 2 or (numbers[0] or 0) <= (numbers[1] or 0)
