"""What values, containers and callables of Python's own kinds consist of."""

from __future__ import annotations

import collections
import functools
import inspect
import struct
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

import numpy as np

from fstore.features.held.code import code_identity
from fstore.features.held.library_values import Untellable, is_library_value
from fstore.features.lookup import MAIN_NAMES, MARK, name_of

EMPTY = object()


def content_of(cell: types.CellType) -> Any:
    """Return what a cell holds, or ``EMPTY`` while it holds nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return EMPTY


def annotation_text(annotated: Any) -> str:
    """Write the annotations of a function or class, which decorators and code may read."""
    try:
        found = inspect.get_annotations(annotated)
    except Exception:  # later Pythons evaluate them now
        return ""
    return repr({name: getattr(kind, "__qualname__", None) or str(kind) for name, kind in found.items()})


def main_once(module: str | None) -> str | None:
    """Name a module, the script's always alike.

    Children that multiprocessing spawns know the script by another name.
    """
    return MAIN_NAMES[0] if module in MAIN_NAMES else module


def sorted_items(space: Mapping[str, Any]) -> list[Any]:
    """List names and values by name."""
    return [part for name in sorted(space) if name != MARK for part in (name, space[name])]


def without_mark(state: Any, kind: type = object) -> Any:
    """Return an object's state without what a registration left there.

    Nor is a calendar of pandas' part of it that was looked at.
    """
    if not isinstance(state, dict):
        return state
    is_calendar = any(base.__module__.startswith("pandas.") and "_cache" in vars(base) for base in kind.__mro__)
    gone = {MARK, "_cache"} if is_calendar else {MARK}
    return {name: item for name, item in state.items() if name not in gone}


def enum_parts(cls: type[Enum]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the members of an enumeration, what else its body says, and what was set on either later."""
    members = dict(cls.__members__)
    yield "members", [part for name, member in members.items() for part in (name, member.value)]
    for name, member in members.items():
        if held := sorted_items({key: item for key, item in vars(member).items() if key not in vars(_Plain.MEMBER)}):
            yield name, held
    made = vars(_Plain).keys() | members.keys()
    own = {name: part for name, part in vars(cls).items() if name not in made or _is_method_of(cls, part)}
    yield "methods", sorted_items(own)


class _Plain(Enum):
    MEMBER = 1


def _is_method_of(cls: type, part: Any) -> bool:
    """Tell what is written in a class body from what its metaclass put there."""
    function = getattr(part, "__func__", getattr(part, "fget", part))
    return isinstance(function, types.FunctionType) and function.__module__ == cls.__module__


def collection_parts(value: Any) -> list[Any] | None:
    """Return what a container of ``collections`` holds, where its pickle does not do.

    It may not tell that, or tell it differently in each process. Its pickle tells plain values, as long as there
    are no sets among them.
    """
    kind = type(value)
    if kind not in _COLLECTIONS or _is_told_by_pickle(value):
        return None
    held = list(value) if kind is collections.deque else [part for item in value.items() for part in item]
    return [getattr(value, "maxlen", None), getattr(value, "default_factory", None), *held]


_COLLECTIONS = (collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque)


def _is_told_by_pickle(value: Any, depth: int = 8) -> bool:
    kind = type(value)
    if kind in PLAIN or depth == 0:
        return depth > 0
    if kind in _COLLECTIONS and getattr(value, "default_factory", None) not in {
        None,
        int,
        float,
        str,
        list,
        dict,
        set,
        bool,
    }:
        return False
    if isinstance(value, Mapping):
        return all(_is_told_by_pickle(part, depth - 1) for item in list(value.items()) for part in item)
    if kind in (list, tuple, collections.deque):
        return all(_is_told_by_pickle(part, depth - 1) for part in list(value))
    return kind not in (set, frozenset) and not isinstance(value, types.FunctionType | type) and is_library_value(kind)


_DISPATCH_PARTS = frozenset(vars(functools.singledispatch(lambda value: value)))


def dispatch_parts(function: Any) -> list[Any]:
    """Return the implementations of a dispatching function, and what was set on it."""
    held = {name: part for name, part in vars(function).items() if name not in _DISPATCH_PARTS}
    return [*(part for item in function.registry.items() for part in item), *sorted_items(held)]


def _builtin_parts(function: types.BuiltinFunctionType) -> list[Any]:
    owner = function.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        name = name_of(function)
        if name is None:
            raise Untellable(f"the compiled function {function.__qualname__}")
        return list(name)
    return [function.__name__, owner]


def _lru_parts(cached: Any) -> list[Any]:
    return [cached.__wrapped__, cached.cache_parameters(), without_mark(cached.__dict__)]


