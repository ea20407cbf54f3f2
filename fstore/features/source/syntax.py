"""A text of Python syntax that is the same on every Python version.

``ast.dump`` and ``ast.unparse`` change with the interpreter; digests must not.
Left out are positions, empty fields and statements that do nothing, docstrings
first among them. Apart from that, two texts are equal only if the syntax is.
"""

from __future__ import annotations

import ast
from typing import Any

_IRRELEVANT = frozenset({"ctx", "type_comment", "kind", "type_ignores"})
# Literal parts of f-strings and t-strings are cut differently by different versions.
_PIECED = frozenset({"JoinedStr", "TemplateStr"})


def syntax_text(node: ast.AST, *, docstrings: bool = False) -> str:
    """Write a node and all below it as one line, with or without statements that are a mere text."""
    return _text(node, docstrings)


def does_nothing(item: object) -> bool:
    """Recognise a statement that is a mere constant, docstrings among them, and ``pass``."""
    return isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))


def _text(value: Any, docs: bool) -> str:
    if isinstance(value, ast.Constant):
        return _constant(value.value)
    if isinstance(value, ast.AST):
        kind = type(value).__name__
        if kind in _PIECED:
            return f"{kind}({_list(_merged(value.values), docs)})"  # type: ignore[attr-defined]
        # By name, not by position: versions add fields and may reorder them.
        fields = []
        for name in sorted(value._fields):
            field = getattr(value, name, None)
            if name not in _IRRELEVANT and not _is_empty(name, field, docs):
                fields.append(f"{name}={_text(field, docs)}")
        return f"{kind}({','.join(fields)})"
    if isinstance(value, list):
        return _list(value, docs)
    return f"<{value!a}>"  # a name, a level, a conversion, or the absence of a default or key


def _list(items: list[Any], docs: bool) -> str:
    return f"[{','.join(_text(item, docs) for item in items if not _is_left_out(item, docs))}]"


def _is_empty(name: str, field: Any, docs: bool) -> bool:
    if name == "format_spec" and isinstance(field, ast.JoinedStr):
        return not field.values  # Some versions read f"{x:}" as f"{x}", and the two mean the same.
    return field is None or (isinstance(field, list) and all(_is_left_out(item, docs) for item in field))


def _is_left_out(item: Any, docs: bool) -> bool:
    if docs and isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
        return not isinstance(item.value.value, str)
    return does_nothing(item)


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Join neighbouring literal pieces."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(value.value))
        else:
            merged.append(value)
    return [value for value in merged if not (isinstance(value, ast.Constant) and value.value == "")]


def _constant(value: Any) -> str:
    # ascii() and hex() do not depend on Unicode tables, nor on the limit of digits an int may be printed with.
    return f"{type(value).__name__}:{hex(value) if type(value) is int else ascii(value)}"
