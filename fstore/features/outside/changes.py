"""What other code set in the author's modules after these had run.

A text says ``W = 5``, and the process has 9. A notebook that sets a constant of its module of features, or a script
that puts an option there, changes what they return while no text changes. Compared is what a text alone tells:
constants, tables, what is computed of them, defaults, functions and classes, imported names. What a module's own
code counts up or fills is its own affair, and told by its text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from fstore.features.held.parts import CONTAINERS, is_plain, is_told
from fstore.features.lookup import MAIN_NAMES
from fstore.features.outside.definitions import (
    Found,
    Place,
    added_to_class,
    changed_functions,
    foreign_definitions,
    place_of,
    replaced_classes,
)
from fstore.features.outside.first_values import changed_results
from fstore.features.outside.states import expected_state, state_of, written_state
from fstore.features.outside.text_values import TextValues, given_to, text_values
from fstore.features.outside.told_values import MISSING, alike
from fstore.features.outside.watches import Watch
from fstore.features.source.imports import absolute
from fstore.features.source.loaded_modules import LoadedModules
from fstore.features.source.lookups import called_name
from fstore.features.source.module_text import parsed
from fstore.features.source.running_code import is_code_of, is_comparable

_CHANGING_LIBRARIES = frozenset({"builtins", "os", "sys", "time"})  # they bind their names anew themselves
ABSENT = "nothing"


class Change(NamedTuple):
    """A name, dotted from its module on, and what is there now.

    ``is_settled`` tells that nothing but code from outside can have set it, where no text
    that is covered stores into an attribute of this name.
    """

    name: str
    value: Any
    is_settled: bool


class _Module(NamedTuple):
    """A module that ran: its globals, its text, what that says, and the names that count, None for all."""

    name: str
    names: Mapping[str, Any]
    text: str
    said: TextValues
    reached: frozenset[str] | None


class _Own(NamedTuple):
    """All modules that ran, by name, and what their code stores into and hands on."""

    modules: dict[str, _Module]
    covered: set[str]
    stored: set[str]
    attributes: dict[str, set[str]]  # that classes, by their names, set on their objects


_watched: WeakKeyDictionary[LoadedModules, Watch] = WeakKeyDictionary()


def changes_from_outside(loaded: LoadedModules) -> list[Change]:
    """Return what differs from the texts that were digested, in the modules that have run."""
    known = _watched.get(loaded)
    if known is not None and known.holds(loaded):
        return []
    watch = Watch(loaded)
    own = _own_of(loaded)
    hides = any(module.said.hides for module in own.modules.values())
    found: dict[str, Change] = {}
    for module in own.modules.values():
        for name, value, is_settled in _changes_of(module, own, watch):
            stored = not own.stored.isdisjoint(name.split("."))
            if stored and _may_be_filled(value):
                continue
            if module.reached is None and not (is_told(value) or callable(value)):
                continue
            change = Change(f"{module.name}.{name}", value, is_settled and not hides and not stored)
            if change.is_settled or change.name not in found:
                found[change.name] = change
    if not found and not watch.is_over:
        _watched[loaded] = watch
    return list(found.values())


def _own_of(loaded: LoadedModules) -> _Own:
    running = [
        _Module(name, names, text, text_values(parsed(text, name)), reached)
        for name, names, text, reached in loaded.running()
    ]
    own = _Own({module.name: module for module in running}, set(loaded.names()), set(), {})
    for name, names, _, said, _ in running:
        own.stored.update(said.changed)
        for kind, attributes in said.changed_by.items():
            own.attributes.setdefault(kind, set()).update(attributes)
        # Of modules that the digest leaves out nobody asks where their functions come from.
        tops = {
            absolute("." * i.level + i.module, _package_of(name, names)).partition(".")[0]
            for i in said.imported.values()
        }
        own.covered.update({name, str(names.get("__name__")), name.partition(".")[0], *tops})
    return own


def _changes_of(module: _Module, own: _Own, watch: Watch) -> Iterator[tuple[str, Any, bool]]:
    names, said = module.names, module.said
    place = place_of(names, "", said, module.reached)
    yield from _changed_values(place, said, watch)
    yield from _changed_objects(place, said, own, watch)
    yield from changed_results(place, said, own.stored, watch)
    yield from _changed_imports(module, place, own, watch)
    yield from _added_names(module, place, watch)
    comparable = is_comparable(names, str(names.get("__file__", "")))
    file = str(names.get("__file__", ""))

    def is_own_code(function: FunctionType) -> bool:
        return is_code_of(function, module.text, file)

    if comparable:
        yield from foreign_definitions(place, said, own.covered, watch)
        yield from replaced_classes(place, said, watch)
    for owner in said.constants.keys() | said.functions.keys():
        top = owner.partition(".")[0]
        if top and module.reached is not None and top not in module.reached:
            continue
        if top:
            watch.see(names, top, names.get(top, MISSING))
        within = place_of(names, owner, said, None if owner else module.reached)
        yield from _changed_constants(within, said.constants.get(owner, {}), said, watch)
        if comparable:
            definitions = said.functions.get(owner, {})
            yield from changed_functions(within, definitions, is_own_code, watch, may_be_others="*" in said.bound[""])
            if owner in said.named_classes and within.space:
                yield from added_to_class(within, said, watch)


def _changed_constants(place: Place, said: Mapping[str, Any], text: TextValues, watch: Watch) -> Found:
    for name, now, value in place.bound(said):
        if alike(now, value):
            watch.see(place.space, name, now, value)
            continue
        watch.see(place.space, name, now)
        if not place.owner or is_plain(now):  # else a decorator or base class made something of it
            is_handed_on = type(now) is type(value) and type(now) in CONTAINERS and name in text.escaping
            yield place.dotted(name), now, place.is_sure and not is_handed_on


def _changed_values(place: Place, said: TextValues, watch: Watch) -> Found:
    """Yield what differs from an expression of other names, or from all branches.

    Or from what a function of the module sets.
    """
    for name, now, value in place.bound(said.configured):
        watch.see(place.names, name, now)
        if not alike(now, value) and is_plain(now):
            yield name, now, False
    for name, now, values in place.bound(said.choices):
        accepted = [said.tried[name][1]] if name in said.tried and _are_imported(said.tried[name][0]) else values
        watch.see(place.names, name, now)
        if not any(alike(now, value) for value in accepted):
            yield name, now, False
    for name, now, node in place.bound(said.told):
        value = said.teller.expected(node, place.names)
        if value is MISSING or alike(now, value):
            watch.see(place.names, name, now, value)
        else:
            watch.see(place.names, name, now)
            yield name, now, False


def _changed_objects(place: Place, said: TextValues, own: _Own, watch: Watch) -> Found:
    for name, now, call in place.bound(said.objects):
        given = given_to(call, said, place.names)
        if given is None:
            continue
        expected, later = expected_state(called_name(call), now, *given), None
        if expected is None:
            expected, later = _written(now, called_name(call), given, own)
        state = None if expected is None else state_of(now)
        if expected is None or state is None:
            continue
        watch.see(place.names, name, now)
        if alike(state, expected):
            watch.see_object(now, expected)
            continue
        watch.is_over = True
        itself = later
        if itself is None:
            itself = {key for base in type(now).__mro__ for key in own.attributes.get(base.__name__, ())}
        other = {
            key: item
            for key, item in state.items()
            if key not in itself and not (key in expected and alike(item, expected[key]))
        }
        gone = sorted(expected.keys() - state.keys() - itself)
        if name not in own.stored and (other or gone):
            yield name, [other, gone], False


def _written(
    now: Any, made: str, given: tuple[tuple[Any, ...], dict[str, Any]], own: _Own
) -> tuple[dict[str, Any] | None, set[str]]:
    """Return the state that the class's own ``__init__`` writes down.

    With it the attributes that its methods set later.
    """
    kind = type(now)
    module = own.modules.get(kind.__module__)
    if module is None or kind.__name__ != made or kind.__qualname__ not in module.said.makers:
        return None, set()
    teller, names = module.said.teller, module.names
    state = written_state(
        module.said.makers[kind.__qualname__], now, *given, lambda node, values: teller.expected(node, names, values)
    )
    is_told = state is not None and not any(value is MISSING for value in state.values())
    return state if is_told else None, own.stored | module.said.set_later.get(kind.__qualname__, set())


def _changed_imports(module: _Module, place: Place, own: _Own, watch: Watch) -> Found:
    """Yield imported names that stand for something else than the import line says."""
    for name, now, (written, level, attribute) in place.bound(module.said.imported):
        origin = absolute("." * level + written, _package_of(module.name, module.names))
        source = sys.modules.get(origin)
        if attribute == "*" or source is None or origin in _CHANGING_LIBRARIES:
            continue
        watch.see(place.names, name, now)
        meant = (
            [sys.modules.get(f"{origin}.{attribute}"), vars(source).get(attribute, MISSING)] if attribute else [source]
        )
        if any(alike(now, one) for one in meant) or (attribute and attribute not in vars(source)):
            continue
        if origin in own.modules and not _is_settled_there(attribute, own.modules[origin].said):
            continue
        if not any(_is_one(now, one) for one in meant):  # the same function, loaded again
            yield name, now, False


def _is_settled_there(name: str, said: TextValues) -> bool:
    """Tell whether a module binds a name once, so that whoever imported it has what is there."""
    known = said.constants.get("", {}).keys() | said.functions.get("", {}).keys() | said.told.keys() | said.bound.keys()
    return name in known and name not in said.changed


def _is_one(now: Any, other: Any) -> bool:
    place = getattr(now, "__module__", None), getattr(now, "__qualname__", None)
    return None not in place and place == (getattr(other, "__module__", None), getattr(other, "__qualname__", None))


def _added_names(module: _Module, place: Place, watch: Watch) -> Found:
    """Yield names that the text looks up and does not bind, such as builtins.

    And those that it binds and that are gone.
    """
    names, said = module.names, module.said
    watch.see_size(names)
    for name in names.keys() - said.bound[""]:
        now = names[name]
        if name.startswith("__") or name not in said.words or not place.counts(name) or isinstance(now, ModuleType):
            continue
        if "__getattr__" in said.bound[""] and not is_plain(now):
            continue  # which it found when somebody asked for it
        if isinstance(now, Enum) and type(now).__module__ == names.get("__name__"):
            continue  # ``enum.global_enum``
        if "*" not in said.bound[""] and not said.binds_any and (not said.hides or is_told(now)):
            watch.see(names, name, now)
            yield name, now, False
    if names.get("__name__") in MAIN_NAMES or getattr(names.get("__spec__"), "_initializing", False):
        return
    for name in said.constants.get("", {}).keys() | said.functions.get("", {}).keys():
        if name not in names and place.counts(name) and name in said.words:
            yield name, ABSENT, False


def _package_of(name: str, names: Mapping[str, Any]) -> str:
    return name if "__path__" in names else name.rpartition(".")[0]


def _are_imported(modules: Iterable[str]) -> bool:
    return all(module in sys.modules for module in modules)


def _may_be_filled(value: Any) -> bool:
    return type(value) in CONTAINERS or any(hasattr(type(value), name) for name in ("__setitem__", "add", "append"))
