"""Values that a script or notebook sets in modules of features: each makes another version, what a module does itself does not."""

from __future__ import annotations

import importlib
import logging
import operator
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fstore.calling.feature_calls import call_feature
from fstore.errors import FeatureNotRegistered
from fstore.features import declarations
from fstore.features.local_features import local
from fstore.features.registry import resolve_feature
from fstore.features.source import running_code
from fstore.features.unregistered import find_feature
from tests.unit.features.outside_edits import FILLED_BY_ITSELF, NOT_SET, SET_AFTER_A_LOOK, SET_LATER

# The text of a module, and what other code does to it; ``w()`` returns another value afterwards.
SET_FROM_OUTSIDE = {
    "a number": ("W = 5\ndef w(): return W", "m.W = 9"),
    "a number that was computed from numbers": ("W = 60 * 5\ndef w(): return W", "m.W = 9"),
    "the kind of a number": ("W = 5\ndef w(): return type(W)", "m.W = 5.0"),
    "the sign of zero": ("W = 0.0\ndef w(): return str(W)", "m.W = -0.0"),
    "truth": ("W = 1\ndef w(): return W is True", "m.W = True"),
    "nothing": ("W = None\ndef w(): return W", "m.W = 9"),
    "a text": ("Q = 'a > 5'\ndef w(): return Q", "m.Q = 'a > 9'"),
    "a tuple": ("W = (5, 6)\ndef w(): return W[0]", "m.W = (9, 6)"),
    "a tuple of lists": ("W = ([5], 6)\ndef w(): return W[0][0]", "m.W[0][0] = 9"),
    "an annotated number": ("W: int = 5\ndef w(): return W", "m.W = 9"),
    "two names of one line": ("V = W = 5\ndef w(): return W", "m.W = 9"),
    "an item of a table": ("T = {'w': 5}\ndef w(): return T['w']", "m.T['w'] = 9"),
    "an item that is added": ("T = {}\ndef w(): return T.get('w', 5)", "m.T['w'] = 9"),
    "an item within": ("T = {'a': {'w': [5]}}\ndef w(): return T['a']['w'][0]", "m.T['a']['w'][0] = 9"),
    "the order of a table": ("T = {'a': 1, 'b': 2}\ndef w(): return list(T)", "m.T['a'] = m.T.pop('a')"),
    "a list": ("L = [5]\ndef w(): return list(L)", "m.L.append(9)"),
    "a set": ("S = {5}\ndef w(): return sorted(S)", "m.S.add(9)"),
    "a list that another name stands for": ("L = [5]\ndef w(): return L[0]", "m.L = [9]"),
    "a function": ("def h(): return 5\ndef w(): return h()", "m.h = lambda: 9"),
    "a function of the same name": ("def h(): return 5\ndef w(): return h()", "def h(): return 9\nm.h = h"),
    "a default": ("def h(k=5): return k\ndef w(): return h()", "m.h.__defaults__ = (9,)"),
    "a list as a default": ("def h(k=[5]): return k[0]\ndef w(): return h()", "m.h.__defaults__[0][0] = 9"),
    "a keyword's default": ("def h(*, k=5): return k\ndef w(): return h()", "m.h.__kwdefaults__['k'] = 9"),
    "an attribute of a function": ("def h(): return getattr(h, 'w', 5)\ndef w(): return h()", "m.h.w = 9"),
    "an attribute of a class": ("class C:\n    w = 5\ndef w(): return C.w", "m.C.w = 9"),
    "a table of a class": ("class C:\n    t = {'w': 5}\ndef w(): return C.t['w']", "m.C.t['w'] = 9"),
    "an attribute of a derived class": ("class B: pass\nclass C(B):\n    w = 5\ndef w(): return C().w", "m.C.w = 9"),
    "a method": ("class C:\n    def h(self): return 5\ndef w(): return C().h()", "m.C.h = lambda self: 9"),
    "a class": ("class C:\n    w = 5\ndef w(): return C.w", "class C:\n    w = 9\nm.C = C"),
    "an object of settings": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    w: int = 5\nCFG = C()\ndef w(): return CFG.w",
        "m.CFG.w = 9",
    ),
    "an object of settings with values of its own": (
        "from dataclasses import dataclass, field\n@dataclass\nclass C:\n    v: int\n    w: list = field(default_factory=list)\n"
        "CFG = C(v=3)\ndef w(): return [CFG.v, *CFG.w]",
        "m.CFG.w.append(9)",
    ),
    "an object of settings beside classes that set such an attribute": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    w: int = 5\nCFG = C()\nclass Other:\n"
        "    def __init__(self, w): self.w = w\ndef w(): return CFG.w",
        "m.CFG.w = 9",
    ),
    "an attribute that an object is given": (
        "class C:\n    w = 5\nCFG = C()\ndef w(): return CFG.w",
        "m.CFG.w = 9",
    ),
    "a name space": (
        "from types import SimpleNamespace\nCFG = SimpleNamespace(w=5, v=6)\ndef w(): return CFG.w",
        "m.CFG.w = 9",
    ),
    "an attribute that a name space loses": (
        "import types\nCFG = types.SimpleNamespace(w=5, v=6)\ndef w(): return getattr(CFG, 'w', 9)",
        "del m.CFG.w",
    ),
    "by a function that is made for it": (
        "W = 5\ndef configure(w):\n    global W\n    W = w\ndef w(): return W",
        "m.configure(9)",
    ),
}
# What a module does itself, or what only looks like a change.
ITS_OWN_AFFAIR = {
    "a memo": "M = {}\ndef w():\n    M[len(M)] = object()\n    return 5",
    "a memo in a default": "def w(memo={}):\n    memo.setdefault('a', len(memo))\n    return 5",
    "a memo in an attribute": "def w():\n    w.seen = getattr(w, 'seen', 0) + 1\n    return 5",
    "a counter": "N = 0\ndef w():\n    global N\n    N += 1\n    return 5",
    "a counter of a class": "class C:\n    n = []\n    def go(self): self.n.append(1)\ndef w():\n    C().go()\n    return 5",
    "what is loaded once": "D = None\ndef w():\n    global D\n    D = D or object()\n    return 5",
    "a registry": "R = []\ndef add(f):\n    R.append(f)\n    return f\n@add\ndef a(): return 5\ndef w(): return R[0]()",
    "what is bound twice": "W = 5\nif True:\n    W = 6\ndef w(): return W",
    "a loop": "W = 5\nfor W in (6,): pass\ndef w(): return W",
    "an enum": "import enum\nclass E(enum.Enum):\n    A = 5\ndef w(): return E.A.value",
    "a dataclass": "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass C:\n    w: int = 5\ndef w(): return C().w",
    "a named tuple": "import typing\nclass C(typing.NamedTuple):\n    w: int = 5\ndef w(): return C().w",
    "a decorated function": "import functools\n@functools.lru_cache\ndef h(): return 5\ndef w(): return h()",
    "not a number": "W = 1e999 - 1e999\ndef w(): return str(W)",
    "private names of a class": "class C:\n    __w = 5\n    __slots__ = ()\n    def w(self): return self.__w\ndef w(): return C().w()",
    "an object that counts": "class C: pass\nS = C()\ndef w():\n    S.n = getattr(S, 'n', 0) + 1\n    return 5",
    "an object that fills itself": (
        "class C:\n    def go(self):\n        self.memo = getattr(self, 'memo', []) + [object()]\nS = C()\ndef w():\n    S.go()\n    return 5"
    ),
    "an object that makes more of itself": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    w: int = 5\n    def __post_init__(self): self.w += 1\nS = C()\ndef w(): return S.w"
    ),
    "an object that makes itself": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    w: int = 5\n    def __init__(self, w=7): vars(self)['w'] = w\n"
        "S = C(8)\ndef w(): return S.w"
    ),
    "a derived object of settings": (
        "import dataclasses\n@dataclasses.dataclass\nclass B:\n    v: tuple = (1, 2)\n@dataclasses.dataclass(kw_only=True)\nclass C(B):\n"
        "    w: float = 5.0\nS = C((3,), w=2.0)\ndef w(): return S.w"
    ),
    "a frozen object of settings": (
        "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass C:\n    w: int = 5\nS = C(w=6)\ndef w(): return S.w"
    ),
    "a docstring": 'def w():\n    """Five."""\n    return 5',
}
SET_FROM_OUTSIDE |= SET_LATER
ITS_OWN_AFFAIR |= NOT_SET
FEATURE = "{}\ndef f(raw, config): return w()\n"
TRACKED = "import fstore\n{}\n@fstore.feature()\ndef f(raw, config): return w()\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Return a function that writes modules of a package and imports the first one anew."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(running_code, "_STARTED_NS", time.time_ns() + 10**15)  # as if the files had long been there
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "desk_set").mkdir()
    (tmp_path / "desk_set" / "__init__.py").write_text("")

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "desk_set"]:
            del sys.modules[name]

    def write(**texts: str) -> ModuleType:
        for name, text in texts.items():
            (tmp_path / "desk_set" / f"{name}.py").write_text(text)
        forget()
        importlib.invalidate_caches()
        return importlib.import_module(f"desk_set.{next(iter(texts))}")

    yield write
    forget()


