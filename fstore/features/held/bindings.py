"""What a callable finds under names, noted before it runs in a caller's process.

A notebook goes on while a computation runs in a thread, or was left behind at its deadline: a cell that runs
meanwhile may bind what the function has yet to look up. What the function's own code binds is its own affair.
"""

from __future__ import annotations

import dis
import functools
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

from fstore.features.held.code import code_identity
from fstore.features.held.parts import content_of
from fstore.features.lookup import MAIN_NAMES, is_installed

_CONTAINERS = (list, tuple, dict)
_MOST = 10_000  # objects; beyond, the rest is believed
_GONE = object()
_STORING_ANY = frozenset({"__dict__", "__setattr__", "exec", "globals", "setattr", "vars"})
_MAKING = frozenset({"__init__", "__new__", "__post_init__"})
_STORING = ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "STORE_NAME", "STORE_ATTR")


_running: dict[int, weakref.ref[Bindings]] = {}


def look_at_running() -> None:
    """Look at what runs now, as each request does.

    What is bound to another object and back again is seen where somebody asks in between.
    """
    for known in list(_running.values()):
        if (bindings := known()) is not None:
            bindings.rebound()


class Bindings:
    """Globals, cells and attributes that a callable reaches, each with the object that it was bound to."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self._globals: list[tuple[Mapping[str, Any], str, Any]] = []
        self._cells: list[tuple[CellType, str, Any]] = []
        self._stored: set[str] = set()
        self._seen = ""
        self._look(func)
        number = id(self)
        _running[number] = weakref.ref(self, lambda _: _running.pop(number, None))

    def rebound(self) -> str:
        """Name what is bound to another object now, but for what the code met stores itself."""
        if self._seen or not self._stored.isdisjoint(_STORING_ANY):
            return self._seen
        found = [name for space, name, value in self._globals if space.get(name, _GONE) is not value]
        found += [name for cell, name, value in self._cells if content_of(cell) is not value]
        self._seen = next((name for name in found if name not in self._stored), "")
        return self._seen

    def _look(self, func: Callable[..., Any]) -> None:
        waiting: list[Any] = [func]
        met: dict[int, Any] = {}  # an id is another object's once its own is gone
        while waiting and len(met) < _MOST:
            value = waiting.pop()
            if id(value) not in met:
                met[id(value)] = value
                waiting += self._parts(value)

    def _parts(self, value: Any) -> Iterator[Any]:
        if isinstance(value, FunctionType):
            if not is_installed(value.__globals__):
                yield from self._of_function(value)
        elif isinstance(value, functools.partial):
            yield from (value.func, *value.args, *value.keywords.values())
        elif isinstance(value, MethodType):
            yield from (value.__func__, value.__self__)
        elif isinstance(value, property):
            yield from (value.fget, value.fset)
        elif isinstance(value, staticmethod | classmethod):
            yield value.__func__
        elif type(value) in _CONTAINERS:
            yield from list(value.values()) if isinstance(value, dict) else list(value)  # others may fill them
        elif isinstance(value, type):
            if _is_own(value):
                yield from self._of_space(vars(value))
        elif _is_own(type(value)):
            yield from self._of_space(_attributes(value))
            yield from type(value).__mro__[:-1]

    def _of_function(self, function: FunctionType) -> Iterator[Any]:
        space, code = function.__globals__, code_identity(function.__code__)
        if function.__name__ not in _MAKING:  # of a new object, not of one that is there
            self._stored |= _stored_by(function.__code__) | (_STORING_ANY & code.attributes)
        for name in code.looked_up(space):
            bound = space.get(name, _GONE)
            self._globals.append((space, name, bound))
            yield bound
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            held = content_of(cell)
            self._cells.append((cell, name, held))
            yield held
        yield from (function.__defaults__, function.__kwdefaults__, function.__dict__)

    def _of_space(self, space: Mapping[str, Any]) -> Iterator[Any]:
        for name, bound in list(space.items()):
            self._globals.append((space, name, bound))
            yield bound


def _attributes(value: Any) -> Mapping[str, Any]:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:  # all in slots
        return {}
    return found if isinstance(found, dict) else {}


def _is_own(cls: type) -> bool:
    """Tell a class that no library wrote any part of."""
    return cls is not object and all(_is_own_module(base.__module__) for base in cls.__mro__[:-1])


def _is_own_module(name: str) -> bool:
    module = sys.modules.get(name)
    if name in MAIN_NAMES or module is None:
        return name in MAIN_NAMES
    return name not in sys.stdlib_module_names and not is_installed(vars(module))


@functools.lru_cache(maxsize=1024)
def _stored_by(code: CodeType) -> frozenset[str]:
    """Name what code binds outside its own variables, nested code included."""
    found = {str(step.argval) for step in dis.get_instructions(code) if step.opname in _STORING}
    nested = (part for part in code.co_consts if isinstance(part, CodeType))
    return frozenset(found.union(*map(_stored_by, nested)))
