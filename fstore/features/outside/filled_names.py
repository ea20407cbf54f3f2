"""Which lists, tables and objects of a module its own code may store into.

Directly or through who gets them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from fstore.features.source.lookups import called_name
from fstore.features.source.syntax import all_nodes

# These change the list, set, table or array they are called on.
_CHANGING = frozenset({
    "__delitem__", "__ior__", "__setitem__", "add", "append", "appendleft", "byteswap", "clear", "difference_update",
    "discard", "extend", "extendleft", "fill", "insert", "intersection_update", "move_to_end", "partition", "pop",
    "popitem", "popleft", "put", "remove", "resize", "reverse", "rotate", "setdefault", "setflags", "sort", "subtract",
    "symmetric_difference_update", "update",
})  # fmt: skip
# These change what they are given first.
_FILLING = frozenset({
    "copyto", "delitem", "fill_diagonal", "heapify", "heappop", "heappush", "heappushpop", "heapreplace", "iadd", "iconcat",
    "imul", "insort", "insort_left", "insort_right", "ior", "isub", "place", "put_along_axis", "putmask", "setitem", "shuffle",
})  # fmt: skip
_READING_METHODS = frozenset({
    "count", "copy", "difference", "get", "index", "intersection", "isdisjoint", "issubset", "issuperset", "items", "keys",
    "union", "values",
})  # fmt: skip
_READING = frozenset({
    "all", "any", "bool", "dict", "enumerate", "frozenset", "isinstance", "len", "list", "max", "min", "print", "repr",
    "set", "sorted", "str", "sum", "tuple", "type", "zip", "isin", "rename", "map", "astype", "agg", "array",
})  # fmt: skip
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def changed_names(tree: ast.Module) -> set[str]:
    """Return names of what the module's code stores into.

    Variables, and attributes that it sets on anything but ``self``.
    """
    scopes = [(None, _Scope(tree)), *_functions(tree)]
    by_name: dict[str, list[_Scope]] = {}
    for name, scope in scopes:
        if name is not None:
            by_name.setdefault(name, []).append(scope)
    is_over = False
    while not is_over:
        is_over = True
        for _, scope in scopes:
            more = scope.handed_on(by_name) - scope.changed
            scope.changed |= more
            is_over &= not more
    return scopes[0][1].changed


def binds_any_name(tree: ast.Module) -> bool:
    """Tell whether code may bind names of its module that it does not show.

    Looking some up is not enough.
    """
    read: set[ast.AST] = set()
    for node in all_nodes(tree):
        match node:
            case ast.Subscript(value=ast.Call() as call, ctx=ast.Load()):
                read.add(call)
            case ast.Attribute(value=ast.Call() as call, attr=attr) if attr in _READING_METHODS:
                read.add(call)
            case ast.Compare(comparators=others):
                read.update(others)
            case _:
                pass
    for node in all_nodes(tree):
        match node:
            case ast.Name(id="exec") | ast.Attribute(attr="__dict__"):
                return True
            case ast.Call(func=ast.Name(id="globals" | "vars" | "locals")) if node not in read:
                return True
            case ast.Call(func=ast.Name(id="setattr"), args=[_, name, *_]) if not isinstance(name, ast.Constant):
                return True
            case _:
                pass
    return False


def unpacked_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement unpacks something into."""
    for target in statement.targets if isinstance(statement, ast.Assign) else ():
        for node in ast.walk(target) if isinstance(target, ast.Tuple | ast.List) else ():
            if isinstance(node, ast.Name):
                yield node.id


