"""What other code set in the author's modules after these had run: a text says ``W = 5``, and the process has 9.

A notebook that sets a constant of its module of features, or a script that puts an option
there, changes what they return while no text changes. Compared is what a text alone tells:
constants, tables, defaults, functions and classes that are bound once. What a module's own
code counts up or fills is its own affair, and told by its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from fstore.features.held.parts import CONTAINERS, PLAIN
from fstore.features.held.states import expected_state
from fstore.features.held.text_values import MISSING, TextValues, equal, text_values
from fstore.features.lookup import MARK
from fstore.features.source.loaded_modules import LoadedModules
from fstore.features.source.module_text import parsed
from fstore.features.source.running_code import is_comparable


class Change(NamedTuple):
    """A name, dotted from its module on, and what is there now.

    ``is_settled`` tells that nothing but code from outside can have set it, where no text
    that is covered stores into an attribute of this name.
    """

    name: str
    value: Any
    is_settled: bool


class _Own(NamedTuple):
    """What the code of all modules stores into: names, and attributes that classes, by their names, set on their objects."""

    names: set[str]
    attributes: dict[str, set[str]]


class _Watch:
    """What was found to be as the texts say. While the same objects are there it still is, and need not be compared anew."""

    def __init__(self, loaded: LoadedModules) -> None:
        self._runs = loaded.count()
        self._bound: list[tuple[Mapping[str, Any], str, Any]] = []
        self._filled: list[tuple[Any, Any]] = []
        self._functions: list[tuple[FunctionType, Any, Any, int]] = []
        self.is_over = False  # something is another already, if only by the module's own doing

    def see(self, space: Mapping[str, Any], name: str, value: Any, said: Any = MISSING) -> None:
        """Note what is bound; what can change within is compared with what the text says."""
        self._bound.append((space, name, value))
        if said is not MISSING and not _is_fixed(said):
            self._filled.append((value, said))

    def see_function(self, function: FunctionType, said: tuple[Any, Any]) -> None:
        """Note a function with its defaults and attributes."""
        held = function.__defaults__, function.__kwdefaults__
        self._functions.append((function, *held, len(function.__dict__)))
        self._filled += [
            (now, each) for now, each in zip(held, said, strict=True) if each is not MISSING and not _is_fixed(each)
        ]

    def see_object(self, value: Any, said: dict[str, Any]) -> None:
        """Note an object with its attributes."""
        self._filled.append((vars(value), said))

    def holds(self, loaded: LoadedModules) -> bool:
        """Tell whether nothing can have changed since."""
        if self._runs != loaded.count():
            return False
        for space, name, value in self._bound:
            if space.get(name, MISSING) is not value:
                return False
        for function, defaults, keywords, attributes in self._functions:
            if (
                function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keywords
                or len(function.__dict__) != attributes
            ):
                return False
        return all(equal(now, said) for now, said in self._filled)


_watched: WeakKeyDictionary[LoadedModules, _Watch] = WeakKeyDictionary()


def changes_from_outside(loaded: LoadedModules) -> list[Change]:
    """Return what differs from the texts that were digested, in the modules that have run."""
    known = _watched.get(loaded)
    if known is not None and known.holds(loaded):
        return []
    watch = _Watch(loaded)
    running = [
        (name, names, text_values(parsed(text, name)), reached) for name, names, text, reached in loaded.running()
    ]
    own = _Own(set(), {})
    for _, _, said, _ in running:
        own.names.update(said.changed)
        for kind, attributes in said.changed_by.items():
            own.attributes.setdefault(kind, set()).update(attributes)
    hides = any(said.hides for _, _, said, _ in running)
    found: list[Change] = []
    for module, names, said, reached in running:
        for change in _changes_of(names, said, reached, own, watch):
            stored = not own.names.isdisjoint(change.name.split("."))
            if (stored and type(change.value) in CONTAINERS) or (reached is None and not _is_told(change.value)):
                continue
            found.append(
                Change(f"{module}.{change.name}", change.value, change.is_settled and not hides and not stored)
            )
    if not found and not watch.is_over:
        _watched[loaded] = watch
    return found


def _changes_of(
    names: Mapping[str, Any], said: TextValues, reached: frozenset[str] | None, own: _Own, watch: _Watch
) -> Iterator[Change]:
    for name, value in said.configured.items():
        if reached is None or name in reached:
            now = names.get(name, MISSING)
            watch.see(names, name, now)
            if now is not MISSING and not equal(now, value) and _is_plain(now):
                yield Change(name, now, is_settled=False)
    for name, (made, given, named) in said.objects.items():
        if reached is None or name in reached:
            yield from _changed_object(
                name, names.get(name, MISSING), expected_state(made, names.get(name), given, named), own, watch
            )
    comparable = is_comparable(names, str(names.get("__file__", "")))
    for owner in said.constants.keys() | said.functions.keys():
        if owner and reached is not None and owner not in reached:
            continue
        if owner:
            watch.see(names, owner, names.get(owner, MISSING))
        place = _place_of(names, owner, said, None if owner else reached)
        yield from _changed_constants(place, said.constants.get(owner, {}), watch)
        if comparable:
            yield from _changed_functions(place, said.functions.get(owner, {}), watch)


def _changed_object(name: str, now: Any, expected: dict[str, Any] | None, own: _Own, watch: _Watch) -> Iterator[Change]:
    if expected is None:
        return
    state = vars(now)
    if equal(state, expected):
        watch.see_object(now, expected)
        return
    watch.is_over = True
    itself = {key for base in type(now).__mro__ for key in own.attributes.get(base.__name__, ())}
    other = {
        key: item
        for key, item in state.items()
        if key not in itself and not (key in expected and equal(item, expected[key]))
    }
    gone = sorted(expected.keys() - state.keys() - itself)
    if name not in own.names and (other or gone):
        yield Change(name, [other, gone], is_settled=False)


class _Place(NamedTuple):
    """A module or a class of it: what is bound there, which names count (None for all), and whether it is as it was written."""

    owner: str
    names: Mapping[str, Any]
    space: Mapping[str, Any]
    wanted: frozenset[str] | None
    is_sure: bool

    def dotted(self, name: str) -> str:
        """Return a name as it is written below the module."""
        return f"{self.owner}.{name}" if self.owner else name

    def bound(self, said: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """Yield the names that count, what is there, and what the text says; what is not there yet is not imported yet."""
        for name, value in said.items():
            if (self.wanted is None or name in self.wanted) and (now := self.space.get(name, MISSING)) is not MISSING:
                yield name, now, value


def _place_of(names: Mapping[str, Any], owner: str, said: TextValues, wanted: frozenset[str] | None) -> _Place:
    if not owner:
        return _Place(owner, names, names, wanted, is_sure=True)
    cls = names.get(owner)
    if not isinstance(cls, type) or type(cls) is not type:  # replaced, or its metaclass makes what it likes of its body
        return _Place(owner, names, {}, wanted, is_sure=False)
    return _Place(owner, names, vars(cls), wanted, is_sure=owner in said.plain_classes)


def _changed_constants(place: _Place, said: Mapping[str, Any], watch: _Watch) -> Iterator[Change]:
    for name, now, value in place.bound(said):
        if equal(now, value):
            watch.see(place.space, name, now, value)
            continue
        watch.see(place.space, name, now)
        if not place.owner or _is_plain(now):  # else a decorator or base class made something of it
            yield Change(place.dotted(name), now, place.is_sure)


def _changed_functions(place: _Place, said: Mapping[str, tuple[Any, Any]], watch: _Watch) -> Iterator[Change]:
    for name, now, defaults in place.bound(said):
        watch.see(place.space, name, now)
        full = place.dotted(name)
        if type(now) is FunctionType and now.__globals__ is place.names and now.__qualname__ == full:
            watch.see_function(now, defaults)
            yield from _changes_of_function(now, defaults, full)
        elif not place.owner or isinstance(now, FunctionType):
            yield Change(full, now, place.is_sure and not hasattr(now, "__wrapped__"))


def _changes_of_function(now: FunctionType, said: tuple[Any, Any], name: str) -> Iterator[Change]:
    held = now.__defaults__, now.__kwdefaults__
    if any(each is not MISSING and not equal(have, each) for have, each in zip(held, said, strict=True)):
        yield Change(name, held, is_settled=False)
    elif added := {key: item for key, item in now.__dict__.items() if key != MARK}:
        yield Change(name, added, is_settled=False)


def _is_plain(value: Any) -> bool:
    """Tell a value whose content is all there is to it."""
    try:
        return _consists_of_plain(value)
    except RecursionError:
        return True  # it counts, and whoever digests it tells why that cannot be


def _consists_of_plain(value: Any) -> bool:
    if type(value) in PLAIN:
        return True
    parts: Iterable[Any] = CONTAINERS[type(value)](value) if type(value) in CONTAINERS else ()
    if type(value) in {set, frozenset}:
        parts = value
    elif type(value) not in CONTAINERS:
        return False
    return all(map(_consists_of_plain, list(parts)))


def _is_fixed(value: Any) -> bool:
    """Tell a value of constants within which nothing can change."""
    return type(value) in PLAIN or (isinstance(value, tuple | frozenset) and all(map(_is_fixed, value)))


def _is_told(value: Any) -> bool:
    """Tell what counts in modules of which any name may be meant: no connection that an application puts there."""
    return isinstance(value, FunctionType | type) or _is_plain(value)
