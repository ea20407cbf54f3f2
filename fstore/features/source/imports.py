"""The modules that a text may import: by import lines, and by texts that name a module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from fstore.features.source.lookups import lookups_in
from fstore.features.source.module_text import SourceUnavailable
from fstore.features.source.syntax import syntax_tree

_DOTTED = re.compile(r"\.*[^\W\d]\w*(\.[^\W\d]\w*)+(:.*)?|\.+[^\W\d]\w*")
_IMPORTING = ("import", "resolve_name")


class Import(NamedTuple):
    """An import line with absolute names; ``names`` are empty for ``import a.b``."""

    module: str
    names: tuple[str, ...]

    def all_names(self) -> list[str]:
        """Name all that the line may mean as modules."""
        return [self.module, *(f"{self.module}.{name}" for name in self.names)]


def imports_in(statements: Iterable[ast.stmt], package: str) -> Iterator[Import]:
    """Yield the import lines of statements of a module of this package, wherever they stand."""
    for statement in statements:
        for node in _import_lines(statement):
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, ()) for alias in node.names)
            else:
                origin = absolute("." * node.level + (node.module or ""), package)
                yield Import(origin, tuple(alias.name for alias in node.names))


@lru_cache(maxsize=4096)  # each feature of a module asks about the same statements
def _import_lines(statement: ast.stmt) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(statement) if isinstance(node, ast.Import | ast.ImportFrom))


def named_in(texts: Iterable[str], package: str, whose: str) -> Iterator[str]:
    """Yield modules that texts may name.

    By dotted names, by files, and by imports of code that is kept as a text.
    ``whose`` texts they are is said in the error for one that cannot be read.
    """
    for text in texts:
        if _DOTTED.fullmatch(text):
            yield text.partition(":")[0]
        if text.endswith(".py"):
            stem = re.split(r"[\\/]", text[:-3])[-1]
            yield from (stem, f".{stem}") if stem.isidentifier() else ()
        if any(word in text for word in _IMPORTING):
            yield from _imported_by_code(text, package, whose)


def _imported_by_code(text: str, package: str, whose: str) -> Iterator[str]:
    try:
        tree = syntax_tree(text)
    except (SyntaxError, ValueError, MemoryError):
        return
    except (SystemError, RecursionError) as exc:  # One process would take it for prose, another for code.
        raise SourceUnavailable(f"a text of {whose} cannot be read: {exc}") from exc
    for line in imports_in(tree.body, package):
        yield from line.all_names()
    yield from lookups_in(tree).imported_texts


def absolute(name: str, package: str) -> str:
    """Return the full name that a relative one means in a package."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    if not level:
        return name
    above = package.split(".")[: len(package.split(".")) - level + 1] if package else []
    return ".".join([*above, *([bare] if bare else [])])
