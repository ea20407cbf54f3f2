"""What a local feature is called, and when two callables are one feature."""

from __future__ import annotations

import functools
import importlib
import linecache
import logging
import pickle
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.errors import FeatureNotRegistered
from fstore.features.local_features import LocalFeature, local
from fstore.features.registry import resolve_feature

SCRIPT = '''
import contextlib, dataclasses, enum, functools, math, sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from math import floor as rounded
import numpy as np
import pandas as pd

LIMIT = 30
SCALE = 1.5
TABLE = {"w": 5}
TABLE["v"] = 6
STEPS = [1, (2, 3)]
KINDS = {1, 2}
ARRAY = np.array([1.0, 2.0])
FRAME = pd.DataFrame({"a": [1.0]}, index=pd.date_range("2024-01-02", periods=1, tz="UTC"))
SINCE = pd.Timestamp("2024-01-02")
DAY = date(2024, 1, 2)
TICK = Decimal("0.50")
FOLDER = Path("here")
SIGN = 0.0
UNUSED = 1
BY_TEXT = 11
BY_NAME = 12
BY_MODULE = 13
FIELDS = 14

class Side(enum.Enum):
    BUY = 1
    def other(self): return 21

@dataclasses.dataclass
class Parameters:
    width: int = 31
    def doubled(self): return 2 * self.width

class Base:
    def run(self, x): return x + 41

class Model(Base):
    count = 42
    def __init__(self, w): self.w = w
    @property
    def width(self): return self.w + 43
    @staticmethod
    def fixed(): return 44
    def all(self, x): return self.run(x) + self.width + self.count + self.fixed()

MODEL = Model(45)

def scaled(n):
    def over(f):
        @functools.wraps(f)
        def inner(x): return f(x) * n
        return inner
    return over

@scaled(51)
def helper(x, by=52, *, plus=53): return x * by + plus + deeper(x)
helper.weight = 54

def deeper(x): return x + 55 if x else helper(x)

@functools.lru_cache
def cached(n): return n + 56

@contextlib.contextmanager
def context(): yield 57

@functools.singledispatch
def step(x): return x + 58
@step.register
def _(x: int): return x + 59

@functools.cache
def shared(): return 60

PART = functools.partial(deeper, 61)
QUICK = lambda x: x + 62
REGISTRY = {}
def registers(f): REGISTRY[f.__name__] = f; return f
@registers
def indicator(x): return x + 63

def unused(x): return x + 1

def features(raw, config, default=71, *, other=72):
    """Words."""
    def nested(x): return x + SCALE
    class Inner:
        w = STEPS
    with context():
        raw = raw.query("close > @LIMIT")
    if raw is None:
        return features(raw, config)
    return (
        nested(raw), [rounded(x) + DAY.day for x in ARRAY], {k for k in KINDS}, TABLE, FRAME, SINCE, TICK, FOLDER, SIGN,
        Side.BUY, Parameters(), MODEL.all(1), helper(1), cached(1), step(1), shared(), PART(), QUICK(1),
        REGISTRY["indicator"](1), globals()["BY_TEXT"], eval("BY_NAME"), sys.modules[__name__].BY_MODULE, math.pi, 73,
    )
'''

