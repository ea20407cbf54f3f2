"""Values that no text tells, as they were when this process first looked at them.

``W = window()`` says what ``W`` is to nobody but who runs it, and neither does a text say what the cells of a function
hold that another one returned. Of such names is known what was there first, in this run of their module: when a
callable of it was wrapped or first asked for, which is mostly before anybody set it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType
from typing import Any, NamedTuple

from fstore.features.held.parts import CONTAINERS, EMPTY, content_of, is_fixed, is_plain
from fstore.features.outside.definitions import Found, Place
from fstore.features.outside.text_values import TextValues
from fstore.features.outside.told_values import MISSING, alike
from fstore.features.outside.watches import Watch

_MOST_PARTS = 1_000  # of a table whose content is looked at; of a larger one it is the table that counts
_MOST_MODULES = 2_000
_seen: dict[int, tuple[Mapping[str, Any], object, dict[str, First]]] = {}


class Cell(NamedTuple):
    """A cell of a function, to be asked like a module for the one name that it is."""

    cell: CellType

    def get(self, name: str, missing: Any, /) -> Any:
        """Return what it holds, whatever the name."""
        del name
        held = content_of(self.cell)
        return missing if held is EMPTY else held


class First(NamedTuple):
    """An object that was bound to a name, a copy of what was in it, and what its cells held."""

    value: Any
    content: Any
    cells: tuple[tuple[Cell, Any], ...]

    def is_as_it_was(self, now: Any) -> bool:
        """Tell whether the same, or the like, is there now."""
        if now is not self.value:
            return bool(alike(now, self.value if self.content is MISSING else self.content))
        if self.content is not MISSING and not alike(now, self.content):
            return False
        return all(alike(cell.get("", MISSING), held) for cell, held in self.cells)


def changed_results(place: Place, said: TextValues, stored: set[str], watch: Watch) -> Found:
    """Yield what is not what it was at the first look, where the text does not tell what that is.

    An object in a name that own code ``stored`` into is the doing of that code.
    """
    for name, now, _ in place.bound(dict.fromkeys(said.computed)):
        if name in said.told and said.teller.expected(said.told[name], place.names) is not MISSING:
            continue
        first = _first_value(place.names, name, now, said.counted)
        watch.see(place.names, name, now, first.content)
        for cell, held in first.cells:
            watch.see(cell, "", held)
        if not first.is_as_it_was(now) and (is_plain(now) or name not in stored):
            yield name, now, False


def _first_value(names: Mapping[str, Any], name: str, now: Any, counted: set[str]) -> First:
    """Return what a name of a module was bound to at the first look since the module ran."""
    run = names.get("__spec__")  # importlib.reload makes a new one
    known = _seen.get(id(names))
    if known is None or known[0] is not names or known[1] is not run:
        if len(_seen) >= _MOST_MODULES:
            _seen.pop(next(iter(_seen)), None)
        known = _seen[id(names)] = names, run, {}
    first = known[2].get(name)
    if first is None:
        first = known[2][name] = First(now, _copied(now), tuple(_cells_of(now, counted)))
    return first


def _copied(value: Any) -> Any:
    if is_fixed(value) or type(value) not in CONTAINERS or not is_plain(value):
        return MISSING
    return copy.deepcopy(value) if _is_small(value) else MISSING


def _is_small(value: Any) -> bool:
    waiting, count = [value], 0
    while waiting and count < _MOST_PARTS:
        part = waiting.pop()
        count += 1
        if type(part) in (set, frozenset):
            waiting += list(part)
        elif type(part) in CONTAINERS:
            waiting += CONTAINERS[type(part)](part)
    return not waiting


def _cells_of(value: Any, counted: set[str]) -> Iterator[tuple[Cell, Any]]:
    """Yield the cells of a function with settings in them.

    One that begins with nothing is a memo to be filled, and what is added to counts something.
    """
    if not isinstance(value, FunctionType):
        return
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        held = content_of(cell)
        if held is not EMPTY and held is not None and is_fixed(held) and name not in counted:
            yield Cell(cell), held
