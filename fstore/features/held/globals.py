"""What a function may find that its code does not name: in its module, among the builtins, on the classes of pandas."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

from fstore.features.held.code import CodeIdentity
from fstore.features.lookup import is_installed

# What an interactive shell keeps for itself; it changes with each line that is typed.
_OF_A_SHELL = re.compile(r"_+|__\w+__|_i+|_i?\d+|_[iod]h|_ih|_exit_code|In|Out|exit|quit|get_ipython|open")
_SINGLETONS = (None, True, False, ..., NotImplemented)
_PATCHED = ("DataFrame", "Series", "Index", "DatetimeIndex", "MultiIndex")


def names_at_large(code: CodeIdentity, space: Mapping[str, Any]) -> set[str]:
    """Return the globals that code may look up under names made while it runs; none of a library's module."""
    if not (code.any_name or code.any_definition) or is_installed(space):
        return set()
    names = {name for name in space if not _OF_A_SHELL.fullmatch(name)}
    if code.any_name:
        return names
    return {name for name in names if _is_definition(space[name]) and space[name].__module__ == space.get("__name__")}


def is_set_by_somebody(name: str, value: Any) -> bool:
    """Tell a builtin that is neither Python's nor a library's nor the shell's."""
    if _OF_A_SHELL.fullmatch(name) or isinstance(value, BuiltinFunctionType):
        return False
    if _is_definition(value):
        return value.__module__ != "builtins" and _is_own(value)
    return not any(value is single for single in _SINGLETONS) and type(value).__module__ != "_sitebuiltins"


def patches(attributes: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield the methods, properties and accessors of these names that somebody's own code gave to pandas' classes."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return
    for attribute in sorted(attributes):
        for name in _PATCHED:
            found = vars(getattr(pandas, name, object)).get(attribute)
            found = getattr(found, "fget", getattr(found, "__func__", getattr(found, "_accessor", found)))
            if _is_definition(found) and _is_own(found):
                yield f"{name}.{attribute}", found


def _is_definition(value: Any) -> bool:
    return isinstance(value, FunctionType | type)


def _is_own(value: Any) -> bool:
    if isinstance(value, FunctionType):
        return not is_installed(value.__globals__)
    home = sys.modules.get(value.__module__)
    return home is not None and home is not builtins and not is_installed(vars(home))
