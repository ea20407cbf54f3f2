"""What a feature puts into NumPy, pandas or Python's mathematics: it ends with the call.

Functions, classes, numbers, and whatever else is called by its name there. What is put there while modules are
imported is left: libraries that extend others do so, and once a process.
"""

from __future__ import annotations

import functools
import math
import statistics
import sys
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

_MODULES: tuple[ModuleType, ...] = (np, np.linalg, pd, math, statistics)
_FRAMES: tuple[type, ...] = (pd.DataFrame, pd.Series, pd.Index, pd.DatetimeIndex, pd.Timestamp, pd.Timedelta)
_MADE_OF_FRAMES = {
    "pandas.core.groupby.generic": ("DataFrameGroupBy", "SeriesGroupBy"),
    "pandas.core.window.rolling": ("Rolling",),
}
_LIBRARIES = frozenset({"math", "numpy", "pandas", "statistics"})
_MISSING = object()


class PutIntoLibraries:
    """What was there when it was noted last."""

    def __init__(self) -> None:
        self._spaces: list[Any] = []
        self._known: list[dict[str, Any]] = []
        self._values: list[tuple[Any, ...]] = []
        self._modules: frozenset[str] = frozenset()

    def note(self) -> None:
        """Note what is there now."""
        if not self._spaces:
            made = [
                getattr(sys.modules.get(place), name, None)
                for place in _MADE_OF_FRAMES
                for name in _MADE_OF_FRAMES[place]
            ]
            classes = [cls for cls in (*_FRAMES, *made) if isinstance(cls, type)]
            bases = dict.fromkeys(
                base for cls in classes for base in cls.__mro__ if base.__module__.startswith("pandas.")
            )
            self._spaces = [*_MODULES, *dict.fromkeys([*classes, *bases])]
        self._known = [dict(vars(space)) for space in self._spaces]
        self._values = [tuple(known.values()) for known in self._known]
        self._modules = frozenset(list(sys.modules))

    def put_back(self, _: object) -> None:
        """Undo what was put there since, and leave what the import of a module may have done meanwhile.

        Then what stands for something of such a module, or of its distribution, stays.
        """
        changed = [at for at, space in enumerate(self._spaces) if not _are_same(vars(space), self._values[at])]
        imported = len(sys.modules) != len(self._modules)
        if changed:
            new = frozenset(list(sys.modules)) - self._modules if imported else frozenset()
            for at in changed:
                _restore(self._spaces[at], self._known[at], new)
        if changed or imported:
            self.note()


def _are_same(now: Any, values: tuple[Any, ...]) -> bool:
    try:
        return (
            tuple(now.values()) == values
        )  # which looks at identity first; the rest is compared by whoever was put there
    except Exception:
        return False


def _restore(space: Any, known: dict[str, Any], new_modules: frozenset[str]) -> None:
    now = dict(vars(space))
    new_tops = {name.partition(".")[0] for name in new_modules} - _LIBRARIES
    for name, before in known.items():
        value = now.get(name, _MISSING)
        # Whatever else stands there, another function of the library's or a number: the next feature computes with it.
        if value is not before and _is_called_by_name(name, before) and _home_of(value) not in new_modules:
            setattr(space, name, before)
    for name in now.keys() - known.keys():
        is_of_import = _home_of(now[name]) in new_modules or _home_of(now[name]).partition(".")[0] in new_tops
        if not is_of_import and (_is_put_there(now[name]) or _overrides(space, name)):
            delattr(space, name)


def _overrides(space: Any, name: str) -> bool:
    """Tell a name of a class behind which lies one of a class that it is made of."""
    bases = space.__mro__[1:] if isinstance(space, type) else ()
    return any(_is_called_by_name(name, vars(base)[name]) for base in bases if name in vars(base))


def _is_called_by_name(name: str, value: Any) -> bool:
    """Tell functions, operators and constants from what Python itself notes.

    In a module or class it notes warnings given, for instance.
    """
    return callable(getattr(value, "__func__", value)) or not (name.startswith("__") and name.endswith("__"))


def _is_put_there(value: Any) -> bool:
    """Tell a function, method or class of somebody's from what a library notes on itself."""
    if not callable(_inner(value)):
        return False
    return _home_of(value).partition(".")[0] not in _LIBRARIES | {"builtins"}


def _home_of(value: Any) -> str:
    """Name the module that a function, or the class of another object, was written in."""
    value = _inner(value)
    if isinstance(value, FunctionType):
        return str(value.__globals__.get("__name__"))
    return str(value.__module__ if isinstance(value, type) else type(value).__module__)


def _inner(value: Any) -> Any:
    value = getattr(value, "__func__", getattr(value, "fget", value))
    return value.func if isinstance(value, functools.partial) else value
