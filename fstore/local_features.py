"""Features computed in the calling process: any callable, with a version by hand."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from blake3 import blake3

from fstore.errors import FeatureNotRegistered
from fstore.features import Feature, InputKind, checked_input, checked_version, digest_of
from fstore.registry.feature_names import describe, plain_function, signature_fault
from fstore.registry.imports import source_time

PREFIX = "local:"
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None), type(...)})


@dataclass(frozen=True, slots=True)
class LocalFeature(Feature):
    """A feature only its own process can compute; its name begins with ``local:``, so its keys are its own."""


def local(
    func: Callable[..., Any], *, version: str, name: str | None = None, input: InputKind = "pandas"
) -> LocalFeature:
    """Wrap any callable so that it is computed in this process, under the rules of the shared cache.

    Everybody who uses the same name and version shares its results. A
    function's name is its module and its own; what has none, or shares it with
    others (lambda, closure, partial), gets a digest of its code and of the
    values it holds. Where those cannot be told, ``name`` is required.
    """
    if not callable(func):
        raise FeatureNotRegistered(describe(func), "fstore.local takes a function or another callable")
    if fault := signature_fault(func):
        raise FeatureNotRegistered(describe(func), fault)
    full_name = f"{PREFIX}{_checked_name(name) if name is not None else _derived_name(func)}"
    kind, declared = checked_input(input, full_name), checked_version(version, full_name)
    digest = digest_of(func) or _code_digest(func)
    return LocalFeature(full_name, func, declared, digest, True, kind, source_time(func))


def _checked_name(name: str) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
        raise FeatureNotRegistered(f"{name!r:.40}", "a local feature's name has 1 to 200 printable characters")
    return name


def _derived_name(func: Callable[..., Any]) -> str:
    if plain_function(func) is not None and "<" not in func.__qualname__:
        return f"{func.__module__}:{func.__qualname__}"
    try:
        identity = _identity(func)
    except (_Untellable, RecursionError) as exc:
        raise FeatureNotRegistered(
            describe(func),
            "it holds values whose content cannot be told, so two of its kind would share one name; give it a name: "
            'fstore.local(func, version="1", name="what_it_is")',
        ) from exc
    return f"{describe(func)}#{blake3(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _code_digest(func: Callable[..., Any]) -> str:
    """Digest the compiled code of what has no source to read alone (lambda, closure, partial); empty when it cannot be told.

    Only digests of one interpreter's code can be compared, so its name stands before them.
    """
    try:
        identity = _identity(func)
    except (_Untellable, RecursionError):
        return ""
    return f"{sys.implementation.cache_tag}:{blake3(identity.encode('utf-8', 'surrogatepass')).hexdigest()}"


class _Untellable(Exception):
    """A value's content cannot be written down."""


def _identity(value: Any) -> str:
    """Write down all that makes a callable or a plain value what it is."""
    kind = type(value)
    if kind in _PLAIN:
        return f"{kind.__name__}:{value!r}"
    if kind not in _PARTS:
        raise _Untellable(kind.__name__)
    parts = [_identity(part) for part in _PARTS[kind](value)]
    return f"{kind.__name__}({','.join(f'{len(part)}:{part}' for part in parts)})"


def _function_parts(function: FunctionType) -> list[Any]:
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError as exc:
        raise _Untellable("an empty cell") from exc
    return [function.__module__, function.__code__, function.__defaults__, function.__kwdefaults__, cells]


def _code_parts(code: CodeType) -> list[Any]:
    names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
    counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    return [code.co_code, code.co_exceptiontable, code.co_consts, names, counts]


_PARTS: dict[type, Callable[[Any], list[Any]]] = {
    tuple: list,
    list: list,
    dict: lambda items: [part for item in items.items() for part in item],
    frozenset: lambda items: sorted(items, key=repr),
    functools.partial: lambda partial: [partial.func, partial.args, partial.keywords],
    FunctionType: _function_parts,
    CodeType: _code_parts,
}
