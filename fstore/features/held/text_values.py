"""What the text of a module alone tells of its values: constants, tables, functions with their defaults."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from fstore.features.source.compiled_code import is_same
from fstore.features.source.lookups import called_name, declared_global
from fstore.features.source.module_source import ModuleSource

MISSING: Any = object()
_CONSTANT = (
    *(ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp),
    *(ast.unaryop, ast.operator, ast.expr_context),
)
# These change the list, set or table they are called on.
_CHANGING = frozenset({
    "__delitem__", "__ior__", "__setitem__", "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem",
    "remove", "reverse", "setdefault", "sort", "update",
})  # fmt: skip


@dataclass(slots=True)
class TextValues:
    """What the text of a module alone tells of it; classes by their names, ``""`` for the module itself."""

    constants: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)  # with their defaults
    # Calls of a class by its last name, with arguments that are all in the text.
    objects: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    configured: dict[str, Any] = field(default_factory=dict)  # which functions of the module set
    changed: set[str] = field(default_factory=set)  # what its own code stores into
    changed_by: dict[str, set[str]] = field(default_factory=dict)  # attributes that classes set on their objects
    plain_classes: set[str] = field(default_factory=set)  # that nothing makes another class of
    hides: bool = False  # it may set names that it does not show


@lru_cache(maxsize=2_000)
def text_values(source: ModuleSource) -> TextValues:
    """Read a module's text, once."""
    lookups = source.all_lookups
    said = TextValues(hides=lookups.any_name or "*" in source.by_name)
    counted: set[str] = set()
    for node in ast.walk(source.tree):
        match node:
            case ast.ClassDef(name=name):
                said.changed_by.setdefault(name, set()).update(_set_on_self(node))
            case ast.AugAssign(target=ast.Name(id=name)):
                counted.add(name)
            case ast.Call(func=ast.Attribute(attr=attribute, value=value)) if attribute in _CHANGING:
                said.changed |= _identifiers(value)
            case ast.Attribute(ctx=ast.Store() | ast.Del(), value=ast.Name(id="self")):
                pass  # of whichever object it is
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                said.changed |= {node.attr} | _identifiers(node.value)
            case ast.Subscript(ctx=ast.Store() | ast.Del()):
                said.changed |= _identifiers(node.value)
            case _:
                pass
    _note_statements(source, said, counted)
    return said


def _note_statements(source: ModuleSource, said: TextValues, counted: set[str]) -> None:
    told = {name for statement in source.statements for name in declared_global(statement)}
    for statement in source.statements:
        for name, value in _constants_in(statement):
            if len(source.by_name[name]) == 1:
                said.constants.setdefault("", {})[name] = value
            elif name in told and name not in counted and _is_bound_once_outside(source, name):
                said.configured[name] = value
        for name, call in _objects_in(statement):
            if len(source.by_name[name]) == 1:
                said.objects[name] = call
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and len(source.by_name[statement.name]) == 1:
            _note_definition(statement, said)


def _note_definition(statement: ast.FunctionDef | ast.ClassDef, said: TextValues) -> None:
    if isinstance(statement, ast.FunctionDef):
        if not statement.decorator_list:
            said.functions.setdefault("", {})[statement.name] = _defaults_of(statement, said.changed)
        return
    bound: list[str] = []
    constants: dict[str, Any] = {}
    functions: dict[str, tuple[Any, Any]] = {}
    for part in statement.body:
        for name, value in _constants_in(part):
            constants[name] = value
        if isinstance(part, ast.FunctionDef) and not part.decorator_list and not part.name.startswith("__"):
            functions[part.name] = _defaults_of(part, said.changed)
        bound += [part.name] if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else []
        bound += [n.id for n in ast.walk(part) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]
    once = {name for name in bound if bound.count(name) == 1 and not name.startswith("__")}
    said.constants[statement.name] = {name: value for name, value in constants.items() if name in once}
    said.functions[statement.name] = {name: value for name, value in functions.items() if name in once}
    if not (statement.decorator_list or statement.bases or statement.keywords):
        said.plain_classes.add(statement.name)


def _constants_in(statement: ast.stmt) -> Iterator[tuple[str, Any]]:
    """Yield the names that a statement binds to a value that is all in its text, each with a value of its own."""
    match statement:
        case ast.Assign(targets=targets, value=value) if all(isinstance(target, ast.Name) for target in targets):
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            names = [name]
        case _:
            return
    for name in names:
        made = _value_of(value)
        if made is not MISSING and not (name.startswith("__") and name.endswith("__")):
            yield name, made


def _objects_in(statement: ast.stmt) -> Iterator[tuple[str, tuple[str, tuple[Any, ...], dict[str, Any]]]]:
    """Yield a name that a statement binds to ``Config(window=5)``."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
            pass
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call() as call):
            pass
        case _:
            return
    given = tuple(_value_of(node) for node in call.args)
    named = {keyword.arg: _value_of(keyword.value) for keyword in call.keywords if keyword.arg is not None}
    is_told = not any(value is MISSING for value in (*given, *named.values())) and len(named) == len(call.keywords)
    if is_told and (made := called_name(call)):
        yield name, (made, given, named)


def _value_of(node: ast.expr) -> Any:
    if not all(isinstance(below, _CONSTANT) for below in ast.walk(node)):
        return MISSING
    try:
        return eval(compile(ast.Expression(node), "<constant>", "eval"), {"__builtins__": {}})  # noqa: S307 constants alone
    except Exception:  # the module did not get so far either
        return MISSING


def _defaults_of(function: ast.FunctionDef, changed: set[str]) -> tuple[Any, Any]:
    """Return what ``__defaults__`` and ``__kwdefaults__`` are by the text, each of them missing if that does not tell."""
    given = function.args
    last = [*given.posonlyargs, *given.args][-len(given.defaults) :] if given.defaults else []
    keywords = [
        (arg.arg, node) for arg, node in zip(given.kwonlyargs, given.kw_defaults, strict=True) if node is not None
    ]
    one = tuple(_value_of(node) for node in given.defaults)
    other = {name: _value_of(node) for name, node in keywords}
    # What is kept in a default from call to call is the function's own.
    if any(value is MISSING for value in one) or any(arg.arg in changed for arg in last):
        one = MISSING
    if any(value is MISSING for value in other.values()) or not changed.isdisjoint(other):
        other = MISSING
    return one or None if one is not MISSING else one, other or None if other is not MISSING else other


def _is_bound_once_outside(source: ModuleSource, name: str) -> bool:
    places = [source.statements[place] for place in source.by_name[name]]
    return sum(not isinstance(place, ast.FunctionDef | ast.ClassDef) for place in places) == 1


def _set_on_self(definition: ast.ClassDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(definition)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }


def _identifiers(node: ast.expr) -> set[str]:
    """Return the names in an expression that is stored into: ``pkg.base.TABLE["w"]``."""
    return {
        n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)
    }


def equal(one: Any, other: Any) -> bool:
    """Tell whether two values of constants are the same, by type and to the last bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(map(equal, one.items(), other.items()))
    if isinstance(one, set | frozenset):
        return {(type(item), repr(item)) for item in one} == {(type(item), repr(item)) for item in other}
    return is_same(one, other)