def script(text: str) -> Any:
    """Run a text as a notebook does, and return its features."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(text, space)  # noqa: S102 our own text
    return space["f"]


def change(module: ModuleType, edit: str) -> None:
    """Do to a module what a notebook does."""
    exec(edit, {"m": module, "__name__": "__main__"})  # noqa: S102 our own text


def key(function: Any, version: str | None = None) -> tuple[str, str]:
    """Return what enters keys."""
    made = local(function, version=version)
    return made.name, made.version


@pytest.mark.parametrize("kind", SET_FROM_OUTSIDE)
def test_what_is_set_in_the_module_of_a_feature_makes_another_version(kind: str, write: Callable[..., Any]) -> None:
    """Of what was wrapped before as well; and put back it is the former one."""
    text, edit = SET_FROM_OUTSIDE[kind]
    module = write(alphas=FEATURE.format(text))
    wrapped, before, result = local(module.f), key(module.f), module.f(None, {})

    change(module, edit)

    assert module.f(None, {}) != result
    assert key(module.f) != before
    assert resolve_feature(wrapped).version == key(module.f)[1]
    assert key(write(alphas=FEATURE.format(text)).f) == before


@pytest.mark.parametrize("kind", SET_FROM_OUTSIDE)
def test_what_is_set_in_another_module_makes_another_version(kind: str, write: Callable[..., Any]) -> None:
    """For functions of modules, and for those of notebooks that use one."""
    text, edit = SET_FROM_OUTSIDE[kind]
    module = write(alphas="from .options import w\ndef f(raw, config): return w()\n", options=text)
    noted = script("import desk_set.alphas\nf = lambda raw, config: desk_set.alphas.f(raw, config)")
    before = key(module.f), key(noted, "1")

    change(sys.modules["desk_set.options"], edit)

    assert key(module.f) != before[0]
    assert key(noted, "1") != before[1]


@pytest.mark.parametrize("kind", SET_FROM_OUTSIDE)
def test_young_files_tell_it_as_well(kind: str, write: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those it is not known whether they were edited or set; the values count."""
    monkeypatch.setattr(running_code, "_STARTED_NS", 0)
    text, edit = SET_FROM_OUTSIDE[kind]
    module = write(alphas=FEATURE.format(text))
    before = key(module.f)

    change(module, edit)

    assert key(module.f) != before


