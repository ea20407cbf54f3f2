"""What a feature was loaded from, and which installed libraries its module leans on, with their versions.

Nothing is decided by it: it is recorded with every entry, and shown.
"""

from __future__ import annotations

import ast
import linecache
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from fstore.features.names import plain_function

log = logging.getLogger("fstore.imports")

MOST_MODULES = 200
_OWN = "fstore"  # recorded by the name it is imported by
_NO_TIME_BEFORE = 315_705_600  # 1980-01-03: images and archives that keep no times have 1970 or 1980


def source_time(func: Callable[..., Any]) -> float | None:
    """Return when the file of a function was last written, in seconds since 1970; None when there is none.

    Call it when the function has just been defined: later the file may be another one.
    """
    function = plain_function(func)
    try:
        written = Path(function.__code__.co_filename).stat().st_mtime if function is not None else 0.0
    except (OSError, ValueError):
        return None
    return written if written > _NO_TIME_BEFORE else None


def imported_libraries(func: Callable[..., Any]) -> Mapping[str, str]:
    """Return the distributions that the function's module imports, with their versions; never fails.

    Imports within functions count, and those of the author's other modules as far as they are
    loaded; what a library imports itself does not.
    """
    function = plain_function(func)
    try:
        return _libraries_of(function) if function is not None else {}
    except Exception as error:  # a computed result is not lost to an environment whose records are broken
        log.warning("cannot tell which libraries %r imports: %s: %s", func, type(error).__name__, error)
        return {}


def version_here(name: str) -> str | None:
    """Return the version of a distribution in this environment, or None when it is not installed."""
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return None


@lru_cache(maxsize=512)
def _libraries_of(function: FunctionType) -> Mapping[str, str]:
    first = sys.modules.get(function.__module__)
    texts = [(function.__code__.co_filename, function.__globals__)]
    seen = {function.__module__}
    found: dict[str, str] = {}
    package = str(function.__globals__.get("__package__") or "")
    waiting = list(_imports(texts[0][0], texts[0][1], package)) + ([first.__name__] if first else [])
    while waiting and len(seen) < MOST_MODULES:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in seen or top == _OWN or top in sys.stdlib_module_names:
            continue
        seen.add(name)
        libraries = _distributions(top)
        found.update(libraries)
        module = sys.modules.get(name)
        if module is not None and (not libraries or top == function.__module__.partition(".")[0]):
            waiting += _imports_of(module)
    return dict(sorted(found.items()))


def _imports_of(module: ModuleType) -> Iterator[str]:
    file = getattr(module, "__file__", None)
    if file is not None and file.endswith(".py"):
        yield from _imports(file, vars(module), module.__package__ or "")


def _imports(file: str, space: dict[str, Any], package: str) -> Iterator[str]:
    """Yield the full names of all modules that a file imports anywhere, and of those that may be attributes of them."""
    try:
        tree = ast.parse("".join(linecache.getlines(file, space)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


@cache
def _distributions(top: str) -> Mapping[str, str]:
    """Return what is installed under an importable name; most are called as they are imported, which is quick to find."""
    direct = version_here(top)
    if direct is not None:
        return {top: direct}
    if not _is_installed(top):
        return {}
    names = sorted(set(_by_import_name().get(top, [])))
    return {name: known for name in names if (known := version_here(name)) is not None}


def _is_installed(top: str) -> bool:
    """Tell a library from a folder of the author's: it lies among others that are registered as installed."""
    module = sys.modules.get(top)
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    # Not loaded here: nobody knows where it would come from.
    return module is None or any(
        next(Path(place).parent.glob("*.dist-info"), None) or next(Path(place).parent.parent.glob("*.dist-info"), None)
        for place in places
        if place
    )


@cache
def _by_import_name() -> Mapping[str, list[str]]:
    return packages_distributions()
