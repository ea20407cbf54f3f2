"""One module's text as statements, and which names they bind and look up.

Where in doubt a name counts as looked up: a statement too many in a digest costs
a recompute, one too few would give a wrong hit.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeGuard

_NESTED_SCOPES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)
Definition = ast.FunctionDef | ast.AsyncFunctionDef


class ModuleSource:
    """One module's text as statements; ``by_name`` gives the places of those that bind a name at module level."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        self.by_name: dict[str, list[int]] = {}
        self.star_imports: list[ast.ImportFrom] = []
        for index, statement in enumerate(self.tree.body):
            if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                self.star_imports.append(statement)
            for name in _bound_names(statement):
                self.by_name.setdefault(name, []).append(index)

    def definitions(self, qualname: str) -> list[Definition]:
        """Find every definition of a dotted name; several when branches or mistakes define it again."""
        *classes, last = qualname.split(".")
        scopes: list[ast.AST] = [self.tree]
        for name in classes:
            scopes = [
                node
                for scope in scopes
                for node in _scope(scope)
                if isinstance(node, ast.ClassDef) and node.name == name
            ]
        return [
            node for scope in scopes for node in _scope(scope) if isinstance(node, Definition) and node.name == last
        ]


def first_line(node: Definition) -> int:
    """Return the line a code object of this definition carries: that of its first decorator."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _scope(root: ast.AST) -> Iterator[ast.AST]:
    """Walk the nodes that run in the same name space as ``root``'s body."""
    for child in ast.iter_child_nodes(root):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _scope(child)


def _bound_names(statement: ast.stmt) -> set[str]:
    """Collect the module-level names a statement defines or changes, ``TABLE[x] = 1`` and ``fill(TABLE)`` included."""
    if _is_definition(statement):
        return {statement.name} | _declared_global(statement)
    if _is_script_part(statement):
        return set()
    names: set[str] = set()
    for node in (statement, *_scope(statement)):
        match node:
            case ast.FunctionDef(name=str(name)) | ast.AsyncFunctionDef(name=str(name)) | ast.ClassDef(name=str(name)):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                names |= _root_name(node)
            case ast.Expr(value=ast.Call() as call):
                names |= {part.id for part in ast.walk(call) if isinstance(part, ast.Name)}
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {_alias_name(alias) for alias in aliases}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.add(name)
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
            case _:
                pass
    return names


def _is_script_part(statement: ast.stmt) -> bool:
    """Recognise ``if __name__ == "__main__":``, which never runs where features are computed."""
    match statement:
        case ast.If(
            test=ast.Compare(
                left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]
            ),
            orelse=[],
        ):
            return True
        case _:
            return False


def _is_definition(statement: ast.AST) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _root_name(node: ast.expr) -> set[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def names_in(statement: ast.stmt) -> set[str]:
    """Collect the names a statement may look up in its module; a few too many do no harm."""
    used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    used |= _declared_global(statement)
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return used
    return used - _local_names(statement)


def _local_names(function: Definition) -> set[str]:
    """Collect names that are surely the function's own in its whole body, and nowhere in it a module's name."""
    if any(isinstance(node, ast.ClassDef) for node in ast.walk(function)):
        return set()  # A class body looks past the function's names into the module.
    arguments = function.args
    parameters = [node for node in ast.iter_child_nodes(arguments) if isinstance(node, ast.arg)]
    own = {parameter.arg for parameter in parameters} | set(_assigned_names(function.body))
    # Defaults, decorators and annotations are looked up in the module, not in the body.
    outside: list[ast.expr | None] = [*function.decorator_list, *arguments.defaults, *arguments.kw_defaults]
    outside += [function.returns, *(parameter.annotation for parameter in parameters)]
    looked_up = {n.id for node in outside if node for n in ast.walk(node) if isinstance(n, ast.Name)}
    return own - _declared_global(function) - looked_up


def _declared_global(definition: ast.AST) -> set[str]:
    return {name for node in ast.walk(definition) if isinstance(node, ast.Global) for name in node.names}


def _assigned_names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names assigned among the nodes; what a nested scope assigns is not the function's."""
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if not isinstance(node, _NESTED_SCOPES):
            yield from _assigned_names(ast.iter_child_nodes(node))


def _alias_name(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _origin(statement: ast.Import | ast.ImportFrom) -> str:
    return f"{'.' * statement.level}{statement.module or ''}" if isinstance(statement, ast.ImportFrom) else ""


def import_text(statement: ast.Import | ast.ImportFrom, name: str) -> str:
    """Write the part of an import line that binds ``name``, so that its neighbours do not matter."""
    chosen = sorted(alias.name for alias in statement.names if _alias_name(alias) == name)
    return f"import {_origin(statement)} {','.join(chosen)} as {name}"


def star_import_text(statement: ast.ImportFrom) -> str:
    """Write an import line that may bind any name."""
    return f"import {_origin(statement)} *"