@pytest.mark.parametrize("kind", SET_FROM_OUTSIDE)
def test_one_change_is_not_taken_for_another(kind: str, write: Callable[..., Any]) -> None:
    """Each run of a script that sets the same shares results, one that sets something else does not."""
    text, edit = SET_FROM_OUTSIDE[kind]
    keys = []
    for said in (edit, edit, edit.replace("9", "7")):
        module = write(alphas=FEATURE.format(text))
        change(module, said)
        keys.append(key(module.f))

    assert keys[0] == keys[1]
    assert edit == edit.replace("9", "7") or keys[0] != keys[2]


@pytest.mark.parametrize("kind", ITS_OWN_AFFAIR)
def test_what_a_module_does_itself_changes_nothing(kind: str, write: Callable[..., Any]) -> None:
    """A memo that made each request a miss would be worse than none; nor does it stop a worker."""
    module = write(alphas=FEATURE.format(ITS_OWN_AFFAIR[kind]), tracked=TRACKED.format(ITS_OWN_AFFAIR[kind]))
    tracked = importlib.import_module("desk_set.tracked")
    wrapped, before = local(module.f), key(module.f)

    for _ in range(3):
        module.f(None, {})
        assert call_feature(resolve_feature(tracked.f), None, {}) == tracked.f(None, {})

    assert key(module.f) == before
    assert resolve_feature(wrapped) is wrapped


