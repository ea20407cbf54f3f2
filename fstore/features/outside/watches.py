"""What was found to be as the texts say.

While the same objects are there it still is, and need not be compared anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from types import FunctionType
from typing import Any, Protocol

from fstore.features.held.parts import is_fixed
from fstore.features.outside.states import state_of
from fstore.features.outside.told_values import MISSING, alike
from fstore.features.source.loaded_modules import LoadedModules


class Space(Protocol):
    """A module, a class or a cell: what is bound there is asked for by name."""

    def get(self, name: str, missing: Any, /) -> Any:
        """Return what is bound."""
        ...


class Watch:
    """Names with the objects that they were bound to.

    And tables, objects and functions with what was in them.
    """

    def __init__(self, loaded: LoadedModules) -> None:
        self._runs = loaded.count()
        self._bound: list[tuple[Space, str, Any]] = []
        self._sizes: list[tuple[Mapping[str, Any], int]] = []
        self._filled: list[tuple[Any, Any]] = []
        self._tables: list[tuple[Any, int, list[Any]]] = []
        self._objects: list[tuple[Any, dict[str, Any]]] = []
        self._functions: list[tuple[FunctionType, Any, Any, Any, int]] = []
        self.is_over = False  # something is another already, if only by the module's own doing

    def see(self, space: Space, name: str, value: Any, said: Any = MISSING) -> None:
        """Note what is bound; what can change within is compared with what the text says."""
        self._bound.append((space, name, value))
        if said is not MISSING and not is_fixed(said):
            self._fill(value, said)

    def see_size(self, space: Mapping[str, Any]) -> None:
        """Note how much is bound in a module or class."""
        self._sizes.append((space, len(space)))

    def see_function(self, function: FunctionType, said: tuple[Any, Any]) -> None:
        """Note a function with its code, defaults and attributes."""
        held = function.__defaults__, function.__kwdefaults__
        self._functions.append((function, function.__code__, *held, len(function.__dict__)))
        for now, each in zip(held, said, strict=True):
            if each is not MISSING and not is_fixed(each):
                self._fill(now, each)

    def _fill(self, value: Any, said: Any) -> None:
        """Note a table or list.

        One of things that cannot change is as it was while the same things are in it.
        """
        parts = [*value, *value.values()] if type(value) is dict else list(value) if type(value) is list else None
        if parts is not None and all(isinstance(part, FunctionType | type) or is_fixed(part) for part in parts):
            self._tables.append((value, len(value), parts))
        else:
            self._filled.append((value, said))

    def see_object(self, value: Any, said: dict[str, Any]) -> None:
        """Note an object with its attributes."""
        self._objects.append((value, said))

    def holds(self, loaded: LoadedModules) -> bool:
        """Tell whether nothing can have changed since."""
        return (
            self._runs == loaded.count()
            and all(space.get(name, MISSING) is value for space, name, value in self._bound)
            and all(len(space) == size for space, size in self._sizes)
            and all(map(_is_as_it_was, self._functions))
            and all(map(_holds_the_same, self._tables))
            and all(alike(now, said) for now, said in self._filled)
            and all(alike(state_of(value), said) for value, said in self._objects)
        )


def _is_as_it_was(noted: tuple[FunctionType, Any, Any, Any, int]) -> bool:
    function, code, defaults, keywords, attributes = noted
    return (
        function.__code__ is code
        and function.__defaults__ is defaults
        and function.__kwdefaults__ is keywords
        and len(function.__dict__) == attributes
    )


def _holds_the_same(noted: tuple[Any, int, list[Any]]) -> bool:
    table, size, parts = noted
    if len(table) != size or not all(map(is_, table, parts)):
        return False
    return size == len(parts) or all(map(is_, table.values(), parts[size:]))
