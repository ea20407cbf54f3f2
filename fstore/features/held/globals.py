"""What a function may find that its code does not name.

In its module, among the builtins, on the classes of pandas.
"""

from __future__ import annotations

import builtins
import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from fstore.features.held.code import CodeIdentity
from fstore.features.lookup import MAIN_NAMES, is_installed
from fstore.features.source.own_code import FSTORE

# What an interactive shell keeps for itself; it changes with each line that is typed.
_OF_A_SHELL = re.compile(r"_+|__\w+__|_i+|_i?\d+|_[iod]h|_ih|_exit_code|In|Out|exit|quit|get_ipython|open")
_SINGLETONS = (None, True, False, ..., NotImplemented)
_MADE_OF_FRAMES = {
    "pandas.core.groupby.generic": ("DataFrameGroupBy", "SeriesGroupBy"),
    "pandas.core.window.rolling": ("Rolling", "RollingGroupby"),
    "pandas.core.window.expanding": ("Expanding", "ExpandingGroupby"),
    "pandas.core.window.ewm": ("ExponentialMovingWindow",),
    "pandas.core.resample": ("DatetimeIndexResampler", "PeriodIndexResampler", "TimedeltaIndexResampler"),
    "pandas.core.strings.accessor": ("StringMethods",),
    "pandas.core.indexes.accessors": ("DatetimeProperties", "TimedeltaProperties", "PeriodProperties"),
    "pandas.core.arrays.categorical": ("CategoricalAccessor",),
}
_PATCHED = ("DataFrame", "Series", "Index", "DatetimeIndex", "MultiIndex")


def names_at_large(code: CodeIdentity, space: Mapping[str, Any]) -> set[str]:
    """Return the globals that code may look up under names made while it runs.

    None of a library's module.
    """
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
    """Yield the methods, properties and accessors that somebody's code gave to pandas' classes.

    Those of these names.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return
    for attribute in sorted(attributes):
        for name in _PATCHED:
            found = vars(getattr(pandas, name, object)).get(attribute)
            found = getattr(found, "fget", getattr(found, "__func__", getattr(found, "_accessor", found)))
            if _is_definition(found) and _is_own(found):
                yield f"{name}.{attribute}", found


def library_patches(
    names: Iterable[str], space: Mapping[str, Any], attributes: Iterable[str]
) -> Iterator[tuple[str, Any]]:
    """Yield what somebody put into modules and classes of libraries under these names.

    ``np.median = mine``.
    """
    wanted = set(attributes)
    waiting = [
        found for name in sorted(names) if isinstance(found := space.get(name), ModuleType) and _is_library(found)
    ]
    seen: set[int] = set()
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        for attribute in sorted(wanted & vars(module).keys()):
            found = vars(module)[attribute]
            if isinstance(found, ModuleType):
                waiting += [found] if found.__name__.startswith(f"{module.__name__}.") else []
            elif _is_put_there(found):
                yield f"{module.__name__}.{attribute}", found
    for cls in _pandas_classes():
        for attribute in sorted(wanted & vars(cls).keys()):
            found = vars(cls)[attribute]
            found = getattr(found, "fget", getattr(found, "__func__", getattr(found, "_accessor", found)))
            if _is_put_there(found):
                yield f"{cls.__module__}.{cls.__qualname__}.{attribute}", found


def _pandas_classes() -> list[type]:
    """List the classes whose methods frames and what is made of them have.

    But for those that ``patches`` looks at.
    """
    return [] if "pandas" not in sys.modules else _known_classes()


@functools.cache
def _known_classes() -> list[type]:
    pandas: Any = sys.modules["pandas"]
    first = [
        getattr(pandas, name)
        for name in (*_PATCHED, "TimedeltaIndex", "PeriodIndex", "RangeIndex", "Categorical", "Grouper")
    ]
    first += [pandas.Timestamp, pandas.Timedelta, pandas.DateOffset]
    for place, names in _MADE_OF_FRAMES.items():
        module = sys.modules.get(place)
        first += [found for name in names if isinstance(found := getattr(module, name, None), type)]
    every = dict.fromkeys(base for cls in first for base in cls.__mro__ if base is not object)
    known = {getattr(pandas, name) for name in _PATCHED}
    return [cls for cls in every if cls not in known and cls.__module__.partition(".")[0] == "pandas"]


def _is_library(module: ModuleType) -> bool:
    return is_installed(vars(module)) or module.__name__.partition(".")[0] in sys.stdlib_module_names


def _is_put_there(value: Any) -> bool:
    """Tell a function, class or object of somebody's own code.

    Of a script, or of a module that is no library's.
    """
    if isinstance(value, functools.partial):
        return _is_put_there(value.func)
    home = value.__globals__.get("__name__") if isinstance(value, FunctionType) else (
        value.__module__ if isinstance(value, type) else type(value).__module__
    )  # fmt: skip
    if home in MAIN_NAMES:
        return True
    module = sys.modules.get(home) if isinstance(home, str) else None
    if module is None or not hasattr(module, "__file__") or str(home).partition(".")[0] in FSTORE:
        return False
    return not _is_library(module)


def _is_definition(value: Any) -> bool:
    return isinstance(value, FunctionType | type)


def _is_own(value: Any) -> bool:
    if isinstance(value, FunctionType):
        return not is_installed(value.__globals__)
    home = sys.modules.get(value.__module__)
    return home is not None and home is not builtins and not is_installed(vars(home))
