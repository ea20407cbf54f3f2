"""What a piece of syntax may look up.

Names, attributes, texts, and ways to reach what it does not name. Where in doubt
something counts as looked up: a statement too many in a digest costs a recompute, one
too few would give a wrong hit.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fstore.features.source.syntax import does_nothing

Definition = ast.FunctionDef | ast.AsyncFunctionDef

_WORD = re.compile(r"[^\W\d]\w*")
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
# Who uses one of these can reach every name of the module, or objects that nothing names.
_NAME_SPACES = frozenset({
    "__annotate__", "__annotations__", "__builtins__", "__closure__", "__dict__", "__getattribute__", "__globals__",
    "__main__", "__subclasses__", "_current_frames", "_getframe", "attrgetter", "builtins", "currentframe", "f_back",
    "f_globals", "f_locals", "gc", "get_objects", "getattr_static", "getmembers", "getmodule", "gi_frame",
    "methodcaller", "modules", "registered", "run_path", "run_module", "tb_frame",
})  # fmt: skip
# Those of them that lead to modules and functions which nobody handed over.
_FOREIGN_SPACES = frozenset({
    "__closure__", "__globals__", "__main__", "__subclasses__", "_current_frames", "_getframe", "currentframe",
    "f_back", "f_globals", "f_locals", "gc", "get_objects", "getmodule", "gi_frame", "modules", "run_path",
    "run_module", "tb_frame",
})  # fmt: skip
_NAME_SPACE_BUILTINS = frozenset({"dir", "globals", "locals", "vars"})
# Harmless when the text they are given stands in the code: then its words count as looked up.
_TEXT_FIRST = frozenset({"eval", "exec", "compile", "query"})
_TEXT_SECOND = frozenset({"getattr", "setattr", "delattr"})
_IMPORTERS = frozenset({
    "import_module", "__import__", "importorskip", "resolve_name", "run_module", "lazy_import", "_gcd_import",
    "_find_and_load", "_handle_fromlist", "import_attr", "import_from_string", "import_item", "import_object",
    "import_string", "load_object", "safeimport", "symbol_by_name",
})  # fmt: skip
# What is read back from bytes may be any function or object of any module.
_PICKLES = frozenset({
    "_pickle", "allow_pickle", "cloudpickle", "dill", "joblib", "pickle", "read_pickle", "shelve", "unpickle",
})  # fmt: skip
_DISCOVERERS = frozenset({
    "iter_modules", "walk_packages", "entry_points", "spec_from_file_location", "SourceFileLoader", "run_path",
    "exec_module", "load_module", "module_from_spec", "pydoc", *_PICKLES,
})  # fmt: skip
_DOCUMENTS = frozenset({"__doc__", "getdoc", "pydoc", "docstring", "doctest", "DocTestFinder"})
_SOURCE_TEXTS = frozenset({
    "getsource", "getsourcelines", "getsourcefile", "getcomments", "get_source", "linecache", "co_firstlineno",
    "f_lineno", "tb_lineno", "co_positions", "co_lines", "findsource", "run_module", "runpy",
})  # fmt: skip
_TYPE_CHECKING = "TYPE_CHECKING"


@dataclass(slots=True)
class Lookups:
    """What was found; the flags tell of access to more than is named."""

    names: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    imported_texts: set[str] = field(default_factory=set)
    any_name: bool = False
    any_module: bool = False
    docstrings: bool = False
    source_text: bool = False
    foreign_spaces: bool = False  # ways to modules that it does not import, and into functions
    own_lines: bool = False  # the text around it, or its positions

    def words(self) -> set[str]:
        """Return the identifiers inside the texts, as ``raw.query("close > @LIMIT")`` holds some."""
        # Python and pandas read identifiers so, whatever form they are written in.
        return {word for text in self.texts for word in _WORD.findall(unicodedata.normalize("NFKC", text))}

    def add(self, other: Lookups) -> None:
        """Take in what another piece of syntax looks up."""
        self.names |= other.names
        self.attributes |= other.attributes
        self.texts |= other.texts
        self.imported_texts |= other.imported_texts
        self.any_name |= other.any_name
        self.any_module |= other.any_module
        self.docstrings |= other.docstrings
        self.source_text |= other.source_text
        self.foreign_spaces |= other.foreign_spaces
        self.own_lines |= other.own_lines


def lookups_in(root: ast.AST) -> Lookups:
    """Collect what a piece of syntax may look up; docstrings look nothing up."""
    found = Lookups()
    _collect(root, found)
    if isinstance(root, Definition):
        found.names -= _local_names(root)
    return _flagged(found)


def _flagged(found: Lookups) -> Lookups:
    # getattr(function, "__globals__") and the like: only names that no prose has.
    used = (
        found.names | found.attributes | {text for text in found.texts if text.startswith(("__", "f_", "tb_", "co_"))}
    )
    found.any_name |= not used.isdisjoint(_PICKLES)
    found.any_name |= not used.isdisjoint(_NAME_SPACES) or not found.names.isdisjoint(_NAME_SPACE_BUILTINS)
    found.any_module |= not used.isdisjoint(_DISCOVERERS)
    found.docstrings = not used.isdisjoint(_DOCUMENTS)
    found.source_text |= not used.isdisjoint(_SOURCE_TEXTS)
    found.own_lines = found.source_text or "__code__" in used
    found.foreign_spaces = found.any_module or not used.isdisjoint(_FOREIGN_SPACES)
    return found


def _collect(root: ast.AST, found: Lookups) -> None:
    told: set[ast.AST] = set()  # functions of calls that were looked at with their arguments
    waiting: list[ast.AST] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name):
            found.names.add(node.id)
            _judge(node, node.id, told, found)
        elif isinstance(node, ast.Attribute):
            found.attributes.add(node.attr)
            _judge(node, node.attr, told, found)
            # Who sets it has code run that this text is not taken to run, here or elsewhere.
            found.source_text |= node.attr == _TYPE_CHECKING and isinstance(node.ctx, ast.Store)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str | bytes):
                found.texts.update([node.value] if isinstance(node.value, str) else _decoded(node.value))
                found.source_text |= any(_TYPE_CHECKING in text for text in [node.value] if isinstance(text, str))
            continue
        elif isinstance(node, ast.keyword) and node.arg in _PICKLES:
            found.attributes.add(node.arg)
        elif isinstance(node, ast.Call):
            _judge_call(node, told, found)
        elif isinstance(node, ast.Global):
            found.names.update(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.attributes.update(part for alias in node.names for part in alias.name.split("."))
            found.any_name |= isinstance(node, ast.ImportFrom) and node.module in {"builtins", "gc"}
            if any(alias.name in _IMPORTERS and alias.asname not in _IMPORTERS | {None} for alias in node.names):
                found.any_module = found.any_name = True
        elif does_nothing(node):
            continue
        waiting.extend(ast.iter_child_nodes(node))


def _judge_call(call: ast.Call, told: set[ast.AST], found: Lookups) -> None:
    name = called_name(call)
    place = 1 if name in _TEXT_SECOND else 0
    if name not in _TEXT_SECOND | _TEXT_FIRST | _IMPORTERS or len(call.args) <= place:
        return
    text = call.args[place]
    is_relative = name == "__import__" and (len(call.args) > 4 or any(k.arg in {"level", None} for k in call.keywords))
    if isinstance(text, ast.Constant) and not is_relative:
        told.add(call.func)
        if name in _IMPORTERS and isinstance(text.value, str):
            _note_import(text.value, call, found)


def _note_import(name: str, call: ast.Call, found: Lookups) -> None:
    """Note the module that ``import_module(".helper", "pkg")`` means."""
    base = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "package")]
    match base:
        case [ast.Constant(value=str(package))] if name.startswith("."):
            found.imported_texts.add(package + name)
        case [ast.Call() | ast.Attribute()] if name.startswith("."):
            found.any_module = True
        case _:
            found.imported_texts.add(name)


def _judge(node: ast.Name | ast.Attribute, name: str, told: set[ast.AST], found: Lookups) -> None:
    if node in told:
        return
    if name in _IMPORTERS:
        found.any_module = found.any_name = True
    # re.compile() and methods of the caller's own are no builtins; query and eval are also methods of frames.
    elif isinstance(node, ast.Name):
        found.any_name |= name in _TEXT_FIRST | _TEXT_SECOND and name != "query"
    else:
        found.any_name |= name in {"query", "eval"}


def _decoded(text: bytes) -> set[str]:
    return {text.decode("latin-1"), text.decode("utf-8", "replace")}


def lookups_of_words(words: Iterable[str]) -> Lookups:
    """Return what compiled code may look up, of which only words are known."""
    return _flagged(Lookups(attributes=set(words)))


def called_name(call: ast.Call) -> str:
    """Return the last part of the name that is called, or an empty text."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def declared_global(node: ast.AST) -> set[str]:
    """Collect the names that are declared global anywhere below a node."""
    return {name for below in ast.walk(node) if isinstance(below, ast.Global) for name in below.names}


