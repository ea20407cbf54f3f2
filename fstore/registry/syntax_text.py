"""A text of Python syntax that is the same on every Python version.

``ast.dump`` and ``ast.unparse`` change with the interpreter; digests must not.
Left out are positions, empty fields and statements that do nothing, docstrings
first among them.
"""

from __future__ import annotations

import ast
import json
from typing import Any

_IRRELEVANT = frozenset({"ctx", "type_comment", "kind", "type_ignores"})


def syntax_text(node: ast.AST) -> str:
    """Write a node and all below it as one line."""
    return _text(node)


def _text(value: Any) -> str:
    if isinstance(value, ast.Constant):
        return _constant(value.value)
    if isinstance(value, ast.JoinedStr):
        return f"JoinedStr({_text(_merged(value.values))})"
    if isinstance(value, ast.AST):
        # By name, not by position: versions add fields and may reorder them.
        fields = sorted(
            (name, field) for name, field in ast.iter_fields(value) if name not in _IRRELEVANT and not _is_empty(field)
        )
        return f"{type(value).__name__}({','.join(f'{name}={_text(field)}' for name, field in fields)})"
    if isinstance(value, list):
        return f"[{','.join(_text(item) for item in value if not _does_nothing(item))}]"
    return _constant(value)


def _is_empty(field: Any) -> bool:
    if isinstance(field, ast.JoinedStr):
        return not field.values
    return field is None or (isinstance(field, list) and all(_does_nothing(item) for item in field))


def _does_nothing(item: Any) -> bool:
    return isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Join neighbouring literal pieces of an f-string, which versions cut differently."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(value.value))
        else:
            merged.append(value)
    return [value for value in merged if not (isinstance(value, ast.Constant) and value.value == "")]


def _constant(value: Any) -> str:
    if isinstance(value, str):
        return f"str:{json.dumps(value)}"
    return f"{type(value).__name__}:{value!r}"
