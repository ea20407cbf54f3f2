"""Which statements of a module only bind names when they run.

They matter to nobody who does not use the names. Everything else, a call or a store
into an object first of all, may change what other statements work with, and is judged
to.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable

from fstore.features.source.lookups import Definition, called_name

_BUILTINS = frozenset(dir(builtins))
# These return what they are given or a wrapper of it, and note it nowhere that other features look.
_DECORATORS = frozenset({
    "staticmethod", "classmethod", "property", "functools.wraps", "functools.lru_cache", "functools.cache",
    "functools.cached_property", "functools.total_ordering", "functools.singledispatch", "contextlib.contextmanager",
    "dataclasses.dataclass", "enum.unique", "abc.abstractmethod", "typing.overload", "typing.final",
    "typing.override", "typing.no_type_check", "numba.njit", "numba.jit", "numba.vectorize", "numba.guvectorize",
    "fstore.feature", "fstore.features.feature",
})  # fmt: skip
_ACCESSORS = frozenset({"setter", "getter", "deleter"})
_BASES = frozenset({"builtins", "typing", "typing_extensions", "enum", "abc", "collections"})
_TYPE_FACTORIES = frozenset({
    "typing.TypeVar", "typing.NewType", "typing.ParamSpec", "logging.getLogger", "dataclasses.field", "enum.auto",
})  # fmt: skip
# These make values of what is written in their calls.
_CONSTRUCTORS = frozenset({
    "re.compile", "zoneinfo.ZoneInfo", "decimal.Decimal", "fractions.Fraction", "collections.namedtuple",
    "datetime.timedelta", "datetime.time", "datetime.date", "datetime.datetime", "datetime.timezone",
    "frozenset", "set", "dict", "list", "tuple", "range", "slice",
})  # fmt: skip
_RUNS = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.comprehension)


class Inert:
    """Judges the statements of one module.

    ``imported`` tells full names, ``bindings`` how often each name is bound.
    """

    def __init__(self, imported: dict[str, str], bindings: dict[str, list[ast.stmt]]) -> None:
        self._imported = imported
        self._builtins = frozenset() if "*" in imported else _BUILTINS  # A star may bind any name anew.
        self._bindings = bindings
        self._classes: dict[str, bool] = {}
        self._around: list[dict[str, bool]] = []  # names that the classes around bind, and whether by a def

    def is_inert(self, statement: ast.stmt) -> bool:
        """Tell whether a statement does no more than bind names."""
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._is_plain_function(statement)
            case ast.ClassDef():
                return self._is_plain_class(statement)
            case ast.Assign(targets=targets, value=value):
                return all(_is_plain_target(target) for target in targets) and self._is_pure(value)
            case ast.AnnAssign(target=ast.Name(), annotation=annotation, value=value):
                return not _runs(annotation) and (value is None or self._is_pure(value))
            case ast.Expr(value=value):
                return self._is_pure(value)
            case _:
                # The last is a statement of Python 3.12; what it stands for is evaluated when somebody asks for it.
                return type(statement).__name__ in {"Import", "ImportFrom", "Pass", "TypeAlias"}

    def full_name(self, node: ast.expr) -> str:
        """Resolve a dotted expression by the module's imports and Python's builtins.

        Empty when it is something else.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        if not self._is_known(node.id):
            return ""
        return ".".join([self._imported.get(node.id, node.id), *reversed(parts)])

    def _is_known(self, name: str) -> bool:
        """Tell whether a name is surely what the import line says, or Python's own."""
        if self._is_shadowed(name):
            return False
        times = len(self._bindings.get(name, ()))
        return times == 1 if name in self._imported else times == 0 and name in self._builtins

    def _is_shadowed(self, name: str) -> bool:
        return any(name in names for names in self._around)

    def _is_plain_function(self, function: Definition) -> bool:
        arguments = function.args
        annotations = [node.annotation for node in ast.iter_child_nodes(arguments) if isinstance(node, ast.arg)]
        return (
            all(self.is_plain_decorator(decorator) for decorator in function.decorator_list)
            and all(self._is_pure(default) for default in [*arguments.defaults, *arguments.kw_defaults] if default)
            and not any(_runs(annotation) for annotation in [*annotations, function.returns] if annotation)
        )

    def is_plain_decorator(self, decorator: ast.expr) -> bool:
        """Tell whether a decorator notes nothing and leaves the function as it is, or wraps it."""
        if isinstance(decorator, ast.Call):
            given = [*decorator.args, *(keyword.value for keyword in decorator.keywords)]
            return all(self._is_pure(value) for value in given) and self.is_plain_decorator(decorator.func)
        if isinstance(decorator, ast.Attribute) and decorator.attr in _ACCESSORS:
            if not isinstance(decorator.value, ast.Name):
                return False
            name = decorator.value.id
            return self._around[-1].get(name, False) if self._around else name not in self._bindings
        return self.full_name(decorator) in _DECORATORS

    def _is_plain_class(self, definition: ast.ClassDef) -> bool:
        if definition.keywords or not all(map(self.is_plain_decorator, definition.decorator_list)):
            return False
        if not all(map(self._is_plain_base, definition.bases)):
            return False
        self._around.append(_bound_in(definition))
        try:
            return all(map(self._is_plain_part, definition.body))
        finally:
            self._around.pop()

    def _is_plain_part(self, part: ast.stmt) -> bool:
        """Judge a statement of a class; one that hears of its subclasses is never plain, nor are they."""
        if isinstance(part, Definition) and part.name in {"__init_subclass__", "__set_name__", "__mro_entries__"}:
            return False
        return not isinstance(part, ast.Import | ast.ImportFrom) and self.is_inert(part)

    def _is_plain_base(self, base: ast.expr) -> bool:
        if isinstance(base, ast.Subscript):
            return not _runs(base.slice) and self._is_plain_base(base.value)
        name = self.full_name(base)
        if name:
            return name in _BUILTINS or name.partition(".")[0] in _BASES
        return isinstance(base, ast.Name) and self._is_plain_class_here(base.id)

    def _is_plain_class_here(self, name: str) -> bool:
        if name not in self._classes:
            self._classes[name] = False  # A class that is its own base is a fault of the text.
            found = self._bindings.get(name, [])
            before, self._around = self._around, []
            self._classes[name] = (
                len(found) == 1 and isinstance(found[0], ast.ClassDef) and self._is_plain_class(found[0])
            )
            self._around = before
        return self._classes[name] and not self._is_shadowed(name)

    def _is_pure(self, value: ast.expr) -> bool:
        """Tell whether an expression surely runs no code of somebody's."""
        match value:
            case ast.Constant() | ast.Name():
                return True
            case ast.Tuple() | ast.List() | ast.Set() | ast.Dict():
                return all(isinstance(item, ast.expr) and self._is_pure(item) for item in _items(value))
            case ast.Attribute():
                return self._is_part_of_module(value)
            case ast.Lambda(args=arguments):
                return all(self._is_pure(d) for d in [*arguments.defaults, *arguments.kw_defaults] if d)
            case ast.Call(args=args, keywords=keywords) if called_name(value):
                given = [*args, *(keyword.value for keyword in keywords)]
                name = self.full_name(value.func)
                judge = self._is_written_out if name in _CONSTRUCTORS else self._is_pure
                return name in _CONSTRUCTORS | _TYPE_FACTORIES and all(map(judge, given))
            case _:
                return not _runs(value) and _only_reads(value) and all(map(self._is_settled, _names(value)))

    def _is_written_out(self, value: ast.expr) -> bool:
        """Tell an expression whose value is all in its text, or Python's own.

        Nothing is used up by reading it.
        """
        names = list(_names(value))
        return self._is_pure(value) and all(self._is_known(name) and self._is_standard(name) for name in names)

    def _is_part_of_module(self, value: ast.Attribute) -> bool:
        """Tell whether an attribute is surely looked up on modules or classes of libraries.

        And not on somebody's object.
        """
        names = list(_names(value))
        if not self.full_name(value):
            return False
        return isinstance(self._bindings.get(names[0], [None])[0], ast.Import) or self._is_standard(names[0])

    def _is_standard(self, name: str) -> bool:
        """Tell whether a name stands for Python's own or for something of the standard library."""
        return name not in self._imported or self._imported[name].partition(".")[0] in sys.stdlib_module_names

    def _is_settled(self, name: str) -> bool:
        """Tell whether operators on a name are Python's own.

        They are if it is a literal of the module, or the standard library's.
        """
        found = self._bindings.get(name, [])
        if self._is_known(name) and self._is_standard(name):
            return True
        if len(found) != 1 or not isinstance(found[0], ast.Assign) or self._is_shadowed(name):
            return False
        return not _runs(found[0].value) and not any(_names(found[0].value)) and _only_reads(found[0].value)


def _bound_in(definition: ast.ClassDef) -> dict[str, bool]:
    """Return the names that a class body binds in its statements, and whether only functions do."""
    names: dict[str, bool] = {}
    for part in definition.body:
        if isinstance(part, Definition):
            names.setdefault(part.name, True)
        else:
            stored = {n.id for n in ast.walk(part) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
            names |= dict.fromkeys(stored | ({part.name} if isinstance(part, ast.ClassDef) else set()), False)
    return names


def _is_plain_target(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(_is_plain_target(item) for item in target.elts)
    return isinstance(target, ast.Name)


def _items(display: ast.Tuple | ast.List | ast.Set | ast.Dict) -> list[ast.expr | None]:
    """Return what a display holds; None stands for a mapping that is unpacked."""
    return [*display.keys, *display.values] if isinstance(display, ast.Dict) else [*display.elts]


def _runs(node: ast.AST) -> bool:
    return any(isinstance(below, _RUNS) for below in ast.walk(node))


def _only_reads(node: ast.AST) -> bool:
    return not any(isinstance(below, ast.Lambda | ast.Attribute) for below in ast.walk(node))


def _names(node: ast.AST) -> Iterable[str]:
    return (below.id for below in ast.walk(node) if isinstance(below, ast.Name))