EDITS = [
    ("LIMIT = 30", "LIMIT = 50"),
    ("SCALE = 1.5", "SCALE = 2.5"),
    ('TABLE = {"w": 5}', 'TABLE = {"w": 9}'),
    ('TABLE["v"] = 6', 'TABLE["v"] = 7'),
    ("[1, (2, 3)]", "[1, [2, 3]]"),
    ("[1, (2, 3)]", "[True, (2, 3)]"),
    ("[1, (2, 3)]", "[1.0, (2, 3)]"),
    ("KINDS = {1, 2}", "KINDS = {1, 3}"),
    ("np.array([1.0, 2.0])", "np.array([1.0, 3.0])"),
    ("np.array([1.0, 2.0])", "np.array([1, 2])"),
    ('pd.DataFrame({"a": [1.0]}', 'pd.DataFrame({"a": [2.0]}'),
    ('tz="UTC"', 'tz="Europe/London"'),
    ('pd.Timestamp("2024-01-02")', 'pd.Timestamp("2024-01-03")'),
    ("date(2024, 1, 2)", "date(2024, 1, 3)"),
    ('Decimal("0.50")', 'Decimal("0.5")'),
    ('Path("here")', '"here"'),
    ("SIGN = 0.0", "SIGN = -0.0"),
    ("BY_TEXT = 11", "BY_TEXT = 12"),
    ("BY_NAME = 12", "BY_NAME = 13"),
    ("BY_MODULE = 13", "BY_MODULE = 14"),
    ("BUY = 1", "BUY = 2"),
    ("return 21", "return 22"),
    ("width: int = 31", "width: int = 32"),
    ("return 2 * self.width", "return 3 * self.width"),
    ("return x + 41", "return x + 40"),
    ("count = 42", "count = 40"),
    ("self.w + 43", "self.w + 40"),
    ("return 44", "return 40"),
    ("Model(45)", "Model(40)"),
    ("return f(x) * n", "return f(x) + n"),
    ("@scaled(51)", "@scaled(50)"),
    ("by=52", "by=50"),
    ("plus=53", "plus=50"),
    ("helper.weight = 54", "helper.weight = 50"),
    ("x + 55", "x + 50"),
    ("n + 56", "n + 50"),
    ("@functools.lru_cache\n", "@functools.lru_cache(maxsize=1)\n"),
    ("yield 57", "yield 50"),
    ("x + 58", "x + 50"),
    ("x + 59", "x + 50"),
    ("return 60", "return 61"),
    ("partial(deeper, 61)", "partial(deeper, 60)"),
    ("partial(deeper, 61)", "partial(deeper, x=61)"),
    ("x + 62", "x + 60"),
    ("x + 63", "x + 60"),
    ("default=71", "default=70"),
    ("other=72", "other=70"),
    ("math.pi, 73,", "math.pi, 74,"),
    ("math.pi, 73,", "math.pi, 73.0,"),
    ("math.pi, 73,", "math.e, 73,"),
    ("floor as rounded", "ceil as rounded"),
    ("import contextlib, dataclasses, enum, functools, math, sys", "import contextlib, dataclasses, enum, functools, cmath as math, sys"),
    ("nested(x): return x +", "nested(x): return x -"),
    ("w = STEPS", "w = KINDS"),
    ("class Model(Base)", "class Model(Base, metaclass=type('Meta', (type,), {}))"),
]  # fmt: skip

NO_EDITS = [
    ("UNUSED = 1", "UNUSED = 2"),
    ("FIELDS = 14", "FIELDS = object()"),
    ("def unused(x): return x + 1", "def unused(x): return x + 2"),
    ("return x + 41", "return x + 41  # a comment"),
    ("\nLIMIT = 30", "\n\n\nLIMIT = 30"),
    ("KINDS = {1, 2}", "KINDS = {2, 1}"),
    ("nested(x): return x + SCALE", "nested(x):\n        return (x\n            + SCALE)"),
]


def script(text: str, what: str = "features") -> Any:
    """Run a text as the script does that python was given, and return one of its names."""
    space: dict[str, Any] = {"__name__": "__main__"}
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        sys.modules["__main__"].__dict__.update(space)
        space = sys.modules["__main__"].__dict__
        exec(compile(text, "<script>", "exec"), space)  # noqa: S102 our own text
    finally:
        sys.modules["__main__"] = main
    return space[what]


def name_of(func: Callable[..., Any], **chosen: Any) -> str:
    """Return the name a callable gets."""
    return local(func, version="1", **chosen).name


def made(held: Any) -> Callable[[Any, Any], Any]:
    """Return a closure that holds a value."""

    def inner(raw: Any, config: Any) -> Any:
        return raw, held

    return inner