@pytest.mark.parametrize("kind", SET_AFTER_A_LOOK)
def test_what_no_text_tells_is_what_was_there_first(kind: str, write: Callable[..., Any]) -> None:
    """Set after the function was wrapped it makes another version, in its module and in others; put back it does not."""
    text, edit = SET_AFTER_A_LOOK[kind]
    module = write(
        alphas="from .options import w\ndef f(raw, config): return w()\n", options=text, own=FEATURE.format(text)
    )
    own = importlib.import_module("desk_set.own")
    noted = script("import desk_set.alphas\nf = lambda raw, config: desk_set.alphas.f(raw, config)")
    functions, versions = (module.f, own.f, noted), ("auto", "auto", "1")
    before = [key(f, None if version == "auto" else version) for f, version in zip(functions, versions, strict=True)]
    results = [f(None, {}) for f in functions]

    change(sys.modules["desk_set.options"], edit)
    change(own, edit)

    assert [f(None, {}) for f in functions] != results
    now = [key(f, None if version == "auto" else version) for f, version in zip(functions, versions, strict=True)]
    # What an application puts into another module, such as a connection, is told where its content can be.
    assert list(map(operator.ne, now, before)) == [
        kind != "an object for another",
        True,
        kind != "an object for another",
    ]
    assert resolve_feature(local(own.f)).version == now[1][1]


@pytest.mark.parametrize("kind", FILLED_BY_ITSELF)
def test_what_a_module_fills_itself_is_no_setting(kind: str, write: Callable[..., Any], caplog: Any) -> None:
    """Neither another version nor a warning."""
    text = FILLED_BY_ITSELF[kind]
    module = write(alphas=FEATURE.format(text), tracked=TRACKED.format(text))
    tracked = importlib.import_module("desk_set.tracked")
    before = key(module.f)

    for _ in range(3):
        module.f(None, {})
        find_feature(tracked.f)
        assert call_feature(resolve_feature(tracked.f), None, {}) == tracked.f(None, {})

    assert key(module.f) == before
    assert "another in this process" not in caplog.text


def test_what_the_feature_does_not_use_does_not_count(write: Callable[..., Any]) -> None:
    """A switch of another function of the module."""
    module = write(alphas="VERBOSE = False\ndef other(): return VERBOSE\ndef f(raw, config): return 5\n")
    before = key(module.f)

    module.VERBOSE = True

    assert key(module.f) == before


def test_what_an_application_puts_into_another_module_stops_no_feature(write: Callable[..., Any]) -> None:
    """A connection that a module of the package is given has no content that could be told."""
    module = write(
        alphas="from .state import w\ndef f(raw, config): return w()\n", state="DB = None\ndef w(): return 5\n"
    )
    before = key(module.f)

    sys.modules["desk_set.state"].DB = object()

    assert key(module.f) == before


