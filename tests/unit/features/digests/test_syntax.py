"""The text of syntax that digests are made of: equal for equal syntax only."""

from __future__ import annotations

import ast
import copy
import gc
import sys
from pathlib import Path

import pytest

from fstore.features.source.imports import named_in
from fstore.features.source.module_text import SourceUnavailable, parsed
from fstore.features.source.syntax import syntax_text, syntax_tree

SYNTAX = """
{**a} | {None: a} | {a: None} | {} | {a} | [] | () | [None] | (None,) | [*a] | [a] | a[:] | a[None:] | a[:None] | a[::None]
a[::] | a[0] | a[0,] | a[(0,)] | a[0:1, ::2] | a[...] | a.b | a().b | a(b) | a(*b) | a(**b) | a(b=b) | a(b=None) | a(None)
lambda: 0 | lambda: None | lambda x: 0 | lambda x, /: 0 | lambda *, x: 0 | lambda *, x=None: 0 | lambda x=None: 0 | lambda *x: 0
lambda **x: 0 | lambda x, *, y, z=None: 0 | lambda x, *, y=None, z: 0 | lambda x, y=None: 0 | lambda x, y, /: 0 | lambda x, /, y: 0
'' | 'a' | 'a' 'b' | 'ab ' | b'a' | b'' | f'' | f'a{b}' | f'{a}' | f'{a!r}' | f'{a!s}' | f'{a!a}' | f'{a:b}' | f'{a:{b}}' | f'{a}{b}'
f'{a} {b}' | f'{{a}}' | '{a}' | f'{a:>{b}}' | f'{a:>{b}.{a}}' | f'{"a"}' | f'{None}' | f'{a:{"b"}}' | (f'',) | '\\ud83d\\ude00' | '\\U0001f600'
0 | 0.0 | -0.0 | 0j | -0j | 1 | 1.0 | True | '1' | 1e999 | -1e999 | 1e999j | ... | None | False | '...' | 'None' | 10 | 1_1 | 0x10
a and b or a | a and (b or a) | (a, b) | a if b else a | not a | -a | +a | ~a | a < b < a | (a < b) < a | a is b | a is not b | a in b
(yield) | (yield None) | (yield a) | (yield from a) | (a := b) | [a for a in b] | {a for a in b} | (a for a in b) | {a: b for a in b}
[a for a in b if a] | [a for a in b if a if b] | [a for a in b for b in a] | [a for a, in b]
"""
STATEMENTS = [
    "return", "return None", "return f''", "return ''", "return ()", "raise", "raise a", "raise a from b", "raise a from None",
    "a: int", "a: int = None", "(a): int", "a: int = f''", "a = b = 0", "a = 0", "a = (b, 0)", "a += 0", "a -= 0", "a,", "*a, = b", "a, = b", "[a] = b",
    "def f(x, *, w): return x", "def f(x, *, w=None): return x", "def f(x, w=None): return x", "def f(x, /, w=None): return x",
    "def f(x, *w): return x", "def f(x, **w): return x", "def f(x: int): return x", "def f(x) -> int: return x", "async def f(x): return x",
    "def f(x): return", "def f(x): yield", "@a\ndef f(x): return x", "@a()\ndef f(x): return x", "def f(x): return f''",
    "class A: x = 1", "class A(b): x = 1", "class A(*b): x = 1", "class A(b=b): x = 1", "class A(**b): x = 1", "class A: x: 1",
    "import a", "import a as b", "import a.b", "import a.b as b", "from a import b", "from . import b", "from .a import b", "from .. import b",
    "from a import *", "from a import b as c", "from a import b, c", "global a", "nonlocal a", "del a", "del (a, b)", "del (a,)", "assert a", "assert a, b",
    "assert a, None", "for a in b: a()", "for a in b: a()\nelse: b()", "async for a in b: a()", "while a: a()", "while a: break", "while a: continue",
    "with a: b()", "with a as b: b()", "with a, b: b()", "with (a, b) as c: b()", "async with a: b()",
    "try: a()\nexcept: b()", "try: a()\nexcept a: b()", "try: a()\nexcept a as b: b()", "try: a()\nexcept* a: b()", "try: a()\nfinally: b()",
    "try: a()\nexcept a: b()\nelse: b()", "if a: b()", "if a: b()\nelse: a()", "if a: b()\nelif b: a()", "if a:\n b()\nelse:\n if b: a()\n a()",
    *(f"match a:\n case {pattern}: b()" for pattern in (
        "None", "True", "0", "0.0", "_", "x", "[]", "[_]", "[*_]", "[*x]", "[x]", "[x, y]", "{}", "{'k': _}", "{'k': x}", "{**x}", "{'k': _, **x}", "{None: _}",
        "A()", "A(_)", "A(x=_)", "A(x=x)", "A.b", "'a'", "_ as x", "0 | 1", "(0 | 1) as x", "x if a", "[0, *_]", "[*_, 0]", "-1", "1 + 2j",
    )),
]  # fmt: skip


