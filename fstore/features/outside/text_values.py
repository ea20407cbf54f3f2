"""What the text of a module alone tells of its values.

Constants, tables, functions with their defaults, what it imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from fstore.features.outside.filled_names import binds_any_name, changed_names, escaping_names, unpacked_names
from fstore.features.outside.told_values import MISSING, Teller
from fstore.features.source.lookups import called_name, declared_global
from fstore.features.source.module_source import ModuleSource
from fstore.features.source.syntax import alias_name, all_nodes

_CONSTANT = (
    *(ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp),
    *(ast.unaryop, ast.operator, ast.expr_context),
)
_DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BOUND = {"staticmethod", "classmethod", "property"}


class Definition(NamedTuple):
    """A function of a text: what its defaults are, and whether nothing is around it.

    Each is missing if that does not tell.
    """

    defaults: tuple[Any, Any]
    is_bare: bool
    name: str


class Imported(NamedTuple):
    """What an import line binds a name to: an attribute of a module, or the module itself."""

    module: str
    level: int
    attribute: str


@dataclass(slots=True)
class TextValues:
    """What the text of a module alone tells of it.

    Classes by their dotted names, ``""`` for the module itself.
    """

    teller: Teller
    constants: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: dict[str, dict[str, Definition]] = field(default_factory=dict)
    told: dict[str, ast.expr] = field(default_factory=dict)  # expressions of other names
    computed: set[str] = field(
        default_factory=set
    )  # bound once, to what is not in the text; some are told all the same
    counted: set[str] = field(default_factory=set)  # variables that some code adds to
    choices: dict[str, list[Any]] = field(default_factory=dict)  # of which branches of the module bind one
    tried: dict[str, tuple[list[str], Any]] = field(
        default_factory=dict
    )  # modules, and what is bound if they are there
    # Calls of a class by its last name, with arguments that may be told.
    objects: dict[str, ast.Call] = field(default_factory=dict)
    makers: dict[str, ast.FunctionDef] = field(default_factory=dict)  # classes' ``__init__``
    set_later: dict[str, set[str]] = field(default_factory=dict)  # attributes that other methods set
    configured: dict[str, Any] = field(default_factory=dict)  # which functions of the module set
    imported: dict[str, Imported] = field(default_factory=dict)
    bound: dict[str, set[str]] = field(default_factory=dict)  # all that is bound
    changed: set[str] = field(default_factory=set)  # what its own code stores into
    changed_by: dict[str, set[str]] = field(default_factory=dict)  # attributes that classes set on their objects
    escaping: set[str] = field(default_factory=set)  # what it hands to others, who may store into it
    plain_classes: set[str] = field(default_factory=set)  # that nothing makes another class of
    named_classes: set[str] = field(default_factory=set)  # whose names nothing changes
    words: frozenset[str] = frozenset()  # what it may look up
    hides: bool = False  # it may set names that it does not show
    binds_any: bool = False  # and does more than look them up


@lru_cache(maxsize=2_000)
def text_values(source: ModuleSource) -> TextValues:
    """Read a module's text, once."""
    lookups = source.all_lookups
    fixed: dict[str, Any] = {}
    said = TextValues(Teller(source, fixed), hides=lookups.any_name or "*" in source.by_name)
    said.words = frozenset(lookups.names | lookups.attributes | lookups.words())
    said.bound[""] = set(source.by_name)
    said.changed = changed_names(source.tree)
    said.escaping = escaping_names(source.tree)
    said.binds_any = binds_any_name(source.tree)
    for node in all_nodes(source.tree):
        if isinstance(node, ast.ClassDef):
            said.changed_by.setdefault(node.name, set()).update(_set_on_self(node))
    _note_statements(source, said)
    said.computed -= said.constants.get("", {}).keys()
    fixed.update({name: value for name, value in said.constants.get("", {}).items() if name not in said.changed})
    for statement in source.statements:
        if isinstance(statement, _DEFINITION) and len(source.by_name[statement.name]) == 1:
            _note_definition(statement, "", said)
    return said