def test_what_cannot_be_told_is_refused_where_the_feature_uses_it(write: Callable[..., Any]) -> None:
    """Its results would be taken for those of the module as it is written."""
    module = write(alphas="DB = None\ndef f(raw, config): return DB\n")
    assert key(module.f)

    module.DB = object()

    with pytest.raises(FeatureNotRegistered, match=r"set in its module from outside .*DB.*put it back"):
        key(module.f)


@pytest.mark.parametrize("text", ["f = alphas.f", "f = lambda raw, config: alphas.f(raw, config)"])
@pytest.mark.parametrize("set_", ["m.W", "m.C.w"])
def test_what_is_nested_too_deeply_is_refused_wherever_it_is_set(
    text: str, set_: str, write: Callable[..., Any]
) -> None:
    """In the module of the feature, and in one that a notebook's function uses: an error that says what to do."""
    module = write(alphas="W = 5\nclass C:\n    w = 5\ndef f(raw, config): return W, C.w\n")
    noted = script(f"import desk_set.alphas as alphas\n{text}")
    version = "1" if "lambda" in text else None
    assert key(noted, version)

    change(module, f"{set_} = ()\nfor _ in range(5000): {set_} = [{set_}]")

    with pytest.raises(FeatureNotRegistered, match="nested too deeply"):
        key(noted, version)


