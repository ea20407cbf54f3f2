"""Functions and classes that a feature puts into NumPy, pandas or Python's mathematics: they end with its call.

What is put there while modules are imported is left: libraries that extend others do so,
and once a process.
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
        self._imported = -1

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
        self._imported = len(sys.modules)

    def put_back(self, _: object) -> None:
        """Undo what was put there since, unless a module was imported meanwhile."""
        changed = [at for at, space in enumerate(self._spaces) if not _are_same(vars(space), self._values[at])]
        if changed and len(sys.modules) == self._imported:
            for at in changed:
                _restore(self._spaces[at], self._known[at])
        if changed or len(sys.modules) != self._imported:
            self.note()


def _are_same(now: Any, values: tuple[Any, ...]) -> bool:
    try:
        return (
            tuple(now.values()) == values
        )  # which looks at identity first; the rest is compared by whoever was put there
    except Exception:
        return False


def _restore(space: Any, known: dict[str, Any]) -> None:
    for name, value in list(vars(space).items()):
        before = known.get(name, _MISSING)
        if before is value or not _is_put_there(value):
            continue
        if before is _MISSING:
            delattr(space, name)
        else:
            setattr(space, name, before)


def _is_put_there(value: Any) -> bool:
    """Tell a function, method or class of somebody's from what a library notes on itself."""
    value = getattr(value, "__func__", getattr(value, "fget", value))
    value = value.func if isinstance(value, functools.partial) else value
    if isinstance(value, FunctionType):
        return str(value.__globals__.get("__name__")).partition(".")[0] not in _LIBRARIES
    home = value.__module__ if isinstance(value, type) else type(value).__module__ if callable(value) else "numpy"
    return str(home).partition(".")[0] not in _LIBRARIES | {"builtins"}
