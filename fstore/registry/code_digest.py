"""The digest of a feature's source: the function and everything of its module that it leans on.

Tracked are the function with its decorators and defaults, and, by name and
transitively, the functions, classes, assignments and import lines of the same
module. Not tracked are other modules' contents, library versions, and names
that are built at run time (``globals()["x"]``, ``exec``).

Comments, docstrings, layout, import order, the Python version and code the
function does not reach leave the digest as it is.
"""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache
from types import FunctionType

from blake3 import blake3

from fstore.registry.module_source import Definition, ModuleSource, first_line, import_text, names_in, star_import_text
from fstore.registry.syntax_text import syntax_text

_FORMAT = "fstore-source-1"


class SourceUnavailable(Exception):
    """The text of a function cannot be read, or is not the text it was compiled from."""


def source_digest(function: FunctionType) -> str:
    """Digest what is known to run when ``function`` is called; 64 hex digits.

    The text is read now: call this when the function has just been defined, so
    that an edit after the import cannot give running code a foreign digest.
    """
    module = _module_of(function)
    own = _definition_of(function, module)
    try:
        texts = [syntax_text(own), *_texts_reached(module, own)]
    except RecursionError as exc:
        raise SourceUnavailable(f"{function.__code__.co_filename} is nested too deeply") from exc
    digest = blake3(_FORMAT.encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def definition_count(function: FunctionType, at_line: int) -> int:
    """Count the definitions of this function's name in its module that start at ``at_line``: one or none."""
    try:
        module = _module_of(function)
    except SourceUnavailable:
        return 0
    return sum(1 for node in module.definitions(function.__qualname__) if first_line(node) == at_line)


def _texts_reached(module: ModuleSource, own: ast.stmt) -> list[str]:
    """Collect the texts of all statements that ``own`` leans on, imports first, the others as they run."""
    imports = {star_import_text(statement) for statement in module.star_imports}
    statements: set[int] = set()
    wanted, known = names_in(own), set[str]()
    while wanted:
        name = wanted.pop()
        known.add(name)
        bindings = module.by_name.get(name, [])
        if len(bindings) == 1 and isinstance(only := module.tree.body[bindings[0]], ast.Import | ast.ImportFrom):
            imports.add(import_text(only, name))
            continue
        for index in bindings:
            statement = module.tree.body[index]
            if statement is not own and index not in statements:
                statements.add(index)
                wanted |= names_in(statement) - known
    return [*sorted(imports), *(syntax_text(module.tree.body[index]) for index in sorted(statements))]


def _module_of(function: FunctionType) -> ModuleSource:
    filename = function.__code__.co_filename
    linecache.checkcache(filename)
    text = "".join(linecache.getlines(filename, function.__globals__))
    if not text.strip():
        raise SourceUnavailable(f"{filename} has no text")
    try:
        return _parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise SourceUnavailable(f"{filename} does not parse: {exc}") from exc


_parsed = lru_cache(maxsize=8)(ModuleSource)


def _definition_of(function: FunctionType, module: ModuleSource) -> Definition:
    line = function.__code__.co_firstlineno
    for node in module.definitions(function.__qualname__):
        if first_line(node) == line:
            return node
    raise SourceUnavailable(f"{function.__code__.co_filename} does not define {function.__qualname__} in line {line}")


def source_format() -> str:
    """Return the name of the digest's format; digests of different formats cannot be compared."""
    return _FORMAT