def windowed(n: int) -> Callable[..., Any]:
    """Return a decorator with an argument."""

    def deco(f: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(f)
        def inner(raw: Any, config: Any) -> Any:
            return f(raw, {"n": n})

        return inner

    return deco


class Wrapper:
    """A wrapper that is an object."""

    def __init__(self, f: Callable[..., Any], n: int) -> None:
        functools.update_wrapper(self, f)
        self.f, self.n = f, n

    def __call__(self, raw: Any, config: Any) -> Any:
        """Call what is wrapped."""
        return self.f(raw, {"n": self.n})


def carrying(f: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method."""

    @functools.wraps(f)
    def inner(*arguments: Any) -> Any:
        return f(*arguments)

    return inner


class Model:
    """An object with state."""

    def __init__(self, n: Any) -> None:
        self.n = n

    def __call__(self, raw: Any, config: Any) -> Any:
        """Return the state."""
        return raw, self.n

    def method(self, raw: Any, config: Any) -> Any:
        """Return the state."""
        return raw, self.n

    @carrying
    def carried(self, raw: Any, config: Any) -> Any:
        """Return the state."""
        return raw, self.n


def weighted(raw: Any, config: Any, w: Any = 1) -> Any:
    """Return the raw data and the weight."""
    return raw, w


def momentum(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


@local
def decorated(raw: Any, config: Any) -> Any:
    """Return raw data that a helper below changed."""
    return below(raw)


@local(version="1", name="chosen-name")
def chosen(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


def below(raw: Any) -> Any:
    """Return the raw data."""
    return raw


def beside(raw: Any) -> Any:
    """Return the raw data."""
    return raw


Annotated, AnnotatedOtherwise = (type("Told", (), {"__annotations__": {"x": kind}}) for kind in (int, float))
by_hand = windowed(2)(momentum)
by_hand.__qualname__ = "by_hand"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Return a function that writes a module and imports it anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def write(text: str, name: str = "nm_local") -> ModuleType:
        (tmp_path / f"{name}.py").write_text(f"import functools\nimport fstore\n{text}", encoding="utf-8")
        importlib.invalidate_caches()
        linecache.clearcache()
        sys.modules.pop(name, None)
        names.add(name)
        return importlib.import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def script_name() -> str:
    """Return the name of the script's features as it is written above."""
    return name_of(script(SCRIPT))


@pytest.mark.parametrize(("old", "new"), EDITS)
def test_edit_of_a_script_makes_another_name(old: str, new: str, script_name: str):
    """Whatever a script's function reaches is part of its name, under one version."""
    assert SCRIPT.count(old) == 1

    assert name_of(script(SCRIPT.replace(old, new))) != script_name


@pytest.mark.parametrize(("old", "new"), NO_EDITS)
def test_what_a_script_does_not_reach_leaves_the_name(old: str, new: str, script_name: str):
    """Comments, layout and what the function never reaches do not compute anew."""
    assert SCRIPT.count(old) == 1

    assert name_of(script(SCRIPT.replace(old, new))) == script_name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (windowed(2)(momentum), windowed(7)(momentum)),
        (windowed(2)(momentum), momentum),
        (windowed(2)(windowed(3)(momentum)), windowed(2)(windowed(4)(momentum))),
        (Wrapper(momentum, 2), Wrapper(momentum, 7)),
        (Wrapper(momentum, 2), momentum),
        (Wrapper(windowed(2)(momentum), 2), Wrapper(windowed(3)(momentum), 2)),
        (Model(2), Model(7)),
        (Model(2), Model(2.0)),
        (Model([1]), Model((1,))),
        (Model(2).method, Model(7).method),
        (Model(2).carried, Model(7).carried),
        (Model(2).method, Model(2)),
        (functools.partial(Model(2)), functools.partial(Model(3))),
        (functools.partial(windowed(2)(momentum)), functools.partial(windowed(3)(momentum))),
        (functools.lru_cache(windowed(2)(momentum)), functools.lru_cache(windowed(3)(momentum))),
        (made(windowed(2)), made(windowed(3))),
        (made(1), made(True)),
        (made(1), made(1.0)),
        (made(0.0), made(-0.0)),
        (made(float("nan")), made(-float("nan"))),
        (made("1"), made(b"1")),
        (made({"a": 1, "b": 2}), made({"b": 2, "a": 1})),
        (made(frozenset({1})), made(frozenset({True}))),
        (made(frozenset({1})), made({1})),
        (made(range(3)), made(range(4))),
        (made(np.float64(1)), made(1.0)),
        (made(np.float64(1)), made(np.float32(1))),
        (made(np.array([1, 2])), made(np.array([[1, 2]]))),
        (made(np.array(["a"])), made(np.array(["a"], dtype=object))),
        (made(np.log), made(np.exp)),
        (made(pd.Series([1.0], name="a")), made(pd.Series([1.0], name="b"))),
        (
            made(pd.Series(pd.Categorical(["a"], categories=["a", "b"]))),
            made(pd.Series(pd.Categorical(["a"], categories=["b", "a"]))),
        ),
        (made(pd.Timestamp("2024-01-01")), made(pd.Timestamp("2024-01-01", tz="UTC"))),
        (made(Decimal("1.0")), made(Decimal("1.00"))),
        (made(Path("a")), made("a")),
        (made(len), made(sum)),
        (made(str.lower), made(str.upper)),
        (made({}.get), made({"a": 1}.get)),
        (made(functools), made(np)),
        (made(int), made(float)),
        (made(pd.DataFrame.diff), made(pd.DataFrame.sum)),
        (made([made(1)]), made([made(2)])),
        (made(below), made(beside)),
        (made(int | None), made(int | str)),
        (made(Annotated), made(AnnotatedOtherwise)),
        (lambda raw, config: raw in {1, 2}, lambda raw, config: raw in {True, 2}),
        (lambda raw, config: lambda: (1, 2.0), lambda raw, config: lambda: (1, 2)),
        (lambda raw, config: 0.0, lambda raw, config: -0.0),
        (lambda raw, config, w=1: raw, lambda raw, config, w=1.0: raw),
        (lambda raw, config: raw.a, lambda raw, config: raw.b),
    ],
)
def test_callables_that_differ_never_share_a_name(one: Callable[..., Any], other: Callable[..., Any]):
    """Code and everything that is held tell two callables apart, types and signs included."""
    assert name_of(one) != name_of(other)