def _note_statements(source: ModuleSource, said: TextValues) -> None:
    told = {name for statement in source.statements for name in declared_global(statement)}
    counted = {
        n.target.id for n in all_nodes(source.tree) if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
    }
    said.counted = counted
    for statement in source.statements:
        said.computed |= {name for name in unpacked_names(statement) if len(source.by_name[name]) == 1}
        for name, node in _bindings_in(statement):
            value = _value_of(node)
            if len(source.by_name[name]) > 1:
                if (
                    value is not MISSING
                    and name in told
                    and name not in counted
                    and _is_bound_once_outside(source, name)
                ):
                    said.configured[name] = value
            elif value is not MISSING:
                said.constants.setdefault("", {})[name] = value
            else:
                said.told[name] = node
                said.computed.add(name)
                if isinstance(node, ast.Call) and called_name(node):
                    said.objects[name] = node
        if isinstance(statement, ast.Import | ast.ImportFrom):
            said.imported |= {name: found for name, found in _imports_in(statement) if len(source.by_name[name]) == 1}
        elif isinstance(statement, ast.If | ast.Try):
            _note_choices(source, statement, said)


def _note_choices(source: ModuleSource, statement: ast.stmt, said: TextValues) -> None:
    """Note what the branches of a statement bind a name to, where that is all in the text."""
    found: dict[str, list[Any]] = {}
    stored: list[str] = []
    for part in ast.walk(statement):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            stored.append(part.id)
        elif isinstance(part, ast.alias):
            stored.append(alias_name(part))
        elif isinstance(part, _DEFINITION):
            stored.append(part.name)
        if isinstance(part, ast.stmt):
            for name, node in _bindings_in(part):
                found.setdefault(name, []).append(_value_of(node))
    for name, values in found.items():
        is_alone = len(source.by_name.get(name, ())) == 1 and stored.count(name) == len(values)
        if is_alone and not any(value is MISSING for value in values):
            said.choices[name] = values
            if isinstance(statement, ast.Try) and isinstance(statement.body[0], ast.Import):
                modules = [
                    alias.name for part in statement.body if isinstance(part, ast.Import) for alias in part.names
                ]
                at_first = dict(binding for part in statement.body for binding in _bindings_in(part))
                if name in at_first and modules and all(isinstance(p, ast.Import | ast.Assign) for p in statement.body):
                    said.tried[name] = modules, _value_of(at_first[name])


def _note_definition(
    statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, owner: str, said: TextValues
) -> None:
    full = f"{owner}.{statement.name}" if owner else statement.name
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators = {called.id for called in statement.decorator_list if isinstance(called, ast.Name)}
        is_bare = len(decorators) == len(statement.decorator_list) and decorators <= (_BOUND if owner else set())
        said.functions.setdefault(owner, {})[statement.name] = Definition(
            _defaults_of(statement, said), is_bare, statement.name
        )
        return
    bound: list[str] = []
    constants: dict[str, Any] = {}
    parts: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = []
    for part in statement.body:
        for name, node in _bindings_in(part):
            if (value := _value_of(node)) is not MISSING:
                constants[name] = value
        if isinstance(part, _DEFINITION):
            parts.append(part)
            bound.append(part.name)
        bound += [n.id for n in ast.walk(part) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]
        bound += [alias_name(n) for n in ast.walk(part) if isinstance(n, ast.alias)]
    once = {name for name in bound if bound.count(name) == 1}
    said.bound[full] = {_mangled(name, statement.name) for name in bound}
    said.constants[full] = {
        _mangled(name, statement.name): value
        for name, value in constants.items()
        if name in once and not (name.startswith("__") and name.endswith("__"))
    }
    said.functions.setdefault(full, {})
    for each in parts:
        if each.name in once:
            _note_definition(each, full, said)
            if isinstance(each, ast.FunctionDef) and each.name == "__init__" and not each.decorator_list:
                said.makers[full] = each
    said.set_later[full] = {attribute for each in parts if each.name != "__init__" for attribute in _set_on_self(each)}
    private = [name for name in said.functions[full] if name.startswith("__")]
    said.functions[full] |= {_mangled(name, statement.name): said.functions[full].pop(name) for name in private}
    if not (statement.decorator_list or statement.bases or statement.keywords):
        said.plain_classes.add(full)
    is_renamed = not said.bound[full].isdisjoint({"__module__", "__qualname__"})
    if all(map(said.teller.is_plain_decorator, statement.decorator_list)) and not (is_renamed or statement.keywords):
        said.named_classes.add(full)