def compiled_parts(value: Any) -> list[Any] | None:
    """Return what numba compiled and how it was told to; None for what numba did not make, or hides.

    Types that it was not given come with the calls, and change nothing.
    """
    function, kind = getattr(value, "__wrapped__", None), type(value)
    if kind.__module__.partition(".")[0] != "numba" or not isinstance(function, types.FunctionType):
        return None
    try:
        if kind.__name__ == "CPUDispatcher":
            told = [value.targetoptions, value.locals, None if value._can_compile else value.signatures]
        elif kind.__name__ == "DUFunc":
            told = [value.targetoptions, value.identity, value.types if value._frozen else None]
        else:
            builder = value.gufunc_builder
            told = [builder.targetoptions, builder.identity, builder.signature, value.types if value._frozen else None]
    except AttributeError:
        return None
    return [kind.__name__, function, *map(repr, told)]


PLAIN: dict[type, Callable[[Any], str | bytes]] = {
    type(None): lambda _: "",
    type(...): lambda _: "",
    type(NotImplemented): lambda _: "",
    bool: str,
    int: hex,
    str: lambda text: text,
    bytes: lambda content: content,
    bytearray: bytes,
    float: lambda number: struct.pack(">d", number),
    complex: lambda number: struct.pack(">dd", number.real, number.imag),
}
CONTAINERS: dict[type, Callable[[Any], Iterable[Any]]] = {
    tuple: list,
    list: list,
    dict: lambda items: [part for item in items.items() for part in item],
    types.MappingProxyType: lambda items: [part for item in items.items() for part in item],
    range: lambda numbers: [numbers.start, numbers.stop, numbers.step],
    slice: lambda part: [part.start, part.stop, part.step],
    types.CodeType: lambda code: [code_identity(code).digest],
}
CALLABLES: dict[type, Callable[[Any], Iterable[Any]]] = {
    functools.partial: lambda partial: [partial.func, partial.args, partial.keywords, partial.__dict__],
    functools._lru_cache_wrapper: _lru_parts,
    np.vectorize: lambda made: [  # without what it makes of the function when it is first called
        *(made.pyfunc, made.otypes, made.signature, made.excluded, made.cache, made.__doc__),
    ],
    functools.cached_property: lambda found: [found.func, found.attrname],
    types.MethodType: lambda method: [method.__func__, method.__self__],
    types.BuiltinFunctionType: _builtin_parts,
    types.MethodWrapperType: lambda method: [method.__name__, method.__self__],
    types.MethodDescriptorType: lambda method: [method.__name__, method.__objclass__],
    types.WrapperDescriptorType: lambda method: [method.__name__, method.__objclass__],
    types.MemberDescriptorType: lambda member: [member.__name__],
    types.GetSetDescriptorType: lambda member: [member.__name__],
    types.GenericAlias: lambda alias: [alias.__origin__, alias.__args__],
    types.UnionType: lambda union: union.__args__,
    typing.TypeVar: lambda kind: [
        *(kind.__name__, kind.__constraints__, kind.__bound__, kind.__covariant__, kind.__contravariant__),
    ],
    typing.ParamSpec: lambda kind: [kind.__name__, kind.__bound__],
    typing.NewType: lambda kind: [kind.__name__, kind.__supertype__],
    types.SimpleNamespace: lambda space: [part for item in vars(space).items() for part in item],
    staticmethod: lambda method: [method.__func__],
    classmethod: lambda method: [method.__func__],
    property: lambda found: [found.fget, found.fset, found.fdel],
}
_DEFINED = (types.FunctionType, types.BuiltinFunctionType, types.CodeType, type, staticmethod, classmethod, property)


def is_plain(value: Any) -> bool:
    """Tell a value whose content is all there is to it."""
    try:
        return type(value) in PLAIN or (_holds(value) and all(map(is_plain, _parts(value))))
    except RecursionError:
        return True  # it counts, and whoever digests it tells why that cannot be


def is_fixed(value: Any) -> bool:
    """Tell a value of constants within which nothing can change."""
    return type(value) in PLAIN or (isinstance(value, tuple | frozenset) and all(map(is_fixed, value)))


def is_told(value: Any) -> bool:
    """Tell what counts in modules of which any name may be meant.

    No connection does that an application puts there.
    """
    if is_plain(value) or isinstance(value, (*_DEFINED, np.generic)) or is_library_value(type(value)):
        return True
    if isinstance(value, functools.partial):
        return is_told(value.func)
    if isinstance(value, types.SimpleNamespace):
        return all(map(is_told, vars(value).values()))
    try:
        return _holds(value) and all(map(is_told, _parts(value)))
    except RecursionError:
        return True


def _holds(value: Any) -> bool:
    return type(value) in CONTAINERS or type(value) in {set, frozenset}


def _parts(value: Any) -> list[Any]:
    parts: Iterable[Any] = value if type(value) in {set, frozenset} else CONTAINERS[type(value)](value)
    return [part for part in parts if part is not value]
