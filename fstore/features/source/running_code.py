"""Whether the code that runs is the code of the text that was read.

It is not when a file was edited after its import, while its imports ran, or
without a new time stamp, so that Python took an old ``.pyc`` for current.
While a module is being imported its whole code is compared. Of one that was
imported before, Python keeps its functions, so those are compared, with the
``.pyc`` and, where the file is younger than this process, with plain constants.
Import hooks that rewrite code (assertions of tests, type checkers) make
modules that cannot be compared; these are believed.
"""

from __future__ import annotations
import __future__

import ast
import os
import sys
import time
import zipimport
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from fstore.features.source.compiled_code import check_cached, codes_by_name, compiled, is_same, same_code
from fstore.features.source.module_source import ModuleSource
from fstore.features.source.module_text import SourceUnavailable, parsed

_STARTED_NS = time.time_ns()
# What is run by exec() in a module of its own inherits these from who runs it.
_FUTURE = __future__.annotations.compiler_flag | __future__.barry_as_FLUFL.compiler_flag
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_compared: dict[int, tuple[CodeType, str]] = {}  # code of modules that were found to be these texts


def check_module(names: Mapping[str, Any], file: str, text: str, name: str) -> bool:
    """Compare a module that was or is being imported with a text; ``SourceUnavailable`` when they differ.

    Returns whether all of it could be compared.
    """
    if not is_comparable(names, file):
        return True
    running = _running_module(names, file)
    if running is not None:
        if _compared.get(id(running)) != (running, text):
            if not same_code(running, compiled(text, file, running.co_flags & _FUTURE)):
                raise _differs(name, file)
            _compared[id(running)] = running, text
        return True
    check_cached(file, compiled(text, file), name)
    if not all(is_code_of(function, text, file) for function in _functions(names, file)):
        raise _differs(name, file)
    if _is_young(file) and (changed := _changed_constant(names, parsed(text, name))):
        raise SourceUnavailable(
            f"{name} runs with another {changed} than {file} says: it was set from outside, or the file was edited "
            "after its import"
        )
    return False


def check_function(function: FunctionType, text: str, name: str) -> None:
    """Compare one function with the text of its module, unless a decorator may have rewritten it."""
    file = function.__code__.co_filename
    if not is_comparable(function.__globals__, file):
        return
    if not is_code_of(function, text, file):
        raise _differs(name, file)


def is_comparable(names: Mapping[str, Any], file: str) -> bool:
    """Tell a module that runs as its text says from one that an import hook may have rewritten."""
    loader = names.get("__loader__")
    if loader is None or type(loader) in (SourceFileLoader, zipimport.zipimporter):
        return os.path.isfile(file) or type(loader) is zipimport.zipimporter  # noqa: PTH113 no path in a shell
    return names.get("__name__") == "__main__" and os.path.isfile(file)  # noqa: PTH113


def _running_module(names: Mapping[str, Any], file: str) -> CodeType | None:
    """Find the code of a module that is being imported further down this thread's stack."""
    frame = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if frame.f_globals is names and code.co_name == "<module>" and code.co_filename == file:
            return code
        frame = frame.f_back  # type: ignore[assignment]
    return None


def is_code_of(function: FunctionType, text: str, file: str) -> bool:
    """Tell whether a function is one of the text.

    Or one whose code a decorator of somebody's may have rewritten.
    """
    running = function.__code__
    name = running.co_qualname
    if any(name == rewritten or name.startswith(f"{rewritten}.") for rewritten in _rewritten(parsed(text, file))):
        return True
    candidates = codes_by_name(compiled(text, file, running.co_flags & _FUTURE)).get(name)
    if candidates is None:
        return not _is_young(file)  # Vanished from the text since its import, or made by code that renames.
    return any(same_code(running, code) for code in candidates)


@lru_cache(maxsize=256)
def _rewritten(source: ModuleSource) -> frozenset[str]:
    """Name the definitions whose decorators are not known to leave code as it is."""
    named: set[str] = set()

    def look(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if not all(source.inert.is_plain_decorator(decorator) for decorator in child.decorator_list):
                    named.add(f"{prefix}{child.name}")
                if isinstance(child, ast.ClassDef):
                    look(child, f"{prefix}{child.name}.")
            else:
                look(child, prefix)

    look(source.tree, "")
    return frozenset(named)


def _functions(names: Mapping[str, Any], file: str) -> Iterator[FunctionType]:
    """Yield the functions and methods of a module, whatever wraps them."""
    waiting = [value for value in list(names.values()) if isinstance(value, type | FunctionType) or _wrapped(value)]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType) and value.__globals__ is names and value.__code__.co_filename == file:
            yield value
        if isinstance(value, type) and value.__module__ == names.get("__name__"):
            waiting += vars(value).values()
        elif (inner := _wrapped(value)) is not None:
            waiting.append(inner)


def _wrapped(value: Any) -> Any:
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return vars(value).get("__wrapped__") if isinstance(value, FunctionType) else None


def _is_young(file: str) -> bool:
    try:
        return Path(file).stat().st_ctime_ns > _STARTED_NS
    except OSError:
        return False


def _changed_constant(names: Mapping[str, Any], source: ModuleSource) -> str:
    """Name a plain constant of the text that has another value in the module; empty when there is none."""
    if "*" in source.by_name or source.all_lookups.any_name:
        return ""  # The module itself may bind names that the text does not show.
    for name, places in source.by_name.items():
        match [source.statements[place] for place in places]:
            case [ast.Assign(targets=[ast.Name()], value=ast.Constant(value=value))] if isinstance(value, _PLAIN):
                if name in names and not is_same(names[name], value):
                    return name
            case _:
                pass
    return ""


def _differs(name: str, file: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"the code of {name} that runs here is not that of {file}: the file was edited after or during its import; "
        "start the process again"
    )