def test_explicit_version_is_warned_about(write: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """That two values share it is the author's call, and does not pass in silence."""
    module = write(alphas="W = 5\ndef f(raw, config): return W\n")
    assert local(module.f, version="1").version == "1"
    module.W = 9

    with caplog.at_level(logging.WARNING):
        assert local(module.f, version="1").version == "1"

    assert "the source of one changed" in caplog.text


@pytest.mark.parametrize("edit", [None, "m.W = 9"])
def test_what_arrives_from_another_process_is_what_it_is_here(edit: str | None, write: Callable[..., Any]) -> None:
    """Another text of its module, or another value set there, computes under a version of its own."""
    module = write(alphas="W = 5\ndef f(raw, config): return W\n")
    sent, version = pickle.dumps(local(module.f)), key(module.f)[1]
    assert pickle.loads(sent).version == version

    module = write(alphas="W = 5\ndef f(raw, config): return W\n" if edit else "W = 9\ndef f(raw, config): return W\n")
    change(module, edit or "")

    arrived = pickle.loads(sent)
    assert arrived({}, {}) == 9
    assert arrived.version == key(module.f)[1] != version


@pytest.mark.parametrize("edit", ["m.W = 9", "m.h = lambda: 9", "m.C.w = 9"])
def test_worker_whose_modules_were_set_from_outside_publishes_nothing(edit: str, write: Callable[..., Any]) -> None:
    """The version is that of the text, which every other worker runs."""
    text = "W = 5\ndef h(): return 5\nclass C:\n    w = 5\ndef w(): return W + h() + C.w"
    module = write(alphas=TRACKED.format(text))
    feature = resolve_feature(module.f)
    assert call_feature(feature, None, {}) == 15

    change(module, edit)

    with pytest.raises(FeatureNotRegistered, match=r"desk_set\.alphas\.(W|h|C\.w) was set from outside"):
        call_feature(feature, None, {})


@pytest.mark.parametrize(
    "setter",
    ["import desk_set.alphas as a\na.W = 9\n", "import sys\nsetattr(sys.modules['desk_set.' + 'alphas'], 'W', 9)\n"],
)
def test_what_covered_code_sets_stops_no_worker(setter: str, write: Callable[..., Any]) -> None:
    """Its text is part of the version."""
    module = write(alphas=TRACKED.format("W = 5\nimport desk_set.setter\ndef w(): return W"), setter="", other="")
    folder = Path(str(module.__file__)).parent
    body = "".join(f"    {line}\n" for line in setter.splitlines())
    (folder / "setter.py").write_text(f"def go():\n{body}")
    (folder / "alphas.py").write_text(
        "import fstore\nimport desk_set.setter\nW = 5\n@fstore.feature()\ndef f(raw, config):\n    desk_set.setter.go()\n    return W\n"
    )
    module = write(alphas=(folder / "alphas.py").read_text())

    assert call_feature(resolve_feature(module.f), None, {}) == 9


def test_functions_that_an_import_hook_rewrites_are_not_compared(
    write: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Type checkers put a wrapper of theirs around each function of a package."""
    module = write(alphas="def h(): return 5\ndef f(raw, config): return h()\n")
    before = key(module.f)

    class Hook(type(module.__loader__)):  # type: ignore[misc]
        """A loader of somebody's."""

    monkeypatch.setattr(module, "__loader__", Hook("desk_set.alphas", str(module.__file__)))
    inner = module.h

    def checked(*given: Any) -> Any:
        return inner(*given)

    module.h = checked

    assert key(module.f) == before


@pytest.mark.parametrize("edit", ["m.W = 9", "m.h = lambda: 9", "m.C.w = 9"])
def test_trainer_is_told_that_no_worker_sees_what_it_set(edit: str, write: Callable[..., Any]) -> None:
    """Who sets a constant in a notebook and asks for the registered feature would take results of the text for those of his."""
    text = "W = 5\ndef h(): return 5\nclass C:\n    w = 5\ndef w(): return W + h() + C.w"
    module = write(alphas=TRACKED.format(text))
    assert find_feature(module.f).name == "desk_set.alphas:f"

    change(module, edit)

    with pytest.raises(FeatureNotRegistered, match=r"which no worker sees.*fstore\.local\(f\)"):
        find_feature(module.f)


@pytest.mark.parametrize(
    ("where", "text", "edit"),
    [
        ("an explicit version", TRACKED.replace("feature()", "feature(version='1')").format("W = 5\ndef w(): return W"), "m.W = 9"),
        ("another module", "import fstore\nfrom .other import w\n@fstore.feature()\ndef f(raw, config): return w()\n", "o.W = 9"),
        ("its own doing", TRACKED.format("W = 5\ndef go(w):\n    global W\n    W = w\ndef w(): return W"), "m.go(9)"),
    ],
)  # fmt: skip
def test_trainer_is_warned_once_where_a_worker_may_be_alike(
    where: str,
    text: str,
    edit: str,
    write: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An application configures modules of its package; it goes on, and knows."""
    monkeypatch.setattr(declarations, "_warned", set())
    module = write(alphas=text, other="W = 5\ndef w(): return W\n")
    find_feature(module.f)
    assert "workers do not see it" not in caplog.text
    other = importlib.import_module("desk_set.other")
    exec(edit, {"m": module, "o": other})  # noqa: S102 our own text
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            find_feature(module.f)

    assert caplog.text.count("workers do not see it") == 1


def test_many_tables_are_looked_at_again_without_being_compared_anew(write: Callable[..., Any]) -> None:
    """What is put into one of them, in the place of another thing or beside it, is seen all the same."""
    module = write(alphas=FEATURE.format("T = {'a': 5, 'b': 6}\nL = [5, 6]\ndef w(): return T['a'] + L[0]"))
    wrapped, before = local(module.f), key(module.f)

    for edit, back in [
        ("m.T['a'] = 9", "m.T['a'] = 5"),
        ("m.T['a'] = 5.0", "m.T['a'] = 5"),
        ("m.L[0] = True", "m.L[0] = 5"),
        ("m.T['c'] = 9", "del m.T['c']"),
        ("m.T = dict(reversed(m.T.items()))", "m.T = {'a': 5, 'b': 6}"),
    ]:
        change(module, edit)
        assert resolve_feature(wrapped).version != before[1], edit
        change(module, back)
        assert resolve_feature(wrapped).version == before[1], back