def _mangled(name: str, owner: str) -> str:
    return f"_{owner.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name


def _bindings_in(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that an assignment binds, each with the expression that it gets.

    Of ``A, B = 1, 2`` as well.
    """
    waiting: list[tuple[ast.expr, ast.expr]]
    match statement:
        case ast.Assign(targets=targets, value=value):
            waiting = [(target, value) for target in targets]
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            waiting = [(target, value)]
        case _:
            return
    while waiting:
        left, right = waiting.pop(0)
        if isinstance(left, ast.Name):
            if not (left.id.startswith("__") and left.id.endswith("__")):
                yield left.id, right
        elif isinstance(left, ast.Tuple | ast.List) and isinstance(right, ast.Tuple | ast.List):
            given = [*left.elts, *right.elts]
            if len(left.elts) == len(right.elts) and not any(isinstance(each, ast.Starred) for each in given):
                waiting += zip(left.elts, right.elts, strict=True)


def _imports_in(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Imported]]:
    for alias in statement.names:
        name = alias_name(alias)
        if isinstance(statement, ast.ImportFrom):
            yield name, Imported(statement.module or "", statement.level, alias.name)
        else:
            yield name, Imported(alias.name if alias.asname else name, 0, "")


def given_to(
    call: ast.Call, said: TextValues, space: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Return the arguments of a call, or None when the text does not tell them."""
    if any(isinstance(node, ast.Starred) for node in call.args) or any(each.arg is None for each in call.keywords):
        return None
    given = tuple(said.teller.expected(node, space) for node in call.args)
    named = {str(each.arg): said.teller.expected(each.value, space) for each in call.keywords}
    return None if any(value is MISSING for value in (*given, *named.values())) else (given, named)


def _value_of(node: ast.expr) -> Any:
    if not all(isinstance(below, _CONSTANT) for below in ast.walk(node)):
        return MISSING
    try:
        return eval(compile(ast.Expression(node), "<constant>", "eval"), {"__builtins__": {}})  # noqa: S307 constants alone
    except Exception:  # the module did not get so far either
        return MISSING


def _defaults_of(function: ast.FunctionDef | ast.AsyncFunctionDef, said: TextValues) -> tuple[Any, Any]:
    """Return what ``__defaults__`` and ``__kwdefaults__`` are by the text.

    Each of them is missing if that does not tell.
    """
    given = function.args
    last = [*given.posonlyargs, *given.args][-len(given.defaults) :] if given.defaults else []
    keywords = [
        (arg.arg, node) for arg, node in zip(given.kwonlyargs, given.kw_defaults, strict=True) if node is not None
    ]
    one = tuple(said.teller.expected(node, {}) for node in given.defaults)
    other = {name: said.teller.expected(node, {}) for name, node in keywords}
    changed = said.changed
    # What is kept in a default from call to call is the function's own.
    if any(value is MISSING for value in one) or any(arg.arg in changed for arg in last):
        one = MISSING
    if any(value is MISSING for value in other.values()) or not changed.isdisjoint(other):
        other = MISSING
    return one or None if one is not MISSING else one, other or None if other is not MISSING else other


def _is_bound_once_outside(source: ModuleSource, name: str) -> bool:
    places = [source.statements[place] for place in source.by_name[name]]
    return sum(not isinstance(place, ast.FunctionDef | ast.ClassDef) for place in places) == 1


def _set_on_self(definition: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(definition)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }
