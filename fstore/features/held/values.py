"""Values by their content, one after the other into a digest: each part with its kind and length.

What functions and classes are made of is written by whoever walks through these (``digests``).
"""

from __future__ import annotations

import copyreg
import logging
import types
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

from blake3 import blake3

from fstore.features.held.library_values import Untellable, is_library_value, pickled_into, pickles_itself
from fstore.features.held.own_modules import Needs
from fstore.features.held.parts import (
    CALLABLES,
    CONTAINERS,
    EMPTY,
    PLAIN,
    collection_parts,
    compiled_parts,
    without_mark,
)
from fstore.features.lookup import is_importable, is_installed

_FORMAT = "fstore-held-2"


class ValueWalk(ABC):
    """Writes one object after the other into a digest.

    What has to be followed afterwards is noted in ``needs``.
    """

    def __init__(self, home: Mapping[str, Any] | None, needs: Needs | None = None) -> None:
        self._digest = blake3(_FORMAT.encode())
        self._needs = needs if needs is not None else Needs()
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # an id is another object's once its own is gone
        self._open: set[int] = set()
        self._home = home
        # The module whose functions and classes are counted by content now; a library's are known by their names.
        self._own = None if home is None or is_installed(home) else home

    def digest(self) -> str:
        return self._digest.hexdigest()

    def value(self, value: Any) -> None:
        """Write one value with its exact type."""
        kind = type(value)
        if (plain := PLAIN.get(kind)) is not None:
            self._put(kind.__name__, plain(value))
            if kind is str:
                self._needs.texts.add(value)
        elif (container := CONTAINERS.get(kind)) is not None:
            with self._inside(value):
                self._parts(kind.__name__, container(value))
        elif kind in {set, frozenset}:
            self._parts(kind.__name__, sorted(self._alone(item) for item in value))
        elif isinstance(value, Enum):
            self._parts("enum", [kind, value.name, None if value.name else value.value])
        elif (collected := collection_parts(value)) is not None:
            with self._inside(value):
                self._parts(f"{kind.__module__}.{kind.__qualname__}", collected)
        elif is_library_value(kind):
            self._put(f"{kind.__module__}:{kind.__qualname__}", b"")
            self._needs.modules |= pickled_into(self._digest, value)
        elif isinstance(value, logging.Logger):
            self._put("logger", value.name)  # says things, changes none
        else:
            self._identity(value)

    def _identity(self, value: Any) -> None:
        """Write what is itself rather than equal to something.

        A second mention refers to the first, so cycles end.
        """
        if (number := self._seen.get(id(value))) is not None:
            self._put("seen", number.to_bytes(8, "big"))
            return
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)
        if isinstance(value, types.ModuleType):
            if not is_importable(value):
                raise Untellable(f"the module {value.__name__}, which no import finds")
            self._put("module", value.__name__)
            self._needs.modules.add(value.__name__)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif (parts := CALLABLES.get(type(value))) is not None:
            self._parts(type(value).__name__, parts(value))
        elif (held := getattr(type(value), "held_content", None)) is not None:
            self._parts("held", held(value))
        elif (compiled := compiled_parts(value)) is not None:
            self._parts("compiled", compiled)
        else:
            self._instance(value)

    def _instance(self, value: Any) -> None:
        kind = type(value)
        if kind is object or pickles_itself(kind):
            raise Untellable(f"{kind.__module__}.{kind.__qualname__}")
        try:
            make, arguments, *state = value.__reduce_ex__(4)
        except (TypeError, ValueError, AttributeError) as exc:
            raise Untellable(f"{kind.__module__}.{kind.__qualname__}: {exc}") from exc
        if make is not copyreg.__newobj__:  # type: ignore[attr-defined]
            raise Untellable(f"{kind.__module__}.{kind.__qualname__}")
        content, items, pairs = (*state, None, None, None)[:3]
        flat = [part for pair in pairs or () for part in pair]
        self._parts("instance", [kind, *arguments[1:], without_mark(content, kind), list(items or ()), flat])

    @abstractmethod
    def _function(self, function: types.FunctionType) -> None:
        """Write a function: its name where that is enough, else what it is made of."""

    @abstractmethod
    def _class(self, cls: type) -> None:
        """Write a class the same way."""

    def _named_part(self, name: str, part: Any) -> None:
        self._put("name", name)
        if part is EMPTY:
            raise Untellable(f"{name} has no value yet")
        try:
            self.value(part)
        except Untellable as exc:
            raise Untellable(f"{name}: {exc}") from exc

    def _parts(self, kind: str, parts: Iterable[Any]) -> None:
        listed = list(parts)
        self._put(kind, len(listed).to_bytes(8, "big"))
        for part in listed:
            self.value(part)

    def _put(self, kind: str, content: str | bytes) -> None:
        encoded = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        self._digest.update(f"{kind}:{len(encoded)}:".encode() + encoded)

    def _alone(self, item: Any) -> str:
        walk = type(self)(self._home if self._own is None else self._own, self._needs)
        walk.value(item)
        return walk.digest()

    @contextmanager
    def _inside(self, container: Any) -> Iterator[None]:
        if id(container) in self._open:
            raise Untellable(f"a {type(container).__name__} that contains itself")
        self._open.add(id(container))
        yield
        self._open.discard(id(container))
