"""The digest of a callable and of all that it holds and looks up.

For callables that have no name of their own. Counted are the code, nested code
included, closure cells, defaults, attributes, what it wraps, the arguments of partials,
the state of objects, and the globals that the code names: values by their content,
functions and classes of the same module by theirs, those of importable modules by their
names, modules by theirs; where such a module is no library's, by its text as well.

Where the content of a value cannot be told, ``Untellable`` says which it is.
Two callables of one digest do the same; two that do the same may differ in it.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from fstore.features.held.code import code_identity
from fstore.features.held.globals import is_set_by_somebody, library_patches, names_at_large, patches
from fstore.features.held.library_values import Untellable
from fstore.features.held.own_modules import own_texts
from fstore.features.held.parts import annotation_text, content_of, dispatch_parts, enum_parts, main_once, sorted_items
from fstore.features.held.values import ValueWalk
from fstore.features.lookup import core_function, is_installed, name_of
from fstore.features.outside.changes import Change

_CLASS_MACHINERY = frozenset({
    "__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__annotations__", "__abstractmethods__",
    "_abc_impl", "__orig_bases__", "__parameters__", "__firstlineno__", "__static_attributes__",
    "__annotate__", "__annotate_func__", "__annotations_cache__",
    "__slotnames__",  # which Python notes when an object is first copied or pickled
})  # fmt: skip
_DISPATCHING = functools.singledispatch(lambda value: value).__code__  # type: ignore[attr-defined]


def held_digest(func: Callable[..., Any]) -> str:
    """Digest a callable with all that it holds; 64 hex digits. Raises ``Untellable``."""
    core = core_function(func)
    walk = _HeldWalk(None if core is None else core.__globals__)
    return _digested(walk, lambda: walk.value(func))


def changes_digest(changes: Iterable[Change]) -> str:
    """Digest what was set in modules from outside; raises ``Untellable``."""
    walk = _HeldWalk(None)
    return _digested(walk, lambda: walk.add_changes(changes))


def _digested(walk: _HeldWalk, write: Callable[[], object]) -> str:
    try:
        write()
        walk.add_what_texts_name()
        walk.add_own_modules()
    except RecursionError:
        raise Untellable("it is nested too deeply") from None
    except RuntimeError as exc:  # a dict that another thread fills meanwhile
        raise Untellable(str(exc)) from exc
    return walk.digest()


class _HeldWalk(ValueWalk):
    """Writes functions and classes too, with the globals that they name.

    At the end come the texts of the modules they need.
    """

    def add_own_modules(self) -> None:
        """Write the texts of the author's other modules that were met, and what was set in them from outside."""
        texts, changes = own_texts(self._needs)
        for text in texts:
            self._put("text", text)
        self.add_changes(changes)

    def add_changes(self, changes: Iterable[Change]) -> None:
        """Write what was set in modules from outside."""
        for change in changes:
            self._named_part(change.name, change.value)

    def add_what_texts_name(self) -> None:
        """Write the globals that functions find by texts which they are given.

        Docstrings of classes that were met are such texts too.
        """
        done: set[tuple[int, str]] = set()
        while True:
            more = [
                (function, name)
                for function in self._needs.readers
                for name in sorted(code_identity(function.__code__).names_in(self._needs.texts))
                if name in function.__globals__ and (id(function), name) not in done
            ]
            if not more:
                break
            for function, name in more:
                done.add((id(function), name))
                self._global(function, name)
        if any("__doc__" in code_identity(function.__code__).attributes for function in self._needs.readers):
            self._parts("docs", [cls.__doc__ for cls in self._kept if isinstance(cls, type)])

    def _function(self, function: types.FunctionType) -> None:
        space = function.__globals__
        is_first = len(self._seen) == 1
        if not is_first and space is not self._own and (place := name_of(function)) is not None:
            self._named(place)
            return
        if function.__code__ is _DISPATCHING:
            self._parts("singledispatch", dispatch_parts(function))
            return
        before, self._own = self._own, space if space is self._home or not is_installed(space) else None
        code = code_identity(function.__code__)
        self._put("function", code.digest)
        self._parts("called", [main_once(function.__module__), function.__name__, function.__qualname__])
        self._put("annotations", annotation_text(function))
        self._parts("held", [function.__defaults__, function.__kwdefaults__])
        self._parts("attributes", sorted_items(function.__dict__))
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._named_part(name, content_of(cell))
        names = sorted(code.looked_up(space) | names_at_large(code, space))
        if code.queries or "__doc__" in code.attributes:
            self._needs.readers.append(function)
        self._needs.words |= code.attributes | code.names_in_texts
        for name, part in (*patches(code.attributes), *library_patches(names, space, code.attributes)):
            self._named_part(name, part)
        # What is no global may be a module that the code imports.
        self._needs.modules |= {name for name in (*names, *code.names_in_texts) if name not in space}
        self._put("globals", str(len(names)))
        for name in names:
            self._global(function, name)
        self._own = before

    def _named(self, place: tuple[str, str]) -> None:
        self._parts("named", place)
        self._needs.modules.add(place[0])

    def _global(self, function: types.FunctionType, name: str) -> None:
        space = function.__globals__
        if name not in space:
            known = getattr(function, "__builtins__", {})
            self._put("builtin" if name in known else "absent", name)
            if name in known and is_set_by_somebody(name, known[name]):
                self._named_part(name, known[name])
        elif name == "__name__":
            self._put("name", str(main_once(space[name])))
        else:
            self._named_part(name, space[name])

    def _class(self, cls: type) -> None:
        is_own = self._own is not None and cls.__module__ == self._own.get("__name__")
        if not is_own and (place := name_of(cls)) is not None:
            self._named(place)
            return
        self._put("class", cls.__qualname__)
        self._put("annotations", annotation_text(cls))
        self._parts("bases", [type(cls), *cls.__bases__])
        if issubclass(cls, Enum):
            for kind, parts in enum_parts(cls):
                self._parts(kind, parts)
            return
        names = sorted(vars(cls).keys() - _CLASS_MACHINERY)
        self._put("members", str(len(names)))
        for name in names:
            self._named_part(name, vars(cls)[name])
