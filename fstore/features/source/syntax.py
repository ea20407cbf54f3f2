"""A text of Python syntax that is the same on every Python version.

``ast.dump`` and ``ast.unparse`` change with the interpreter; digests must not.
Left out are positions, empty fields and statements that do nothing, docstrings
first among them, and what only type checkers read. Apart from that, two texts
are equal only if the syntax is.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

_IRRELEVANT = frozenset({"ctx", "type_comment", "kind", "type_ignores"})
_TRIES = 5
# Literal parts of f-strings and t-strings are cut differently by different versions.
_PIECED = frozenset({"JoinedStr", "TemplateStr"})


# Who uses one of these may bind any name of a module.
_SETTERS = frozenset({
    "__builtins__", "__dict__", "__setattr__", "eval", "exec", "globals", "locals", "modules", "setattr", "vars",
})  # fmt: skip


def syntax_tree(text: str) -> ast.Module:
    """Parse a text; the same tree whatever else this process parses meanwhile.

    Python 3.11 counts the depth of all its parsers together: one that begins while
    another makes its tree, in a finalizer or a thread, ends the latter with a
    ``SystemError``, or with a ``RecursionError`` of a depth that is not its own.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Who imports the module is warned of odd escapes.
                return ast.parse(text)
        except (SystemError, RecursionError):
            if not tries_left:
                raise
    raise AssertionError  # pragma: no cover


@lru_cache(maxsize=8)
def all_nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Return the nodes of a module as ``ast.walk`` gives them.

    They are kept for the modules that are looked at just now.
    """
    return tuple(ast.walk(tree))


def alias_name(alias: ast.alias) -> str:
    """Return the name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def without_type_checking(statements: list[ast.stmt], nodes: Sequence[ast.AST]) -> Iterator[ast.stmt]:
    """Put what runs in place of ``if TYPE_CHECKING:``.

    As long as the name is that of the standard library, and nothing can set it.
    """
    known = {
        alias_name(alias)
        for node in statements
        if isinstance(node, ast.ImportFrom) and node.module == "typing"
        for alias in node.names
        if alias.name == "TYPE_CHECKING"
    }
    modules = {
        alias_name(alias)
        for node in statements
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "typing"
    }
    if not known | modules or _may_set_any(nodes):
        yield from statements
        return
    bound = list(_names_bound_at(nodes))
    known = {name for name in known if bound.count(name) == 1}
    known |= {f"{module}.TYPE_CHECKING" for module in modules if bound.count(module) == 1}
    for statement in statements:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in known:
            yield from statement.orelse
        else:
            yield statement


def _may_set_any(nodes: Sequence[ast.AST]) -> bool:
    """Tell whether a text may bind names, or set attributes of modules, that it does not show."""
    for node in nodes:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _SETTERS:
                return True
            case ast.alias(name="*") | ast.Attribute(attr="TYPE_CHECKING", ctx=ast.Store() | ast.Del()):
                return True
            case ast.Constant(value=str(text)) if "TYPE_CHECKING" in text:
                return True
            case _:
                pass
    return False


def _names_bound_at(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the names that are bound anywhere in a text, each time."""
    for node in nodes:
        match node:
            case (
                ast.Name(id=name, ctx=ast.Store() | ast.Del())
                | ast.MatchStar(name=str(name))
                | ast.MatchAs(name=str(name))
            ):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
            case ast.alias():
                yield alias_name(node)
            case _:
                pass


def syntax_text(node: ast.AST, *, docstrings: bool = False) -> str:
    """Write a node and all below it as one line, with or without statements that are a mere text."""
    return _text(node, docstrings)


def does_nothing(item: object) -> bool:
    """Recognise a statement that is a mere constant, docstrings among them, and ``pass``."""
    return isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))


def _text(value: Any, docs: bool) -> str:
    if isinstance(value, ast.Constant):
        return _constant(value.value)
    if isinstance(value, ast.AST):
        kind = type(value).__name__
        if kind in _PIECED:
            return f"{kind}({_list(_merged(value.values), docs)})"  # type: ignore[attr-defined]
        # By name, not by position: versions add fields and may reorder them.
        fields = []
        for name in sorted(value._fields):
            field = getattr(value, name, None)
            if name not in _IRRELEVANT and not _is_empty(name, field, docs):
                fields.append(f"{name}={_text(field, docs)}")
        return f"{kind}({','.join(fields)})"
    if isinstance(value, list):
        return _list(value, docs)
    return f"<{value!a}>"  # a name, a level, a conversion, or the absence of a default or key


def _list(items: list[Any], docs: bool) -> str:
    return f"[{','.join(_text(item, docs) for item in items if not _is_left_out(item, docs))}]"


def _is_empty(name: str, field: Any, docs: bool) -> bool:
    if name == "format_spec" and isinstance(field, ast.JoinedStr):
        return not field.values  # Some versions read f"{x:}" as f"{x}", and the two mean the same.
    return field is None or (isinstance(field, list) and all(_is_left_out(item, docs) for item in field))


def _is_left_out(item: Any, docs: bool) -> bool:
    if docs and isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
        return not isinstance(item.value.value, str)
    return does_nothing(item)


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Join neighbouring literal pieces."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(value.value))
        else:
            merged.append(value)
    return [value for value in merged if not (isinstance(value, ast.Constant) and value.value == "")]


def _constant(value: Any) -> str:
    # ascii() and hex() do not depend on Unicode tables, nor on the limit of digits an int may be printed with.
    return f"{type(value).__name__}:{hex(value) if type(value) is int else ascii(value)}"