class _Scope:
    """A module or a function: what it stores into, and what it hands to whom."""

    def __init__(self, root: ast.AST, hidden: int = 0) -> None:
        self.changed: set[str] = set()
        self._aliases: list[tuple[set[str], str]] = []
        self._handed: list[tuple[str, list[tuple[int | str | None, str]]]] = []
        self._parameters: list[str] = []
        if isinstance(root, _Function):
            self._parameters = [arg.arg for arg in [*root.args.posonlyargs, *root.args.args]][hidden:]
        for node in all_nodes(root) if isinstance(root, ast.Module) else ast.walk(root):
            self.changed.update(_stored_at(node))
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                names = {n for target in node.targets for n in _identifiers(target)} - {"self"}
                self._aliases.append((names, node.value.id))
            elif isinstance(node, ast.Assign) and len(node.targets) > 1:  # TABLE = d = {}
                names = {n for target in node.targets for n in _identifiers(target)} - {"self"}
                self._aliases += [(names, name) for name in names]
            elif isinstance(node, ast.Call) and (called := called_name(node)):
                given = [(at, value.id) for at, value in enumerate(node.args) if isinstance(value, ast.Name)]
                named = [(each.arg, each.value.id) for each in node.keywords if isinstance(each.value, ast.Name)]
                if given or named:
                    self._handed.append((called, [*given, *named]))

    def handed_on(self, by_name: dict[str, list[_Scope]]) -> set[str]:
        """Return names that are given to another name that is changed.

        Or to functions which change what they get there.
        """
        found = {name for targets, name in self._aliases if not self.changed.isdisjoint(targets)}
        for called, given in self._handed:
            for other in by_name.get(called, ()):
                found |= {name for at, name in given if other.changes(at)}
        return found

    def changes(self, at: int | str | None) -> bool:
        """Tell whether a function stores into a parameter, by its position or name."""
        if isinstance(at, int):
            return at < len(self._parameters) and self._parameters[at] in self.changed
        return at in self.changed


def escaping_names(tree: ast.Module) -> set[str]:
    """Return names that are handed to others as they are, and not merely read here.

    These may store into them.
    """
    read: set[ast.AST] = set()
    for node in all_nodes(tree):
        match node:
            case ast.Subscript(value=ast.Name() as name) if isinstance(node.ctx, ast.Load):
                read.add(name)
            case ast.Attribute(value=ast.Name() as name, attr=attr) if attr in _READING_METHODS:
                read.add(name)
            case ast.Call() if called_name(node) in _READING:
                read.update(each for each in [*node.args, *(k.value for k in node.keywords)])
            case ast.For(iter=ast.Name() as name) | ast.comprehension(iter=ast.Name() as name):
                read.add(name)
            case ast.Compare(left=left, comparators=others):
                read.update((left, *others))
            case _:
                pass
    loads = [n for n in all_nodes(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]
    return {name.id for name in loads if name not in read}


def _functions(tree: ast.Module) -> list[tuple[str, _Scope]]:
    """List the functions of a module with the names they are called by."""
    found: list[tuple[str, _Scope]] = []
    methods: set[ast.AST] = set()
    for node in all_nodes(tree):
        if isinstance(node, ast.ClassDef):
            stored = {name for below in ast.walk(node) for name in _stored_at(below)}
            for part in node.body:
                if isinstance(part, _Function):
                    methods.add(part)
                    scope = _Scope(part, hidden=1)
                    if part.name == "__init__":  # what an object is given at first its methods may fill
                        scope.changed |= stored
                    found.append((node.name if part.name == "__init__" else part.name, scope))
        elif isinstance(node, _Function) and node not in methods:
            found.append((node.name, _Scope(node)))
    return found


def _stored_at(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(ctx=ast.Store() | ast.Del(), value=ast.Name(id="self")):
            pass  # of whichever object it is
        case ast.Attribute(ctx=ast.Store() | ast.Del()):
            yield node.attr
            yield from _identifiers(node.value)
        case ast.Subscript(ctx=ast.Store() | ast.Del()):
            yield from _identifiers(node.value)
        case ast.Call():
            yield from _stored_by(node)
        case _:
            pass


def _stored_by(call: ast.Call) -> Iterator[str]:
    name = called_name(call)
    if isinstance(call.func, ast.Attribute) and name in _CHANGING:
        yield from _identifiers(call.func.value)
    if name in _FILLING and call.args:
        yield from _identifiers(call.args[0])
    if name in {"setattr", "delattr"} and len(call.args) > 1 and isinstance(call.args[1], ast.Constant):
        yield str(call.args[1].value)
        yield from _identifiers(call.args[0])
    for keyword in call.keywords:
        if keyword.arg == "out":
            yield from _identifiers(keyword.value)


def _identifiers(node: ast.expr) -> set[str]:
    """Return the names in an expression that is stored into: ``pkg.base.TABLE["w"]``."""
    return {
        n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)
    }
