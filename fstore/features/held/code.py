"""What one code object is.

Its instructions, its constants with their exact types, and the globals it looks up.
"""

from __future__ import annotations

import dis
import functools
import re
import struct
import unicodedata
from collections.abc import Container, Iterable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from blake3 import blake3

_IN_TEXT = re.compile(r"@([^\W\d]\w*)")  # raw.query("close > @LIMIT")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
# Code that uses one of these may look up any name that it has as a text.
_BY_TEXT = frozenset({
    "globals", "eval", "exec", "vars", "locals", "getattr", "attrgetter", "compile", "modules", "import_module", "__import__",
    "evaluate", "f_globals", "__globals__", "__dict__",
})  # fmt: skip
# Code that uses one of these, as a global or as an attribute, may look up names that no text holds.
_ANY_GLOBAL = frozenset({"eval", "exec", "globals"})
_ANY_ATTRIBUTE = frozenset({
    "__globals__", "_current_frames", "_getframe", "currentframe", "f_back", "f_globals", "get_objects", "get_referrers",
    "gi_frame", "modules", "run_path", "run_module", "tb_frame",
})  # fmt: skip
# These find functions and classes that nothing names, by what a file says or as subclasses.
_ANY_DEFINITION = frozenset({
    "Unpickler", "__subclasses__", "cloudpickle", "dill", "joblib", "pickle", "read_pickle", "shelve",
})  # fmt: skip
_NO_STEPS = frozenset({"CACHE", "COPY_FREE_VARS", "EXTENDED_ARG", "NOP", "NOT_TAKEN", "PRECALL", "PUSH_NULL", "RESUME"})
_OPEN_END = re.compile(r"@\s*$")  # the name follows from a value: f"close > @{name}"


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
    any_name: bool = False
    any_definition: bool = False
    queries: bool = False

    def names_in(self, texts: Iterable[str]) -> set[str]:
        """Return the names that this code may find in texts that it is given, as ``raw.query(TEXT)`` does."""
        if not self.queries:
            return set()
        pattern = _IDENTIFIER if "eval" in self.attributes else _IN_TEXT
        return {name for text in texts for name in pattern.findall(_normal(text))}

    def looked_up(self, space: Container[str]) -> frozenset[str]:
        """Return the names to look up; one that only a text mentions counts when the module has it."""
        return self.names | {name for name in self.names_in_texts if name in space}


@functools.lru_cache(maxsize=1024)  # equal code objects have equal constants of equal types
def code_identity(code: CodeType) -> CodeIdentity:
    """Digest a code object; line numbers and file names are no part of it."""
    digest = blake3()
    any_name = any_definition = queries = False
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
            any_name |= nested.any_name
            any_definition |= nested.any_definition
            queries |= nested.queries
        elif isinstance(constant, str):
            texts.append(constant)
    by_text = not _BY_TEXT.isdisjoint(code.co_names)
    pattern = _IDENTIFIER if by_text else _IN_TEXT
    mentions |= {name for text in texts for name in pattern.findall(_normal(text))}
    mentions |= {*code.co_names} if by_text else set()  # sys.modules[__name__].LIMIT
    names -= {"__module__", "__qualname__"}
    queries |= not {"query", "eval", "evaluate"}.isdisjoint(code.co_names)
    any_name |= _looks_up_any(code)
    any_name |= queries and any(map(_OPEN_END.search, texts))
    any_definition |= not _ANY_DEFINITION.isdisjoint(code.co_names)
    return CodeIdentity(
        digest.hexdigest(),
        frozenset(names),
        frozenset(mentions),
        frozenset(attributes),
        any_name,
        any_definition,
        queries,
    )


def _looks_up_any(code: CodeType) -> bool:
    """Tell whether code may look up a name that none of its constants is.

    ``eval("W")``, ``globals()["W"]`` and ``sys.modules[__name__].W`` say which it is;
    instructions that another version of Python writes otherwise count as if they did not.
    """
    if _ANY_GLOBAL.isdisjoint(code.co_names) and _ANY_ATTRIBUTE.isdisjoint(code.co_names):
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in _NO_STEPS]
    steps += [steps[-1]] * 4
    for at, step in enumerate(steps[:-4]):
        name = step.argval
        if not isinstance(name, str) or step.opname == "LOAD_CONST":
            continue
        is_global = "GLOBAL" in step.opname or "NAME" in step.opname
        one, two, three, four = steps[at + 1 : at + 5]
        if is_global and name in {"eval", "exec"}:
            told = _is_text(one) and two.opname.startswith("CALL")
        elif is_global and name == "globals":
            is_get = two.argval == "get" and _is_text(three)
            is_asked = two.opname == "CONTAINS_OP" and at > 0 and _is_text(steps[at - 1])
            told = is_get or is_asked or (_is_text(two) and _is_subscript(three))
        elif not is_global and name == "modules":
            is_own = (one.argval == "__name__" or _is_text(one)) and _is_subscript(two)
            is_attribute = three.opname.startswith(("LOAD_ATTR", "LOAD_METHOD"))
            told = one.opname == "CONTAINS_OP" or (
                is_own and (is_attribute or (_is_text(three) and four.opname.startswith("CALL")))
            )
        else:
            told = is_global or name not in _ANY_ATTRIBUTE
        if not told:
            return True
    return False


def _is_text(step: dis.Instruction) -> bool:
    return step.opname == "LOAD_CONST" and isinstance(step.argval, str)


def _is_subscript(step: dis.Instruction) -> bool:
    return step.opname.startswith("BINARY_SUBSCR") or (step.opname == "BINARY_OP" and step.argrepr.startswith("["))


def _normal(text: str) -> str:
    """Return a text in the form in which Python and pandas read identifiers."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


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
