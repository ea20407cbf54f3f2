"""The attributes that an object of settings has when it was made, told without making one.

That of a dataclass, of a class whose objects begin without any, and of a ``SimpleNamespace``.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

_FACTORIES = (list, dict, set)
_MAKING = frozenset({"__new__", "__setattr__", "__getattribute__"})


def state_of(value: Any) -> dict[str, Any] | None:
    """Return the attributes of an object; None for one of another kind.

    Those in slots and the items of a named tuple as well.
    """
    kind: Any = type(value)
    if isinstance(value, tuple):
        return dict(zip(kind._fields, value, strict=True)) if hasattr(kind, "_fields") else None
    slots = [name for base in kind.__mro__ for name in _slots_of(base)]
    if not slots and not hasattr(value, "__dict__"):
        return None
    inner = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**inner, **getattr(value, "__dict__", {})}


def _slots_of(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    named = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in named if not name.startswith("__"))


def expected_state(made: str, value: Any, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any] | None:
    """Return what ``state_of(value)`` was when ``made(*given, **named)`` returned it.

    None when nobody can tell.
    """
    kind: Any = type(value)
    if kind.__name__ != made:
        return None
    if isinstance(value, tuple):
        fields = getattr(kind, "_fields", ())
        state = {**getattr(kind, "_field_defaults", {}), **dict(zip(fields, given, strict=False)), **named}
        return {name: state[name] for name in fields} if state.keys() == {*fields} else None
    if kind is SimpleNamespace:
        return None if given else named
    written = {name for base in kind.__mro__[:-1] for name in vars(base)}
    if type(kind) is not type or "__new__" in written:
        return None
    if dataclasses.is_dataclass(kind):
        return _dataclass_state(kind, given, named)
    return None if "__init__" in written or given or named else {}


def _dataclass_state(kind: Any, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any] | None:
    fields = dataclasses.fields(kind)
    code = getattr(kind.__init__, "__code__", None)
    is_generated = code is not None and code.co_filename == "<string>"
    if hasattr(kind, "__post_init__") or not is_generated or not all(each.init for each in fields):
        return None
    state = dict(zip([each.name for each in fields if not each.kw_only], given, strict=False)) | named
    for each in fields:
        if each.name in state:
            continue
        if each.default_factory in _FACTORIES:
            state[each.name] = each.default_factory()
        elif each.default is not dataclasses.MISSING and isinstance(
            each.default, bool | int | float | str | bytes | tuple | frozenset | type(None)
        ):
            state[each.name] = each.default
        else:
            return None
    return {each.name: state[each.name] for each in fields}


def written_state(
    function: ast.FunctionDef,
    value: Any,
    given: tuple[Any, ...],
    named: dict[str, Any],
    tell: Callable[[ast.expr, Mapping[str, Any]], Any],
) -> dict[str, Any] | None:
    """Return the state that an ``__init__`` makes which only notes what it is given.

    None for one that does more. ``tell`` works out an expression of the text, given the values of parameters.
    """
    kind: Any = type(value)
    if len(kind.__mro__) != 2 or not _MAKING.isdisjoint(vars(kind)) or type(kind) is not type:
        return None
    arguments = function.args
    if arguments.vararg or arguments.kwarg or arguments.posonlyargs or not arguments.args:
        return None
    me, *positional = [argument.arg for argument in arguments.args]
    every = [*positional, *(argument.arg for argument in arguments.kwonlyargs)]
    defaults = dict(zip(reversed(positional), reversed(arguments.defaults), strict=False))
    defaults |= {
        argument.arg: node
        for argument, node in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if node is not None
    }
    values = dict(zip(positional, given, strict=False)) | named
    values |= {name: tell(node, {}) for name, node in defaults.items() if name not in values}
    state: dict[str, Any] = {}
    for statement in function.body:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                continue
            case (
                ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr=name)], value=node)
                | ast.AnnAssign(target=ast.Attribute(value=ast.Name(id=owner), attr=name), value=ast.expr() as node)
            ) if owner == me and name not in vars(kind):
                state[name] = tell(node, values)
            case _:
                return None
    return state if values.keys() == {*every} else None