def test_equal_texts_mean_equal_syntax():
    """Of many pieces of syntax no two that differ have one text: absent is not None, empty is not absent."""
    pieces = [piece.strip() for line in SYNTAX.strip().splitlines() for piece in line.split(" | ")]
    bodies = [f"async def g():\n x = ({piece})" for piece in pieces]
    bodies += ["async def g():\n " + statement.replace("\n", "\n ") for statement in STATEMENTS]
    by_text: dict[str, set[str]] = {}
    for body in dict.fromkeys(bodies):
        tree = ast.parse(f"{body}\n a()")
        by_text.setdefault(syntax_text(tree), set()).add(ast.dump(Normal().visit(tree)))

    assert len(by_text) > 220
    assert [dumps for dumps in by_text.values() if len(dumps) > 1] == []


@pytest.mark.parametrize(
    "name", ["argparse", "dataclasses", "typing", "inspect", "ast", "enum", "fractions", "decimal"]
)
def test_equal_texts_mean_equal_syntax_in_real_code(name: str):
    """The nodes of real modules have equal texts only where their syntax is equal."""
    pytest.importorskip(name)
    tree = ast.parse(Path(str(sys.modules[name].__file__)).read_text(encoding="utf-8"))
    by_text: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.arguments) and not getattr(node, "body", None):
            by_text.setdefault(syntax_text(node), set()).add(ast.dump(Normal().visit(copy.deepcopy(node))))

    assert [dumps for dumps in by_text.values() if len(dumps) > 1] == []


class Normal(ast.NodeTransformer):
    """Leave out what a text leaves out on purpose: contexts, and how literals were spelt."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        node.kind = None
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if "ctx" in node._fields:
            node.ctx = ast.Load()  # type: ignore[attr-defined]
        return node


def test_numbers_of_any_length_are_written():
    """A literal longer than Python prints in decimal has a text, too."""
    assert syntax_text(ast.parse(f"0x{'f' * 5000}")) != syntax_text(ast.parse(f"x = 0x{'e' * 5000}"))


LONG = "\n".join(f"def f{n}(x):\n    return x + {n}" for n in range(3000))


class _Parsing:
    """Parses another text when it is collected, as the traceback of a finalizer does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("x = 1")


def test_a_parse_during_another_changes_nothing():
    """Python 3.11 fails in the outer one with a ``SystemError`` of its own."""
    known = syntax_text(syntax_tree(LONG))
    for _ in range(3):
        gc.collect()
        _Parsing(), _Parsing()
        assert syntax_text(syntax_tree(LONG)) == known


@pytest.mark.parametrize("error", [SystemError("AST constructor recursion depth mismatch"), RecursionError("ast")])
@pytest.mark.parametrize("times", [1, 4, 1000])
def test_a_parser_that_stumbles_is_asked_a_few_times_more(
    monkeypatch: pytest.MonkeyPatch, error: Exception, times: int
):
    """Then the text is refused with the name of its module, never by the parser's own error, nor left out."""
    plain, failed = ast.parse, [0]

    def stumbling(text: str) -> ast.Module:
        failed[0] += 1
        if failed[0] <= times:
            raise error
        return plain(text)

    monkeypatch.setattr(ast, "parse", stumbling)
    name = f"x = {times}"
    if times < 1000:
        assert ast.dump(parsed(name, "pkg.helper").tree) == ast.dump(plain(name))
        failed[0] = 0
        assert list(named_in(["import x.y"], "", "pkg.helper")) == ["x.y"]
        return
    with pytest.raises(SourceUnavailable, match=r"pkg\.helper does not parse"):
        parsed(f"{name}{error!r:.5}".replace("'", "").replace("(", ""), "pkg.helper")
    with pytest.raises(SourceUnavailable, match=r"a text of pkg\.helper cannot be read"):
        list(named_in(["import x.y"], "", "pkg.helper"))
    assert failed[0] < 20
