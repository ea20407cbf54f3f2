"""One module's text as statements.

What they bind, what they look up, and which always run for a purpose.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import TypeGuard

from fstore.features.source.inert import Inert
from fstore.features.source.lookups import Definition, Lookups, declared_global, lookups_in, mangled
from fstore.features.source.syntax import (
    alias_name,
    all_nodes,
    does_nothing,
    syntax_text,
    syntax_tree,
    without_type_checking,
)


class ModuleSource:
    """One module's text as statements.

    ``by_name`` gives the places of those that bind a name at module level. ``always``
    are the places of statements that may do more than bind names. What is only read by
    type checkers is left out.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = syntax_tree(text)
        nodes = all_nodes(self.tree)
        self.statements = list(without_type_checking(self.tree.body, nodes))
        self.classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        self._declares = any(isinstance(node, ast.Global) for node in nodes)
        self._used = {node.id for node in nodes if isinstance(node, ast.Name)}
        self._used |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        self.by_name: dict[str, list[int]] = {}
        for index, statement in enumerate(self.statements):
            for name in _bound_names(statement, self.classes, declares=self._declares):
                self.by_name.setdefault(name, []).append(index)
        self.inert = Inert(_imported(self.statements), self._bindings())
        self.always = {
            index
            for index, statement in enumerate(self.statements)
            if not (is_script_part(statement) or self.inert.is_inert(statement)) or _is_of_everything(statement)
        }
        self.always |= {i for i, statement in enumerate(self.statements) if self._is_imported_for_effect(statement)}
        self.imports = {i for i, s in enumerate(self.statements) if isinstance(s, ast.Import | ast.ImportFrom)}
        self._lookups: dict[ast.AST, Lookups] = {}
        self._whole: dict[bool, str] = {}

    def lookups(self, index: int) -> Lookups:
        """Return what a statement may look up."""
        return self.lookups_of(self.statements[index])

    def lookups_of(self, node: ast.AST) -> Lookups:
        """Return what a statement or a definition of this module may look up."""
        if node not in self._lookups:
            found = lookups_in(node)
            found.names |= mangled(found.names, self.classes)
            self._lookups[node] = found
        return self._lookups[node]

    @cached_property
    def all_lookups(self) -> Lookups:
        """What the module as a whole may look up when it is imported and used."""
        found = Lookups()
        for index, statement in enumerate(self.statements):
            if not is_script_part(statement):
                found.add(self.lookups(index))
        return found

    def whole_text(self, *, docstrings: bool = False) -> str:
        """Write all that runs when the module is imported or used, as one line of syntax."""
        if self.all_lookups.own_lines:
            return self.text
        docs = docstrings or self.all_lookups.docstrings
        if docs not in self._whole:
            running = [s for s in self.statements if not is_script_part(s) and (docs or not does_nothing(s))]
            self._whole[docs] = "\n".join(syntax_text(s, docstrings=docs) for s in running)
        return self._whole[docs]

    def exports_what_is_written(self) -> bool:
        """Tell whether all that ``__all__`` may hold stands in the text as texts."""
        parts = [node for place in self.by_name.get("__all__", ()) for node in ast.walk(self.statements[place])]
        literal = (
            ast.stmt,
            ast.Constant,
            ast.List,
            ast.Tuple,
            ast.Set,
            ast.Starred,
            ast.expr_context,
            ast.operator,
            ast.BinOp,
        )
        return all(
            isinstance(part, literal) or (isinstance(part, ast.Name) and part.id in {"__all__", "list", "str"})
            for part in parts
        )

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

    def place_of(self, definition: Definition) -> int | None:
        """Find the statement that a definition is, or stands in."""
        for index, statement in enumerate(self.statements):
            if statement.lineno <= definition.lineno <= (statement.end_lineno or 0):
                return index
        return None

    def _bindings(self) -> dict[str, list[ast.stmt]]:
        return {name: [self.statements[index] for index in places] for name, places in self.by_name.items()}

    def _is_imported_for_effect(self, statement: ast.stmt) -> bool:
        """Recognise an import of no name that the module uses.

        ``import janitor`` adds methods to every frame.
        """
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            return False
        return not all(_is_standard(statement, alias) or alias_name(alias) in self._used for alias in statement.names)


def first_line(node: Definition) -> int:
    """Return the line a code object of this definition carries: that of its first decorator."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def is_script_part(statement: ast.stmt) -> bool:
    """Recognise ``if __name__ == "__main__":``, which never runs where features are computed."""
    match statement:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]), orelse=[]):
            sides = [node.id if isinstance(node, ast.Name) else None for node in (left, right)]
            texts = [node.value if isinstance(node, ast.Constant) else None for node in (left, right)]
            return "__name__" in sides and "__main__" in texts
        case _:
            return False


def import_text(statement: ast.Import | ast.ImportFrom, name: str) -> str:
    """Write the part of an import line that binds ``name``, so that its neighbours do not matter."""
    chosen = sorted(alias.name for alias in statement.names if alias_name(alias) == name)
    origin = f"{'.' * statement.level}{statement.module or ''}" if isinstance(statement, ast.ImportFrom) else ""
    return f"import {origin} {','.join(chosen)} as {name}"


def _is_standard(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return not statement.level and (statement.module or "").partition(".")[0] in sys.stdlib_module_names
    return alias.name.partition(".")[0] in sys.stdlib_module_names


def _is_of_everything(statement: ast.stmt) -> bool:
    """Recognise what may bind any name, or change how the text is read."""
    if _is_definition(statement):
        return statement.name in {"__getattr__", "__dir__"}
    return isinstance(statement, ast.ImportFrom) and (
        statement.names[0].name == "*" or statement.module == "__future__"
    )


def _imported(statements: list[ast.stmt]) -> dict[str, str]:
    """Tell the full names of what the module's own import lines bind."""
    full: dict[str, str] = {}
    for statement in statements:
        if isinstance(statement, ast.Import):
            full |= {alias_name(a): a.name if a.asname else a.name.partition(".")[0] for a in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            origin = "." * statement.level + (statement.module or "")
            full |= {alias_name(alias): f"{origin}.{alias.name}" for alias in statement.names}
    return full


def _scope(root: ast.AST) -> Iterator[ast.AST]:
    """Walk the nodes that run in the same name space as ``root``'s body."""
    for child in ast.iter_child_nodes(root):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _scope(child)


def _bound_names(statement: ast.stmt, classes: set[str], *, declares: bool) -> set[str]:
    """Collect the module-level names that a statement defines or changes.

    ``TABLE[x] = 1`` and ``fill(TABLE)`` change ``TABLE``.
    """
    told = declared_global(statement) if declares else set()
    names = told | mangled(told, classes)
    if _is_definition(statement):
        return names | {statement.name}
    for node in (statement, *_scope(statement)):
        match node:
            case ast.FunctionDef(name=str(name)) | ast.AsyncFunctionDef(name=str(name)) | ast.ClassDef(name=str(name)):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                names |= _root_name(node)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias_name(alias) for alias in aliases}
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.add(name)
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
            case _:
                if type(node).__name__ == "TypeAlias":
                    names |= _root_name(node.name)  # type: ignore[attr-defined]
    return names


def _is_definition(statement: ast.AST) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    return isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _root_name(node: ast.expr) -> set[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()
