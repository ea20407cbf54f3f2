"""Functions and classes of the author's modules that are not those of their texts any more.

Or that came from elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, NamedTuple

from fstore.features.lookup import MARK, core_function, is_installed, stands_for
from fstore.features.outside.text_values import Definition, TextValues
from fstore.features.outside.told_values import MISSING, alike
from fstore.features.outside.watches import Watch
from fstore.features.source.own_code import FSTORE

_KNOWN = FSTORE | sys.stdlib_module_names
Found = Iterator[tuple[str, Any, bool]]
"""A dotted name, what is there now, and whether nothing but code from outside can have put it there."""


class Place(NamedTuple):
    """A module or a class of it: what is bound there, and which names count (None for all).

    ``is_sure`` says that it is as it was written.
    """

    owner: str
    names: Mapping[str, Any]
    space: Mapping[str, Any]
    wanted: frozenset[str] | None
    is_sure: bool

    def dotted(self, name: str) -> str:
        """Return a name as it is written below the module."""
        return f"{self.owner}.{name}" if self.owner else name

    def counts(self, name: str) -> bool:
        """Tell whether the feature may look the name up here."""
        return self.wanted is None or name in self.wanted

    def bound(self, said: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """Yield the names that count, what is there, and what the text says.

        What is not there yet is not imported yet.
        """
        for name, value in said.items():
            if self.counts(name) and (now := self.space.get(name, MISSING)) is not MISSING:
                yield name, now, value


def place_of(names: Mapping[str, Any], owner: str, said: TextValues, wanted: frozenset[str] | None) -> Place:
    """Find a module (``""``) or a class of it by its dotted name."""
    if not owner:
        return Place(owner, names, names, wanted, is_sure=True)
    cls: Any = names.get(owner.partition(".")[0])
    for part in owner.split(".")[1:]:
        cls = vars(cls).get(part) if isinstance(cls, type) else None
    if not isinstance(cls, type) or type(cls) is not type:  # replaced, or its metaclass makes what it likes of its body
        return Place(owner, names, {}, wanted, is_sure=False)
    return Place(owner, names, vars(cls), wanted, is_sure=owner in said.plain_classes)


def changed_functions(
    place: Place,
    said: Mapping[str, Definition],
    is_own_code: Callable[[FunctionType], bool],
    watch: Watch,
    *,
    may_be_others: bool,
) -> Found:
    """Yield functions that were put in the place of those that the text defines.

    With them those that were changed where they are. ``may_be_others`` where a star may have put a faster one in a
    function's place.
    """
    for name, now, definition in place.bound(said):
        watch.see(place.space, name, now)
        full, written = place.dotted(name), place.dotted(definition.name)
        inner = _below(now) if place.owner or not definition.is_bare else now
        if type(inner) is FunctionType and inner.__globals__ is place.names and inner.__qualname__ == written:
            watch.see_function(inner, definition.defaults)
            yield from _changes_of(inner, definition, written, is_own_code)
        elif may_be_others and not place.owner and not isinstance(now, FunctionType):
            continue
        elif definition.is_bare and (not place.owner or isinstance(inner, FunctionType)):
            yield full, now, place.is_sure and not hasattr(now, "__wrapped__")


def replaced_classes(place: Place, said: TextValues, watch: Watch) -> Found:
    """Yield classes that stand where the text of a module defines others."""
    for owner in said.named_classes:
        if "." in owner or not place.counts(owner) or (now := place.space.get(owner, MISSING)) is MISSING:
            continue
        watch.see(place.space, owner, now)
        module = place.names.get("__name__")
        if isinstance(now, type) and (now.__module__, now.__qualname__) != (module, owner):
            yield owner, now, False


def added_to_class(place: Place, said: TextValues, watch: Watch) -> Found:
    """Yield what a class has that its text does not bind, and that somebody looks up."""
    watch.see_size(place.space)
    for name in place.space.keys() - said.bound.get(place.owner, set()):
        if name in said.words and not name.startswith("_"):
            now = place.space[name]
            if isinstance(now, MemberDescriptorType | GetSetDescriptorType):
                continue  # its slots
            inner = _below(now)
            if not isinstance(inner, FunctionType) or inner.__globals__ is not place.names:
                yield place.dotted(name), now, False


def foreign_definitions(place: Place, said: TextValues, covered: set[str], watch: Watch) -> Found:
    """Yield functions and classes that are no library's and of no module that the digest covers."""
    for name, value in list(place.names.items()):
        if not place.counts(name) or name.startswith("__"):
            continue
        now = stands_for(value)
        inner = now if isinstance(now, type) else core_function(now) if callable(now) else None
        if inner is None or not _is_foreign(inner, place.names, covered):
            continue
        watch.see(place.names, name, value)
        if name in said.bound[""] or name in said.words:
            yield name, now, False


def _is_foreign(found: FunctionType | type, names: Mapping[str, Any], covered: set[str]) -> bool:
    space = found.__globals__ if isinstance(found, FunctionType) else vars(sys.modules.get(found.__module__, sys))
    home = str(space.get("__name__") if isinstance(found, FunctionType) else found.__module__)
    if space is names or is_installed(space) or home in covered or home.partition(".")[0] in _KNOWN:
        return False
    return home in sys.modules


def _below(value: Any) -> Any:
    """Return the function in a method or property, and below what wraps it."""
    value = stands_for(value)
    value = getattr(value, "__func__", getattr(value, "fget", value))
    if isinstance(value, type):
        return value
    return core_function(value) if callable(value) else value


def _changes_of(now: FunctionType, said: Definition, name: str, is_own_code: Callable[[FunctionType], bool]) -> Found:
    held = now.__defaults__, now.__kwdefaults__
    if (said.is_bare and now.__code__.co_qualname != name) or not is_own_code(now):
        yield name, now.__code__, False
    elif any(each is not MISSING and not alike(have, each) for have, each in zip(held, said.defaults, strict=True)):
        yield name, held, False
    elif said.is_bare and (added := {key: item for key, item in now.__dict__.items() if key != MARK}):
        yield name, added, False
