"""The attributes that an object of settings has when it was made, told without making one.

That of a dataclass, of a class whose objects begin without any, and of a ``SimpleNamespace``.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

_FACTORIES = (list, dict, set)


def expected_state(made: str, value: Any, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any] | None:
    """Return what ``vars(value)`` was when ``made(*given, **named)`` returned it; None when nobody can tell."""
    kind: Any = type(value)
    if kind.__name__ != made or not hasattr(value, "__dict__"):
        return None
    if kind is SimpleNamespace:
        return None if given else named
    written = {name for base in kind.__mro__[:-1] for name in vars(base)}
    if type(kind) is not type or "__new__" in written:
        return None
    if dataclasses.is_dataclass(kind):
        return _dataclass_state(kind, given, named)
    return None if "__init__" in written or given or named else {}


def _dataclass_state(kind: Any, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any] | None:
    fields = dataclasses.fields(kind)
    code = getattr(kind.__init__, "__code__", None)
    is_generated = code is not None and code.co_filename == "<string>"
    if hasattr(kind, "__post_init__") or not is_generated or not all(each.init for each in fields):
        return None
    state = dict(zip([each.name for each in fields if not each.kw_only], given, strict=False)) | named
    for each in fields:
        if each.name in state:
            continue
        if each.default_factory in _FACTORIES:
            state[each.name] = each.default_factory()
        elif each.default is not dataclasses.MISSING and isinstance(
            each.default, bool | int | float | str | bytes | tuple | frozenset | type(None)
        ):
            state[each.name] = each.default
        else:
            return None
    return {each.name: state[each.name] for each in fields}