def mangled(names: Iterable[str], classes: Iterable[str]) -> set[str]:
    """Return the names that private ones are changed into inside classes.

    ``__w`` in ``Features`` is ``_Features__w``.
    """
    private = [name for name in names if name.startswith("__") and not name.endswith("__")]
    return {f"_{owner.lstrip('_')}{name}" for name in private for owner in classes if owner.strip("_")}


def _local_names(function: Definition) -> set[str]:
    """Collect names that are surely the function's own in its whole body.

    Nowhere in it are they a module's name.
    """
    if any(isinstance(node, ast.ClassDef) for node in ast.walk(function)):
        return set()  # A class body looks past the function's names into the module.
    arguments = function.args
    parameters = [node for node in ast.iter_child_nodes(arguments) if isinstance(node, ast.arg)]
    own = {parameter.arg for parameter in parameters} | set(_assigned_names(function.body))
    # Defaults, decorators and annotations are looked up in the module, not in the body.
    outside: list[ast.AST | None] = [*function.decorator_list, *arguments.defaults, *arguments.kw_defaults]
    outside += [function.returns, *(parameter.annotation for parameter in parameters)]
    outside += getattr(function, "type_params", [])
    looked_up = {n.id for node in outside if node for n in ast.walk(node) if isinstance(n, ast.Name)}
    return own - declared_global(function) - looked_up


def _assigned_names(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names assigned among the nodes; what a nested scope assigns is not the function's."""
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if not isinstance(node, _NESTED_SCOPES):
            yield from _assigned_names(ast.iter_child_nodes(node))
