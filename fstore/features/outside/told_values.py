"""Values that a module's text tells although they are made of other names.

Tables of functions, thresholds of thresholds, times. Only what Python and well-known libraries make of what is
written is worked out; no code of the author's is run for it.
"""

from __future__ import annotations

import ast
import builtins
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from fstore.features.source.compiled_code import is_same

if TYPE_CHECKING:
    from fstore.features.source.module_source import ModuleSource

MISSING: Any = object()
_READING = (
    *(ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp),
    *(ast.JoinedStr, ast.FormattedValue, ast.Subscript, ast.Slice, ast.Starred, ast.Name, ast.Attribute, ast.Call),
    *(ast.keyword, ast.Lambda, ast.arguments, ast.arg, ast.ListComp, ast.SetComp, ast.DictComp, ast.comprehension),
    *(ast.unaryop, ast.operator, ast.boolop, ast.cmpop, ast.expr_context),
)
_BUILTINS = {
    name: getattr(builtins, name)
    for name in (
        *(
            "abs",
            "bool",
            "bytes",
            "dict",
            "divmod",
            "enumerate",
            "float",
            "frozenset",
            "int",
            "len",
            "list",
            "max",
            "min",
        ),
        *("pow", "range", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip", "complex"),
    )
}
# Calls of these give what is written in them, without looking at anything else.
_MAKERS = frozenset({
    "collections.OrderedDict", "collections.Counter", "collections.deque",
    "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta", "datetime.timezone",
    "decimal.Decimal", "fractions.Fraction", "functools.partial", "operator.attrgetter", "operator.itemgetter",
    "pathlib.Path", "pathlib.PurePath", "re.compile", "types.MappingProxyType", "zoneinfo.ZoneInfo",
    "numpy.array", "numpy.bool_", "numpy.datetime64", "numpy.dtype", "numpy.float32", "numpy.float64", "numpy.int32",
    "numpy.int64", "numpy.timedelta64", "pandas.Timedelta", "pandas.Timestamp",
})  # fmt: skip
_TEXT_METHODS = frozenset({"format", "join", "lower", "replace", "split", "strip", "title", "upper"})
_BY_REPR = frozenset({
    "datetime", "decimal", "fractions", "operator", "pathlib", "zoneinfo", "pandas", "collections", "builtins",
})  # fmt: skip
_MOST_NODES = 2_000
_NOTHING: Mapping[str, Any] = {}


class Teller:
    """Works out what expressions of a module's text give.

    ``fixed`` are names of constants, ``settled`` of definitions.
    """

    def __init__(self, source: ModuleSource, fixed: Mapping[str, Any]) -> None:
        self._source, self._fixed = source, fixed
        self._settled = {
            statement.name: statement.lineno
            for statement in source.statements
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and len(source.by_name[statement.name]) == 1
        }
        self._full = source.inert.full_name
        self.is_plain_decorator = source.inert.is_plain_decorator

    def expected(self, node: ast.expr, space: Mapping[str, Any], given: Mapping[str, Any] = _NOTHING) -> Any:
        """Return what an expression gave when the module ran, or MISSING.

        Functions and classes are those of ``space`` now; ``given`` are values of further names.
        """
        names = self._names_for(node, space, given)
        if names is None:
            return MISSING
        try:
            code = compile(ast.Expression(node), "<told>", "eval", dont_inherit=True)
            return eval(code, {"__builtins__": {}, "__file__": space.get("__file__"), **names})  # noqa: S307 constants, and calls that are known
        except Exception:  # the module did not get so far either
            return MISSING

    def _names_for(self, node: ast.expr, space: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the objects that the names in an expression stand for.

        None if it may do more than read and make.
        """
        below = list(_outside_lambdas(node))
        if len(below) > _MOST_NODES or not all(isinstance(part, _READING) for part in below):
            return None
        own = {
            name.id for part in below if isinstance(part, ast.comprehension) for name in ast.walk(part.target)
            if isinstance(name, ast.Name)
        }  # fmt: skip
        makers: set[ast.AST] = set()
        for part in below:
            if isinstance(part, ast.Call):
                if not self._is_known_call(part):
                    return None
                makers.update(ast.walk(part.func))
        names: dict[str, Any] = {}
        for part in below:
            if isinstance(part, ast.Attribute) and part not in makers:
                return None
            if not isinstance(part, ast.Name) or part.id in own or part.id in names:
                continue
            found = given.get(part.id, MISSING)
            found = self._stands_for(part, space, called=part in makers) if found is MISSING else found
            if found is MISSING:
                return None
            names[part.id] = found
        return names

    def _is_known_call(self, call: ast.Call) -> bool:
        match call.func:
            case ast.Attribute(value=ast.Constant(value=str()), attr=attr):
                return attr in _TEXT_METHODS
            case ast.Name(id=name) if name in _BUILTINS:
                return self._full(call.func) == name
            case _:
                return self._full(call.func) in _MAKERS

    def _stands_for(self, node: ast.Name, space: Mapping[str, Any], *, called: bool) -> Any:
        name = node.id
        if name in self._fixed:
            return self._fixed[name]
        if name in self._settled:  # above, or it was a builtin's name then
            return space.get(name, MISSING) if self._settled[name] < node.lineno else MISSING
        if name in _BUILTINS and self._full(ast.Name(name, ast.Load())) == name:
            return _BUILTINS[name]
        return _imported(self._full(ast.Name(name, ast.Load()))) if called else MISSING


def _imported(full: str) -> Any:
    """Find what a library's full name stands for, past whatever the module has under it now."""
    module, _, last = full.rpartition(".")
    if full in sys.modules:
        return sys.modules[full]
    return getattr(sys.modules.get(module), last, MISSING) if module else MISSING


def _outside_lambdas(node: ast.AST) -> Iterator[ast.AST]:
    """Walk an expression; the body of a lambda runs later."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Lambda) and child is node.body):
            yield from _outside_lambdas(child)


def alike(now: Any, said: Any) -> bool:
    """Tell whether a value is what its text says, by type and to the last bit."""
    if now is said or type(now) is not type(said):
        return now is said
    compare = _COMPARED.get(type(said))
    if compare is not None:
        return compare(now, said)
    if isinstance(said, np.generic):
        return bool(now.dtype == said.dtype and now.tobytes() == said.tobytes())
    if isinstance(said, ModuleType | BuiltinFunctionType | type):
        return False  # each is itself alone
    if type(said).__module__.partition(".")[0].lstrip("_") in _BY_REPR:
        return repr(now) == repr(said)
    return is_same(now, said)


def _all_alike(now: Any, said: Any) -> bool:
    return len(now) == len(said) and all(map(alike, now, said))


def _same_items(now: Any, said: Any) -> bool:
    return _all_alike(list(now.items()), list(said.items()))


def _same_set(now: Any, said: Any) -> bool:
    return {(type(item), repr(item)) for item in now} == {(type(item), repr(item)) for item in said}


def _same_array(now: Any, said: Any) -> bool:
    same = now.dtype == said.dtype and now.shape == said.shape
    return bool(same) and (
        _all_alike(now.tolist(), said.tolist()) if said.dtype.hasobject else now.tobytes() == said.tobytes()
    )


def _same_function(now: FunctionType, said: FunctionType) -> bool:
    """Tell whether a lambda is the one of the text, which was compiled anew.

    Other functions are themselves. Alone, it may be compiled to other steps than among the module's statements.
    """
    if said.__code__.co_filename != "<told>" or now.__code__.co_filename != said.__globals__["__file__"]:
        return False
    defaults = alike(now.__defaults__, said.__defaults__) and alike(now.__kwdefaults__, said.__kwdefaults__)
    return defaults and _same_code(now.__code__, said.__code__)


def _same_code(now: CodeType, said: CodeType) -> bool:
    parts = (
        "co_firstlineno",
        "co_names",
        "co_varnames",
        "co_argcount",
        "co_posonlyargcount",
        "co_kwonlyargcount",
        "co_freevars",
    )
    if any(getattr(now, part) != getattr(said, part) for part in parts) or len(now.co_consts) != len(said.co_consts):
        return False
    return all(
        _same_code(one, other) if isinstance(one, CodeType) and isinstance(other, CodeType) else is_same(one, other)
        for one, other in zip(now.co_consts, said.co_consts, strict=True)
        if not (isinstance(one, str) and isinstance(other, str) and "<lambda>" in other)  # qualified names
    )


_COMPARED: dict[type, Callable[[Any, Any], bool]] = {
    list: _all_alike,
    tuple: _all_alike,
    dict: _same_items,
    set: _same_set,
    frozenset: _same_set,
    np.ndarray: _same_array,
    FunctionType: _same_function,
    functools.partial: lambda now, said: (
        alike(now.func, said.func) and alike(now.args, said.args) and alike(now.keywords, said.keywords)
    ),
    type(dict.__dict__): lambda now, said: _same_items(dict(now), dict(said)),
}
