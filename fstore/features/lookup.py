"""Names that lead to objects, by pickle's rule.

And which modules have a name that means the same elsewhere.
"""

from __future__ import annotations

import functools
import linecache
import sys
import sysconfig
from collections.abc import Mapping
from importlib.machinery import all_suffixes
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any

# What the script's module is called in the process that runs it, and in children that multiprocessing spawns.
MAIN_NAMES = ("__main__", "__mp_main__")
MARK = "__fstore_feature__"  # what @fstore.feature leaves on a function
_INSTALLED = tuple({sysconfig.get_path(place) for place in ("stdlib", "platstdlib", "purelib", "platlib")})


def look_up(module: str | None, qualname: str) -> Any:
    """Find what ``qualname`` is bound to in a module that is imported already; None when nothing is."""
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in qualname.split("."):
        if found is None:
            return None
        try:
            found = getattr(found, part, None)
        except Exception:  # a module or class may answer as it likes
            return None
    return found


def name_of(value: Any) -> tuple[str, str] | None:
    """Return the module and qualified name that lead to this very object, in this process and in others.

    Else None.
    """
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        return None
    if stands_for(look_up(module, qualname)) is not value:
        return None
    return (module, qualname) if is_importable(sys.modules[module]) else None


def stands_for(found: Any) -> Any:
    """Return the function in whose place a local feature stands, below its decorator.

    Other objects as they are.
    """
    return found.func if hasattr(type(found), "held_content") else found


def is_importable(module: ModuleType) -> bool:
    """Tell a module that its name is enough to import from one that only happens to be called so.

    Scripts, notebooks and files that a program loaded under a name of its own
    choice are called the same on every desk: ``__main__``, ``<run_path>``, ``user_module``.
    """
    spec = getattr(module, "__spec__", None)
    if spec is None or str(spec.name) != module.__name__ or spec.name in MAIN_NAMES:
        return False
    if not spec.has_location:
        return bool(spec.origin in {"built-in", "frozen"} or spec.submodule_search_locations)
    suffix = next((end for end in all_suffixes() if str(spec.origin).endswith(end)), None)
    if suffix is None:
        return False
    parts = PurePath(str(spec.origin)[: -len(suffix)]).parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    wanted = spec.name.split(".")
    return list(parts[-len(wanted) :]) == list(wanted)


def is_installed(space: Mapping[str, Any]) -> bool:
    """Tell the globals of a library's module, whose code its version stands for."""
    return str(space.get("__file__", "")).startswith(_INSTALLED)


def is_twin(func: Any, other: Any) -> bool:
    """Tell an old function into which a notebook's autoreload put all parts of the new one."""
    parts = ("__code__", "__globals__", "__defaults__", "__kwdefaults__", "__closure__")
    return (
        isinstance(func, FunctionType)
        and isinstance(other, FunctionType)
        and all(getattr(func, part) is getattr(other, part) for part in parts)
    )


def core_function(func: Any) -> FunctionType | None:
    """Find the function that runs in the end when a callable is called.

    None when none is written in Python.
    """
    seen: set[int] = set()
    while id(func) not in seen:
        seen.add(id(func))
        if isinstance(func, functools.partial):
            func = func.func
        elif isinstance(func, MethodType):
            func = func.__func__
        elif hasattr(func, "__wrapped__"):
            func = func.__wrapped__
        elif callable(func) and not isinstance(func, FunctionType | type):
            func = type(func).__call__
    return func if isinstance(func, FunctionType) else None


def has_text(function: FunctionType) -> bool:
    """Tell whether the text of a function can be read where its code says it stands.

    Also that of a lambda or of a nested function.
    """
    filename, line = function.__code__.co_filename, function.__code__.co_firstlineno
    linecache.checkcache(filename)
    text = linecache.getline(filename, line, function.__globals__)
    return any(word in text for word in ("def", "lambda", "@"))
