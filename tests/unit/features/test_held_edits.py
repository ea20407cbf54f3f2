"""Callables of scripts and notebooks whose edits make another name or version: a table, each of whose rows is run."""

from __future__ import annotations

import linecache
import os
import pkgutil
import subprocess
import sys
import warnings
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.errors import FeatureNotRegistered
from tests.unit.features.held_edits import HEAD, HELD_EDITS

KEYS: list[dict[str, str]] = [{}, {"version": "1"}, {"name": "chosen"}]


def _script(text: str, file: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Run a text as the running script, or as the cell of a notebook when its lines can be read."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    if not file.startswith("<"):
        monkeypatch.setitem(linecache.cache, file, (len(text), None, text.splitlines(keepends=True), file))
    exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 our own text
    return module


def _key(function: Any, said: dict[str, str]) -> tuple[str, str] | None:
    """Return the name and version of a local feature; None when it is refused."""
    try:
        found = fstore.local(function, **said)  # type: ignore[call-overload]
        return found.name, found.version
    except FeatureNotRegistered:
        return None


def _told(function: Any) -> str:
    try:
        return str(function(pd.DataFrame({"p": [1.0, 7.0, 11.0]}), {}))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", HELD_EDITS)
def test_an_edit_of_a_script_makes_another_key_or_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a callable holds, finds by a text or a name made while it runs, or reaches: with and without its text."""
    for file in ("/tmp/ipykernel_1/1.py", "<stdin>"):  # noqa: S108 a name that notebooks give
        seen: list[tuple[list[Any], str]] = []
        for value in "59":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of accessors that are registered again
                module = _script(
                    HELD_EDITS[name].replace("<W>", value), f"{file}{value}" if "<" in file else file, monkeypatch
                )
                keys = [_key(module.f, said) for said in KEYS]
                seen.append((keys, _told(module.f)))
        (keys, result), (other_keys, other_result) = seen
        assert result != other_result
        for said, key, other in zip(KEYS, keys, other_keys, strict=True):
            assert key is None or key != other or said.get("version") == said.get("name") == "", said


NO_EDITS = {
    "global that no text names": "W = <W>\ndef f(raw, c):\n    return raw.query('p > 5')",
    "global called like a column": "p = <W>\ndef f(raw, c):\n    return raw.query('p > 5')",
    "global beside attributes": "W = <W>\ndef f(raw, c):\n    return getattr(raw, 'shape')",
    "shell's own": "_i7 = '<W>'\nOut = {7: <W>}\n_7 = <W>\ndef f(raw, c):\n    return globals()['f'.lower()].__name__",
    "plain value beside a pickle": "import pickle\nW = <W>\ndef f(raw, c):\n    return pickle.loads(pickle.dumps(1))",
}


@pytest.mark.parametrize("name", NO_EDITS)
def test_what_a_callable_does_not_reach_leaves_its_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that queries a frame does not depend on all of its notebook."""
    text = HEAD + NO_EDITS[name] + "\n"
    first, second = (_key(_script(text.replace("<W>", w), "<stdin>", monkeypatch).f, {"version": "1"}) for w in "59")

    assert first is not None
    assert first == second


USED = {
    "vectorised function": "T = np.vectorize(lambda x: x * 2, otypes=[float])\ndef f(raw, c): return T(raw['p'])",
    "index of times": "T = pd.date_range('2020', periods=5, freq='D')\ndef f(raw, c): return T.get_loc('2020-01-02'), T.hour, T.unit",
    "frame over times": "T = pd.DataFrame({'a': [1.0, 2.0]}, index=pd.date_range('2020', periods=2))\ndef f(raw, c): return T.resample('D').sum(), T.loc['2020-01-01']",
    "frame of masked numbers": "T = pd.DataFrame({'a': pd.array([1, None], dtype='Int64'), 'b': pd.array([1.0, None], dtype='Float64')})\ndef f(raw, c): return T.a.sum(), T.b.isna().sum()",
    "calendar": "from pandas.tseries.holiday import USFederalHolidayCalendar\nT = USFederalHolidayCalendar()\ndef f(raw, c): return T.holidays('2020', '2021')",
    "object of settings": "@dataclasses.dataclass\nclass C:\n    w: int = 5\nT = C()\ndef f(raw, c): return __import__('copy').copy(C()).w + T.w",
    "named tuple": "N = collections.namedtuple('N', 'w')\nT = N(5)\ndef f(raw, c): return __import__('copy').deepcopy(N(1)).w + T.w",
    "table of functions": "def a(): return 5\nT = collections.OrderedDict(a=a, b=lambda: 2)\ndef f(raw, c): return T['a']()",
    "table with a default": "T = collections.defaultdict(lambda: 5, a=1)\ndef f(raw, c): return T['a']",
    "name space": "T = types.SimpleNamespace(w=5)\ndef f(raw, c): return T.w",
}  # fmt: skip


@pytest.mark.parametrize("name", USED)
def test_looking_at_what_a_callable_holds_leaves_its_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries remember what they were asked; a key that followed would make a miss of each request after the first."""
    module = _script(HEAD + USED[name] + "\n", "/tmp/ipykernel_1/1.py", monkeypatch)  # noqa: S108 a name that notebooks give
    keys = [_key(module.f, said) for said in KEYS]

    module.f(pd.DataFrame({"p": [1.0, 7.0]}), {})

    assert None not in keys
    assert [_key(module.f, said) for said in KEYS] == keys


HASHED = """
import collections
SETS = collections.defaultdict(set, a={'x', 'y', 'z'})
TABLE = collections.OrderedDict(a=frozenset('abc'), b=[{'x', 'y', 'z'}])
LAST = collections.deque([{'x', 'y', 'z'}], maxlen=2)
def f(raw, c): return SETS, TABLE, LAST
"""


def test_sets_within_tables_have_one_key_in_all_processes() -> None:
    """Their order follows from the seed of a process."""
    text = f"import fstore\nspace = {{'__name__': '__main__'}}\nexec({HASHED!r}, space)\nprint(fstore.local(space['f'], version='1').name)"
    told = [
        subprocess.run(
            [sys.executable, "-c", text],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "12"
    ]

    assert told[0] == told[1]
    assert "#" in told[0]


# Where in a library something is put, what, and what finds it there.
PUT_INTO_LIBRARIES = {
    "a function": ("numpy", "median", "def mine(x): return <W>\nnp.median = mine", "np.median(raw['p'])"),
    "a lambda": ("numpy", "median", "np.median = lambda x: <W>", "np.median(raw['p'])"),
    "a partial": ("numpy", "median", "np.median = functools.partial(lambda k, x: k, <W>)", "np.median(1)"),
    "an object": ("numpy", "median", "class K:\n    def __call__(self, x): return <W>\nnp.median = K()", "np.median(1)"),
    "a class": ("pandas", "Grouper", "class T(dict):\n    w = <W>\npd.Grouper = T", "pd.Grouper().w"),
    "into a module of a library": ("numpy.linalg", "norm", "np.linalg.norm = lambda x: <W>", "np.linalg.norm(1)"),
    "into the standard library": ("math", "floor", "math.floor = lambda x: <W>", "math.floor(3.5)"),
    "a method of a base class": ("pandas.core.generic.NDFrame", "abs", "pd.core.generic.NDFrame.abs = lambda self: <W>", "raw['p'].abs()"),
    "a method of groups": ("pandas.core.groupby.DataFrameGroupBy", "mine", "pd.core.groupby.DataFrameGroupBy.mine = lambda self: <W>", "raw.groupby('p').mine()"),
    "a method of windows": ("pandas.core.window.Rolling", "mine", "pd.core.window.Rolling.mine = lambda self: <W>", "raw.rolling(2).mine()"),
    "a method of texts": ("pandas.core.strings.accessor.StringMethods", "mine", "pd.core.strings.accessor.StringMethods.mine = lambda self: <W>", "raw['p'].astype(str).str.mine()"),
    "an operator": ("pandas.core.arraylike.OpsMixin", "__add__", "pd.core.arraylike.OpsMixin.__add__ = lambda a, b: <W>", "raw.__add__(1)"),
}  # fmt: skip


@pytest.mark.parametrize("name", PUT_INTO_LIBRARIES)
def test_what_a_notebook_puts_into_a_library_counts_where_it_is_used(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's own median is no other library's version, and so is told by nothing else."""
    place, attribute, edit, use = PUT_INTO_LIBRARIES[name]
    target = pkgutil.resolve_name(place)
    monkeypatch.setattr(target, attribute, getattr(target, attribute, None), raising=False)
    text = f"{HEAD}{edit}\ndef f(raw, c): return {use}\ndef g(raw, c): return 5\n"
    seen = []
    for value in "595":
        module = _script(text.replace("<W>", value), "<stdin>", monkeypatch)
        seen.append((_key(module.f, {"version": "1"}), _key(module.g, {"version": "1"}), _told(module.f)))
    one, other, again = seen

    assert None not in one
    assert one[2] != other[2]
    assert one[0] != other[0]
    assert one == again
    assert one[1] == other[1]