@pytest.mark.parametrize(
    "make",
    [
        lambda: windowed(2)(momentum),
        lambda: Wrapper(momentum, 2),
        lambda: Model({"a": [1, (2, None)]}),
        lambda: Model(2).carried,
        lambda: functools.partial(weighted, w={"a": 1}),
        lambda: made(frozenset({"a", "b", "c", 1, 2.5})),
        lambda: made(pd.DataFrame({"a": ["x", None], "b": [1.5, 2]}, index=pd.date_range("2024", periods=2, tz="UTC"))),
        lambda: made(np.array([1.0, np.nan])[::-1]),
        lambda: made(logging.getLogger("anything")),
        lambda: made(made(made(1))),
    ],
)
def test_equal_callables_share_a_name(make: Callable[[], Callable[..., Any]]):
    """The same code with the same content is one feature, made twice or taken twice."""
    assert name_of(make()) == name_of(make())


@pytest.mark.parametrize("what", ["windowed", "exec", "swapped", "deleted"])
def test_name_of_a_module_is_kept_only_by_what_it_leads_to(what: str, module: Callable[..., ModuleType]):
    """A function has the name of its place exactly while looking that up gives it."""
    text = "def f(raw, config): return raw\ndef windowed(n):\n    return lambda f: functools.wraps(f)(lambda raw, config: (n, f(raw, config)))\n"
    found = module(text)
    original = found.f
    assert name_of(original) == "local:nm_local:f"

    if what == "windowed":
        other = found.windowed(2)(original)
    elif what == "exec":
        space = {"__name__": "nm_local"}
        exec("def f(raw, config): return 2", space)  # noqa: S102 our own text
        other = space["f"]
    else:
        kept, other = local(original, version="1"), original
        found.f = None
        if what == "deleted":
            del found.f
        assert "#" in resolve_feature(kept).name
    assert name_of(other).startswith("local:nm_local:f#")


