"""Source digests: what changes a feature's version and what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from fstore.features.source.digest import SourceUnavailable, source_digest

BASE = '''
import numpy as np
from math import sqrt

HORIZONS = (1, 5, 15)
UNUSED = 1
TABLE = {"a": 1}
TABLE["b"] = 2

def band(x, width=2.0):
    return scale(x) * width

def scale(x):
    return sqrt(x)

def unused(x):
    return x

def vwap(raw, config, decimals=HORIZONS[0]):
    """Average price."""
    text = f"{config['w']:>{decimals}}{{}} a" "b"
    return band(raw) + np.sum(HORIZONS) + TABLE["b"]
'''


@pytest.fixture
def digest(tmp_path: Path) -> Callable[..., str]:
    """Return a function that digests ``vwap`` of a module with the given text."""
    count = 0

    def of(text: str, name: str = "vwap") -> str:
        nonlocal count
        count += 1
        function = module_from(tmp_path / f"m{count}.py", text)
        for part in name.split("."):
            function = getattr(function, part)
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        assert isinstance(function, FunctionType)
        return source_digest(function)

    return of


def module_from(file: Path, text: str) -> ModuleType:
    """Run a module text from a file of its own."""
    file.write_text(text, encoding="utf-8")
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 our own text
    return module


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    """Average price."""\n', ""),
        ('"""Average price."""', '"""Another text."""'),
        ("return x\n", "return x  # unchanged\n"),
        ("band(raw) + np", "band( raw )+np"),
        ("return band(raw) + np.sum(HORIZONS)", "return (\n        band(raw)\n        + np.sum(HORIZONS)\n    )"),
        ('{config[\'w\']:>{decimals}}{{}} a" "b"', "{config['w']:>{decimals}}{{}} ab\""),
        ("UNUSED = 1", "UNUSED = 2"),
        ("def unused(x):\n    return x", "def unused(x):\n    return -x"),
        ("from math import sqrt", "from math import exp, sqrt"),
        ("import numpy as np\nfrom math import sqrt", "from math import (\n    sqrt,\n)\nimport numpy as np"),
        ("(1, 5, 15)", "(1, 5, 0xF)"),
        ("TABLE = {", "print\nTABLE = {"),
        ("def unused", 'if __name__ == "__main__":\n    print(vwap, HORIZONS)\n\ndef unused'),
    ],
)
def test_what_changes_nothing_leaves_the_digest(digest: Callable[..., str], old: str, new: str):
    """Comments, docstrings, layout, import order and code out of reach do not make a new version."""
    assert old in BASE

    assert digest(BASE.replace(old, new)) == digest(BASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("band(raw) + np", "band(raw) - np"),
        ("(1, 5, 15)", "(1, 5, 16)"),
        ("width=2.0", "width=2"),
        ("return sqrt(x)", "return sqrt(x) + 0"),
        ("from math import sqrt", "from cmath import sqrt"),
        ("import numpy as np", "import numpy.linalg as np"),
        ('TABLE["b"] = 2', 'TABLE["b"] = 3'),
        ('TABLE["b"] = 2', 'TABLE["b"] = 2\nTABLE.update(b=5)'),
        ('TABLE["b"] = 2', 'TABLE["b"] = 2\nfor h in HORIZONS:\n    TABLE["b"] += h'),
        ('TABLE["b"] = 2', 'TABLE["b"] = 2\ndict.update(TABLE, b=7)'),
        ("decimals=HORIZONS[0]", "decimals=HORIZONS[1]"),
        ("def vwap", "@lambda f: f\ndef vwap"),
        ("{config['w']", "{config['v']"),
        (":>{decimals}", ":<{decimals}"),
        (' a"', ' c"'),
        ("def unused", "if __name__ != '__main__':\n    HORIZONS = (2,)\n\ndef unused"),
        ("def unused", "def change():\n    global HORIZONS\n    HORIZONS = (3,)\n\nchange()\n\ndef unused"),
        ("from math import sqrt", "from math import *\nfrom math import sqrt"),
    ],
)
def test_what_may_change_the_result_changes_the_digest(digest: Callable[..., str], old: str, new: str):
    """Edits of the function, its defaults, decorators, helpers, constants and imports make a new version."""
    assert old in BASE

    assert digest(BASE.replace(old, new, 1)) != digest(BASE)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "W = 1\nW = 2\ndef vwap(raw, config):\n    return W\n",
            "W = 2\nW = 1\ndef vwap(raw, config):\n    return W\n",
        ),
        (
            "w = 1\ndef vwap(raw, config):\n    return [w for w in raw] + [w]\n",
            "w = 2\ndef vwap(raw, config):\n    return [w for w in raw] + [w]\n",
        ),
        (
            "w = 1\ndef vwap(raw, config):\n    w = 0\n    def inner():\n        global w\n        return w\n    return inner()\n",
            "w = 2\ndef vwap(raw, config):\n    w = 0\n    def inner():\n        global w\n        return w\n    return inner()\n",
        ),
        (
            "w = 1\ndef vwap(raw, config):\n    w = 0\n    class C:\n        w = w\n    return C.w\n",
            "w = 2\ndef vwap(raw, config):\n    w = 0\n    class C:\n        w = w\n    return C.w\n",
        ),
        (
            "class P:\n    K = 1\n    def of(self):\n        return self.K\ndef vwap(raw, config):\n    return P().of()\n",
            "class P:\n    K = 2\n    def of(self):\n        return self.K\ndef vwap(raw, config):\n    return P().of()\n",
        ),
        (
            "try:\n    import absent_x as fast\nexcept ImportError:\n    fast = None\ndef vwap(raw, config):\n    return fast\n",
            "try:\n    import absent_x as fast\nexcept ImportError:\n    fast = 0\ndef vwap(raw, config):\n    return fast\n",
        ),
    ],
)
def test_python_scoping_is_respected(digest: Callable[..., str], first: str, second: str):
    """Order of assignments, comprehensions, nested scopes, class bodies and branches cannot hide a change."""
    assert digest(first) != digest(second)


def test_own_names_do_not_reach_into_the_module(digest: Callable[..., str]):
    """A module variable that shares its name with a parameter or a local variable is not tracked."""
    text = "raw = 1\nwindow = 1\ndef vwap(raw, config):\n    window = config['w']\n    return raw + window\n"

    assert digest(text) == digest(text.replace("= 1", "= 2"))


def test_decorators_with_their_source_belong_to_the_function(digest: Callable[..., str]):
    """A decorator of the same module runs with the function, so its edits count."""
    text = (
        "import functools\n"
        "def doubled(f):\n"
        "    @functools.wraps(f)\n"
        "    def run(raw, config):\n"
        "        return 2 * f(raw, config)\n"
        "    return run\n"
        "@doubled\n"
        "def vwap(raw, config):\n"
        "    return raw\n"
    )

    assert digest(text) != digest(text.replace("2 *", "3 *"))


def test_methods_and_branches_are_found_by_their_line(digest: Callable[..., str]):
    """Of several definitions of one name, the one that was compiled is digested."""
    text = "if {}:\n    def vwap(raw, config):\n        return 1\nelse:\n    def vwap(raw, config):\n        return 2\n"
    inner = "class A:\n    class B:\n        @staticmethod\n        def vwap(raw, config):\n            return 1\n"

    assert digest(text.format("True")) != digest(text.format("False"))
    assert digest(inner, "A.B.vwap") != digest(inner.replace("return 1", "return 2"), "A.B.vwap")


def test_source_that_cannot_be_trusted_is_refused(tmp_path: Path):
    """A function without a file, or whose file was edited since, has no digest."""
    spaces: dict[str, FunctionType] = {}
    exec("def vwap(raw, config):\n    return raw\n", spaces)  # noqa: S102 our own text
    with pytest.raises(SourceUnavailable, match="has no text"):
        source_digest(spaces["vwap"])

    edited = module_from(tmp_path / "edited.py", BASE)
    (tmp_path / "edited.py").write_text(f"# a new first line\n{BASE}", encoding="utf-8")
    with pytest.raises(SourceUnavailable, match="does not define vwap in line"):
        source_digest(edited.vwap)

    (tmp_path / "edited.py").write_text("def (", encoding="utf-8")
    with pytest.raises(SourceUnavailable, match="does not parse"):
        source_digest(edited.vwap)


@pytest.mark.parametrize("terms", [600, 6000])
def test_source_nested_beyond_reason_is_refused(tmp_path: Path, terms: int):
    """Code that is nested too deeply to be read has no digest, and says so instead of breaking."""
    text = f"def vwap(raw, config):\n    return {'+'.join(['raw'] * terms)}\n"
    (tmp_path / "deep.py").write_text(text, encoding="utf-8")
    shallow = module_from(tmp_path / "other.py", "def vwap(raw, config):\n    return 1\n").vwap
    deep = FunctionType(shallow.__code__.replace(co_filename=str(tmp_path / "deep.py")), {}, "vwap")

    with pytest.raises(SourceUnavailable):
        source_digest(deep)


def test_digest_is_pinned(digest: Callable[..., str]):
    """Every Python version gives the digest written here; changing it would recompute everybody's cache."""
    assert digest(BASE) == PINNED


PINNED = "cb323d75f5a10fa8d19454fb0678e03804230e6f343d8b72e40769323ccde019"
