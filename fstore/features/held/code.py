"""What one code object is.

Its instructions, its constants with their exact types, and the globals it looks up.
"""

from __future__ import annotations

import dis
import functools
import re
import struct
from collections.abc import Container
from dataclasses import dataclass
from types import CodeType
from typing import Any

from blake3 import blake3

_IN_TEXT = re.compile(r"@([^\W\d]\w*)")  # raw.query("close > @LIMIT")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
# Code that uses one of these may look up any name that it has as a text.
_BY_TEXT = frozenset({
    "globals", "eval", "exec", "vars", "locals", "getattr", "attrgetter", "compile", "modules", "import_module", "__import__",
    "query", "evaluate", "f_globals", "__globals__", "__dict__",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """The digest of a code object, nested ones included, and what it looks up.

    ``names`` are those it may look up in its module, ``attributes`` those of
    attributes.
    """

    digest: str
    names: frozenset[str]
    names_in_texts: frozenset[str]
    attributes: frozenset[str]

    def looked_up(self, space: Container[str]) -> frozenset[str]:
        """Return the names to look up; one that only a text mentions counts when the module has it."""
        return self.names | {name for name in self.names_in_texts if name in space}


@functools.lru_cache(maxsize=1024)  # equal code objects have equal constants of equal types
def code_identity(code: CodeType) -> CodeIdentity:
    """Digest a code object; line numbers and file names are no part of it."""
    digest = blake3()
    names, texts, mentions, attributes = set[str](), list[str](), set[str](), {*code.co_names}
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    variables = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    for part in (code.co_code, code.co_exceptiontable, repr(counts).encode(), repr(variables).encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    digest.update(_constant(code.co_consts))
    for instruction in dis.get_instructions(code):
        if "GLOBAL" in instruction.opname or "NAME" in instruction.opname:
            names.add(str(instruction.argval))
    for constant in _flat(code.co_consts):
        if isinstance(constant, CodeType):
            nested = code_identity(constant)
            names |= nested.names
            attributes |= nested.attributes
            mentions |= nested.names_in_texts
        elif isinstance(constant, str):
            texts.append(constant)
    by_text = not _BY_TEXT.isdisjoint(code.co_names)
    pattern = _IDENTIFIER if by_text else _IN_TEXT
    mentions |= {name for text in texts for name in pattern.findall(text)}
    mentions |= {*code.co_names} if by_text else set()  # sys.modules[__name__].LIMIT
    names -= {"__module__", "__qualname__"}
    return CodeIdentity(digest.hexdigest(), frozenset(names), frozenset(mentions), frozenset(attributes))


def _flat(constants: Any) -> list[Any]:
    return [part for item in constants for part in (_flat(item) if isinstance(item, tuple | frozenset) else [item])]


def _constant(value: Any) -> bytes:
    """Write a constant of compiled code so that 1, True and 1.0, or 0.0 and -0.0, never look alike."""
    kind = type(value)
    if kind is tuple:
        content = b"".join(map(_constant, value))
    elif kind is frozenset:
        content = b"".join(sorted(map(_constant, value)))
    elif kind is CodeType:
        content = code_identity(value).digest.encode()
    elif kind is float:
        content = struct.pack(">d", value)
    elif kind is complex:
        content = struct.pack(">dd", value.real, value.imag)
    elif kind is bytes:
        content = value
    else:
        content = (value if kind is str else repr(value)).encode("utf-8", "surrogatepass")
    return f"{kind.__name__}:{len(content)}:".encode() + content
