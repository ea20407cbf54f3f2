"""Names that a function looks up in its module although the module's text does not bind them.

An interactive shell runs many small texts in one module: a function of one cell
uses constants and functions of others, which are digested by what they are now.
"""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from fstore.features.source.module_source import ModuleSource
from fstore.features.source.module_text import SourceUnavailable

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), type(...)})


class _Following(threading.local):
    """The functions that this thread is describing: others may describe the same ones just now."""

    def __init__(self) -> None:
        self.functions: list[FunctionType] = []


_following = _Following()


def foreign_texts(
    function: FunctionType, source: ModuleSource, places: Iterable[int], digest: Callable[[FunctionType], str]
) -> list[str]:
    """Describe what a function of a shell takes from other cells.

    Nothing for a function of a file or an archive.
    """
    if _is_whole(function) or function in _following.functions:
        return []
    names = {name for place in places for name in source.lookups(place).names}
    strange = sorted(name for name in names if name not in source.by_name and name in function.__globals__)
    _following.functions.append(function)
    try:
        return [f"{name} is {_described(function.__globals__[name], name, digest)}" for name in strange]
    finally:
        _following.functions.pop()


def _is_whole(function: FunctionType) -> bool:
    """Tell whether the text that a function stands in is all of its module."""
    file = function.__code__.co_filename
    spec = function.__globals__.get("__spec__")
    return os.path.isfile(file) or file == getattr(spec, "origin", None)  # noqa: PTH113 no path in a shell


def _described(value: Any, name: str, digest: Callable[[FunctionType], str]) -> str:
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    if type(value) in _PLAIN:
        return f"{type(value).__name__} {value!a}"
    if isinstance(value, tuple | list) and all(type(item) in _PLAIN for item in value):
        return f"{type(value).__name__} {value!a}"
    if isinstance(value, FunctionType) and value.__module__ == "__main__":
        return digest(value)
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module and qualname and module != "__main__":
        return f"{module}:{qualname}"
    if getattr(builtins, name, None) is value:
        return "builtin"
    raise SourceUnavailable(f"{name} comes from another cell of the shell, and its content cannot be told")
