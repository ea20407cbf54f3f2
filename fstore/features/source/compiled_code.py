"""What a text compiles to, and whether two code objects do the same.

Also whether the ``.pyc`` that Python takes for current holds the code of the text.
"""

from __future__ import annotations

import importlib.util
import marshal
import warnings
from functools import lru_cache
from pathlib import Path
from types import CodeType

from fstore.features.source.module_text import SourceUnavailable

_PARTS = (
    *("co_name", "co_qualname", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_code"),
    *("co_exceptiontable", "co_names", "co_varnames", "co_freevars", "co_cellvars"),
)


@lru_cache(maxsize=256)
def compiled(text: str, file: str, flags: int = 0) -> CodeType:
    """Compile a module's text; raises ``SourceUnavailable`` for one that does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code: CodeType = compile(text, file, "exec", flags, dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            raise SourceUnavailable(f"{file} does not compile: {exc}") from exc
    return code


@lru_cache(maxsize=256)
def codes_by_name(root: CodeType) -> dict[str, list[CodeType]]:
    """Return the code objects inside another by their qualified names."""
    found: dict[str, list[CodeType]] = {}
    waiting = [root]
    while waiting:
        inner = [const for const in waiting.pop().co_consts if isinstance(const, CodeType)]
        for code in inner:
            found.setdefault(code.co_qualname, []).append(code)
        waiting += inner
    return found


def check_cached(file: str, code: CodeType, name: str) -> None:
    """Compare the ``.pyc`` that Python takes for current with the code of the text."""
    try:
        cached = Path(importlib.util.cache_from_source(file)).read_bytes()
        seen = Path(file).stat()
    except (OSError, NotImplementedError):
        return
    flags = int.from_bytes(cached[4:8], "little")
    if cached[:4] != importlib.util.MAGIC_NUMBER or flags > 0b11:
        return
    if flags == 0:
        current = cached[8:12] == _word(int(seen.st_mtime)) and cached[12:16] == _word(seen.st_size)
    else:
        # Without the second flag Python trusts the hash unseen.
        current = not flags & 0b10 or cached[8:16] == importlib.util.source_hash(Path(file).read_bytes())
    if not current:
        return
    try:
        loaded = marshal.loads(cached[16:])  # noqa: S302 Python has run it already, or is going to
    except (EOFError, ValueError, TypeError):
        return
    if not same_code(loaded, code):
        raise SourceUnavailable(
            f"{name}: {importlib.util.cache_from_source(file)} is taken for current and holds other code than "
            f"{file}; delete it and start the process again"
        )


def same_code(one: CodeType, other: CodeType) -> bool:
    """Tell whether two code objects do the same, wherever they stand."""
    return all(getattr(one, part) == getattr(other, part) for part in _PARTS) and is_same(
        one.co_consts, other.co_consts
    )


def is_same(one: object, other: object) -> bool:
    """Tell whether two constants are the same, by type and to the last bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return same_code(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return {(type(item), repr(item)) for item in one} == {(type(item), repr(item)) for item in other}
    if isinstance(one, float | complex):
        return repr(one) == repr(other)
    return one == other


def _word(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")