def test_file_that_a_program_names_has_no_name_of_its_own(module: Callable[..., ModuleType], tmp_path: Path):
    """A plugin loaded under a name of the program's choice is called the same on every desk: its content counts."""
    names = set()
    for n in (1, 2):
        module(f"def f(raw, config): return {n}\n", f"nm_strategy_{n}")
        spec = importlib.util.spec_from_file_location("user_module", tmp_path / f"nm_strategy_{n}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["user_module"] = plugin = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plugin)
        names |= {name_of(plugin.f), name_of(made(plugin.f))}
    del sys.modules["user_module"]

    assert len(names) == 4
    assert all("#" in name for name in names)


def test_partial_in_a_functions_place_does_not_stand_for_it(module: Callable[..., ModuleType]):
    """What leads to a partial of a function does not lead to the function."""
    found = module("def f(raw, config, w=1): return raw\noriginal = f\nf = functools.partial(f, w=3)\n")

    assert name_of(found.original) != "local:nm_local:f"
    assert len({name_of(found.original), name_of(found.f)}) == 2


def test_classes_and_functions_of_another_modules_factory_are_told_by_content(module: Callable[..., ModuleType]):
    """What cannot be found again by its name counts by its content, whichever module made it."""
    found = module("def of(n):\n    class C:\n        w = n\n    return C\ndef to(n):\n    return lambda x: x * n\n")

    assert name_of(made(found.of(1))) != name_of(made(found.of(2)))
    assert name_of(made(found.to(1))) != name_of(made(found.to(2)))


def test_recursive_callables_are_told():
    """Functions that lead to themselves, or to each other, have a digest."""

    def one(raw: Any, config: Any) -> Any:
        return other(raw, config)

    def other(raw: Any, config: Any) -> Any:
        return one(raw, config) or other

    assert name_of(one) != name_of(other)
    assert name_of(one) == name_of(one)


def test_value_that_cannot_be_told_is_named_in_the_refusal():
    """The refusal says which name leads to the value, and the line that helps."""
    with pytest.raises(FeatureNotRegistered, match=r"helper: held: builtins.object.*name='what_it_is'"):
        name_of(
            script("class H: pass\nheld = object()\ndef helper(): return held\ndef features(raw, config): helper()")
        )
    itself: list[Any] = []
    itself.append(itself)
    for held in (
        itself,
        object(),
        np.array([object()], dtype=object),
        fstore.connect,
        ModuleType("made_up"),
        iter("a"),
    ):
        if held is not fstore.connect:
            with pytest.raises(FeatureNotRegistered, match="give it a name"):
                name_of(made(held))
        assert name_of(made(held), name="by-hand") == "local:by-hand"


@pytest.mark.parametrize(
    ("before", "after"), [("W = 2", "W = 3"), ("T = [1]", "T.append(2)"), ("def h(): pass", "def h(): return 1")]
)
def test_name_follows_what_a_wrapped_callable_looks_up_now(before: str, after: str):
    """A global that changes after fstore.local is another feature at the next request, not a stale answer."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(f"W = 1\nT = []\ndef h(): return W, T\n{before}\nfeatures = lambda raw, config: (W, T, h)", space)  # noqa: S102 our own text
    wrapped = local(space["features"], version="1")
    assert resolve_feature(wrapped) is wrapped

    exec(after, space)  # noqa: S102 our own text

    assert resolve_feature(wrapped).name == local(space["features"], version="1").name != wrapped.name
    assert resolve_feature(wrapped).func is wrapped.func
    with pytest.raises(FeatureNotRegistered, match="between the request and the computation"):
        wrapped.require_unchanged()


def test_decorated_function_is_called_and_named_as_it_stands():
    """Below the decorator it is the function it was: callable, under its own name, helpers below it included."""
    assert isinstance(decorated, LocalFeature)
    assert decorated(5, {}) == 5
    assert (decorated.name, decorated.explicit) == (f"local:{__name__}:decorated", False)
    assert decorated.version == f"src:{decorated.source_digest[:32]}"
    assert resolve_feature(decorated) is decorated
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    assert (chosen.name, chosen.version, chosen(1, {})) == ("local:chosen-name", "1", 1)
    assert local(decorated, version="2").name == decorated.name
    held = local(functools.partial(weighted, w=2), version="1")
    assert pickle.loads(pickle.dumps(held)) != held  # another partial
    assert pickle.loads(pickle.dumps(held)).name == held.name


def test_version_is_the_source_when_none_is_declared(module: Callable[..., ModuleType]):
    """It is the version that @fstore.feature would give; an edit of the function or its module changes it."""
    text = (
        "W = 1\n@fstore.local\ndef f(raw, config): return raw * W\n@fstore.feature()\ndef g(raw, config): return raw\n"
    )
    first = resolve_feature(module(text).f)
    assert first.version == resolve_feature(module(text).f).version

    assert resolve_feature(module(text.replace("W = 1", "W = 2")).f).version != first.version
    assert resolve_feature(module(text.replace("raw * W", "raw + W")).f).version != first.version
    assert resolve_feature(module(text.replace("raw * W", "raw  *  W  # words")).f).version == first.version
    found = module("def g(raw, config): return raw\n")
    assert local(found.g).version == resolve_feature(fstore.feature()(found.g)).version


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (windowed(2)(momentum), windowed(7)(momentum)),
        (Model(2), Model(7)),
        (Model(2).method, Model(7).method),
        (functools.partial(weighted, w=1), functools.partial(weighted, w=2)),
        (made(1), made(2)),
        (lambda raw, config: 1, lambda raw, config: 2),
    ],
)
def test_version_without_a_declaration_covers_what_is_held(one: Callable[..., Any], other: Callable[..., Any]):
    """Under one chosen name, other held values are another version."""
    assert local(one, name="x").version != local(other, name="x").version
    assert local(one, name="x").version == local(one, name="x").version


def test_version_by_the_source_needs_a_source():
    """What has no text gets the line with a version; what holds an unknown value, its reason."""
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec("def f(raw, config): return raw", space)  # noqa: S102 our own text

    for func in (space["f"], max, functools.partial(max)):
        with pytest.raises(FeatureNotRegistered, match=r'needs a version by hand: fstore.local\(func, version="1"\)'):
            local(func)
        assert local(func, version="1", name="x").version == "1"
    with pytest.raises(FeatureNotRegistered, match=r"builtins\.object"):
        local(made(object()), name="x")


@pytest.mark.parametrize("name", ["a#" + "0" * 32, f"{__name__}:momentum"])
def test_chosen_name_is_nobody_elses(name: str):
    """A name by hand is neither a digest's nor the place of another function."""
    with pytest.raises(FeatureNotRegistered, match="choose another name"):
        local(made(1), version="1", name=name)


def test_name_that_meets_two_sources_is_warned_about_once(caplog: pytest.LogCaptureFixture):
    """As joblib does: results of both are shared, and the log says so."""
    with caplog.at_level(logging.WARNING, "fstore"):
        for held in (1, 1, 2, 3):
            local(made(held), version="1", name="met")
        local(made(4), version="2", name="met")
        name_of(made(5))

    assert [record.getMessage().count("local:met") for record in caplog.records] == [1]


def test_source_digest_changes_with_what_is_held():
    """The digest that is stored beside an entry tells callables of one chosen name apart."""
    digests = {local(func, version="1", name="digests").source_digest for func in (made(1), made(2), momentum, by_hand)}

    assert len(digests) == 4
    assert "" not in digests


def test_what_a_callable_is_given_is_part_of_what_it_does():
    """Frame and table do not meet: a digest counts the input, a chosen name belongs to one."""
    func = made(1)
    assert name_of(func) != name_of(func, input="arrow")
    assert local(func, name="shape").version != local(func, name="shape", input="arrow").version

    local(func, version="1", name="shape", input="arrow")
    with pytest.raises(FeatureNotRegistered, match="before with input='arrow'"):
        local(func, version="1", name="shape")


TWO_DESKS = """
import sys, subprocess, fstore
W = 2
def helper(x): return x * {factor}
def features(raw, config): return helper(raw) * W + len({{"a", "b"}})
if __name__ == "__main__":
    from multiprocessing import get_context
    def show(): print(fstore.local(features, version="1").name, flush=True)
    show()
else:
    print(fstore.local(features, version="1").name, flush=True)
if __name__ == "__main__" and len(sys.argv) == 1:
    child = get_context("spawn").Process(target=helper, args=(1,))
    child.start()
    child.join()
"""


def test_scripts_on_two_desks_meet_only_when_they_do_the_same(tmp_path: Path):
    """A script's features have one name in its children, in other folders and runs, until they are edited; never that of a module."""

    def run(folder: str, factor: int, *arguments: str) -> list[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "desk.py").write_text(TWO_DESKS.format(factor=factor), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path / folder,
            env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    parent, child = run("anna", 2, "desk.py")
    (edited,) = run("bob", 3, "desk.py", "alone")
    (equal,) = run("bob", 2, "desk.py", "alone")
    (as_module,) = run("bob", 3, "-m", "desk", "alone")
    by_path, imported = run("bob", 3, "-c", "import runpy; runpy.run_path('desk.py'); import desk")

    assert parent == child == equal
    assert parent.startswith("local:__main__:features#")
    assert as_module == edited != parent
    assert by_path.startswith("local:<run_path>:features#")
    assert imported == "local:desk:features"
