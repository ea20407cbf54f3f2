"""Which callable a registered name stands for: pickle's rule, case by case."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from fstore.errors import ConfigurationError, FeatureNotRegistered
from fstore.features import registry as features
from fstore.features.feature_modules import load_feature_modules
from fstore.features.registry import registered_features, resolve_feature

OPENING = """
import functools
import fstore

def windowed(n):
    def deco(f):
        @functools.wraps(f)
        def inner(raw, config): return f(raw, {"n": n})
        return inner
    return deco

class Wrapper:
    def __init__(self, f, n=1):
        functools.update_wrapper(self, f)
        self.f, self.n = f, n
    def __call__(self, raw, config): return self.f(raw, {"n": self.n})

class Model:
    def __init__(self, n): self.n = n
    @windowed(3)
    def features(self, raw): return raw
    def method(self, raw, config): return raw

def momentum(raw, config): return raw

registers = fstore.feature(version="1")
"""

REACHED = {
    "a plain def": "@registers\ndef f(raw, config): return raw",
    "a decorator below": "@registers\n@windowed(2)\ndef f(raw, config): return raw",
    "two decorators below": "@registers\n@windowed(2)\n@windowed(3)\ndef f(raw, config): return raw",
    "a wrapper object below": "@registers\n@Wrapper\ndef f(raw, config): return raw",
    "lru_cache below": "@registers\n@functools.lru_cache\ndef f(raw, config): return raw",
    "cache below": "@registers\n@functools.cache\ndef f(raw, config): return raw",
    "singledispatch below": "@registers\n@functools.singledispatch\ndef f(raw, config): return raw",
    "the name given to the wrapper": "def f(raw, config): return raw\nf = registers(windowed(2)(f))",
    "registered after the def": "def f(raw, config): return raw\nregisters(f)",
    "registered twice": "def f(raw, config): return raw\nregisters(registers(f))",
    "a static method": "class C:\n    @staticmethod\n    @registers\n    def f(raw, config): return raw\nf = C.f",
    "one branch of two": "if True:\n    @registers\n    def f(raw, config): return 1\nelse:\n    @registers\n    def f(raw, config): return 2",
    "an alias beside the name": "@registers\ndef f(raw, config): return raw\ng = f",
    "an undecorated def before": "def f(raw, config): return 0\n@registers\ndef f(raw, config): return raw",
}

REFUSED_WHEN_DEFINED = {
    "two wrappers of one function": (
        "fast = registers(windowed(2)(momentum))\nslow = registers(windowed(7)(momentum))",
        "two callables wrap one function",
    ),
    "a wrapper beside its registered function": (
        "registers(momentum)\nfast = registers(windowed(2)(momentum))",
        "two callables wrap one function",
    ),
    "two wrapper objects": (
        "fast = registers(Wrapper(momentum, 2))\nslow = registers(Wrapper(momentum, 7))",
        "two callables wrap one function",
    ),
    "two functions made by exec": (
        "for n in (1, 2):\n"
        "    space = {'__name__': __name__}\n"
        "    exec(f'def f(raw, config): return {n}', space)\n"
        "    registers(space['f'])",
        "taken by another function",
    ),
    "two functions made by one exec text": (
        "for n in (1, 2):\n    exec(f'def f(raw, config): return {n}')\n    registers(f)",
        "taken by another function",
    ),
    "two defs": (
        "@registers\ndef f(raw, config): return 1\n@registers\ndef f(raw, config): return 2",
        r"taken by another function \(.*rename",
    ),
    "two defs in branches": (
        "for n in (1, 2):\n    if n == 1:\n        @registers\n        def f(raw, config): return 1\n"
        "    else:\n        @registers\n        def f(raw, config): return 2",
        "taken by another function",
    ),
    "one def in a loop": (
        "for n in (1, 2):\n    @registers\n    def f(raw, config, n=n): return n",
        "taken by another function|two callables",
    ),
    "a name claimed by hand": (
        "@registers\ndef f(raw, config): return 1\ndef g(raw, config): return 2\ng.__qualname__ = 'f'\nregisters(g)",
        "taken by another function",
    ),
    "one function of two versions": (
        "fstore.feature(version='2')(registers(momentum))",
        "another version or input",
    ),
    "one function of two inputs": (
        "fstore.feature(version='1', input='arrow')(registers(momentum))",
        "another version or input",
    ),
    "a bound method that carries wraps": ("registers(Model(2).features)", "a method brings along an object"),
    "a bound method": ("registers(Model(2).method)", "a method brings along an object"),
    "a static method from below": (
        "class C:\n    @registers\n    @staticmethod\n    def f(raw, config): return raw",
        "put @staticmethod above @fstore.feature",
    ),
    "a partial": ("registers(functools.partial(momentum))", "a partial has no name"),
    "a callable object": (
        "registers(type('T', (), {'__call__': lambda self, raw, config: raw})())",
        "written with def",
    ),
    "a lambda": ("f = registers(lambda raw, config: raw)", "a lambda has no name"),
    "a closure without wraps": (
        "def outer():\n    def inner(raw, config): return raw\n    return inner\nf = registers(outer())",
        "defined inside another function",
    ),
}

REFUSED_WHEN_ASKED = {
    "one wrapper under a name of its own": ("f = registers(windowed(2)(momentum))", "it wraps momentum"),
    "one wrapper object": ("f = registers(Wrapper(momentum, 2))", "it wraps momentum"),
    "one wrapper in a table": ("f = {'fast': registers(windowed(2)(momentum))}['fast']", "it wraps momentum"),
    "a decorator above": ("@windowed(2)\n@registers\ndef inner_f(raw, config): return raw\nf = inner_f.__wrapped__", "on top of other decorators"),
    "a wrapper object above": ("@Wrapper\n@registers\ndef inner_f(raw, config): return raw\nf = inner_f.f", "on top of other decorators"),
    "lru_cache above": (
        "@functools.lru_cache\n@registers\ndef inner_f(raw, config): return raw\nf = inner_f.__wrapped__",
        "on top of other decorators",
    ),
    "a decorator above without wraps": (
        "@lambda f: lambda raw, config: f(raw, config)\n@registers\ndef inner_f(raw, config): return raw\n"
        "f = next(cell.cell_contents for cell in inner_f.__closure__)",
        "on top of other decorators",
    ),
    "a deleted name": ("@registers\ndef inner_f(raw, config): return raw\nf = inner_f\ndel inner_f", "has nothing of this name"),
    "a later def without decorator": (
        "@registers\ndef inner_f(raw, config): return 1\nf = inner_f\ndef inner_f(raw, config): return 2",
        "leads to another object",
    ),
    "a later assignment": (
        "@registers\ndef inner_f(raw, config): return 1\nf = inner_f\ninner_f = momentum",
        "leads to another object",
    ),
    "a function made by exec in a space of its own": (
        "space = {'__name__': __name__}\nexec('def inner_f(raw, config): return 1', space)\nf = registers(space['inner_f'])",
        "has nothing of this name",
    ),
    "a qualified name that leads nowhere": (
        "def f(raw, config): return 1\nf.__qualname__ = 'Absent.f'\nregisters(f)",
        "has nothing of this name",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test change a copy of the registry."""
    monkeypatch.setattr(features, "_registry", dict(features._registry))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Return a function that writes a module and imports it, or reloads it when it was imported before."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def write(text: str, name: str = "nm_module") -> ModuleType:
        (tmp_path / f"{name}.py").write_text(OPENING + textwrap.dedent(text), encoding="utf-8")
        importlib.invalidate_caches()
        names.add(name)
        return importlib.reload(sys.modules[name]) if name in sys.modules else importlib.import_module(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


def refusal(action: Callable[[], object]) -> str:
    """Run what must be refused and return the text of the refusal."""
    with pytest.raises(FeatureNotRegistered) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize("case", REACHED)
def test_name_that_leads_to_the_function_stands_for_it(case: str, module: Callable[..., ModuleType]):
    """Object and name are one feature when looking the name up gives that very object."""
    asked = module(REACHED[case]).f

    found = resolve_feature(asked)

    assert found.func is asked
    assert resolve_feature(found.name) is found
    assert found.name in load_feature_modules(["nm_module"])


@pytest.mark.parametrize("case", REFUSED_WHEN_DEFINED)
def test_second_object_of_one_name_is_refused_when_it_is_defined(case: str, module: Callable[..., ModuleType]):
    """What can have no name, or another's, does not get past its registration."""
    text, reason = REFUSED_WHEN_DEFINED[case]

    with pytest.raises(FeatureNotRegistered, match=reason):
        module(text)


@pytest.mark.parametrize("case", REFUSED_WHEN_ASKED)
def test_name_that_leads_elsewhere_is_refused_everywhere(case: str, module: Callable[..., ModuleType]):
    """Neither the object nor the name can be asked for, and a worker that loads the module says so at once."""
    text, reason = REFUSED_WHEN_ASKED[case]
    asked = module(text).f
    (name,) = [name for name in registered_features() if name.startswith("nm_module:")]

    assert reason in refusal(lambda: resolve_feature(asked))
    assert reason in refusal(lambda: resolve_feature(name))
    with pytest.raises(ConfigurationError, match=name) as caught:
        load_feature_modules(["nm_module"])
    assert reason in caught.value.faults[0]


def test_wrapper_that_is_refused_gets_the_lines_that_fix_it(module: Callable[..., ModuleType]):
    """Three ways out: a def of its own, the decorator under @fstore.feature, this process."""
    made = module("fast = registers(windowed(2)(momentum))")

    text = refusal(lambda: resolve_feature(made.fast))

    assert '@fstore.feature(version="1") on top of a def of its own in nm_module' in text
    assert "between @fstore.feature and def momentum" in text
    assert "fstore.local(func" in text


def test_replaced_attribute_takes_the_name_away(module: Callable[..., ModuleType]):
    """A function that was patched over is not computed under the name of what took its place."""
    made = module("@registers\ndef f(raw, config): return 1")
    original = made.f

    made.f = lambda raw, config: 2

    assert "leads to another object" in refusal(lambda: resolve_feature(original))
    assert "leads to another object" in refusal(lambda: resolve_feature("nm_module:f"))
    made.f = original
    assert resolve_feature("nm_module:f") is resolve_feature(original)


def test_wrapper_of_a_registered_function_needs_a_name_of_its_own(module: Callable[..., ModuleType]):
    """A script that wraps an imported feature cannot take its name over."""
    made = module("registers(momentum)")
    elsewhere = made.windowed(7)(made.momentum)

    assert "two callables wrap one function" in refusal(lambda: made.registers(elsewhere))
    assert resolve_feature("nm_module:momentum").func is made.momentum


@pytest.mark.parametrize("again", ["reload", "import", "copy"])
def test_module_that_runs_again_replaces(module: Callable[..., ModuleType], again: str):
    """A reload, an import after the module was forgotten, and a copy that replaces it register anew."""
    text = "@registers\ndef f(raw, config): return raw"
    old = module(text).f

    if again != "reload":
        del sys.modules["nm_module"]
    if again == "copy":
        spec = importlib.util.find_spec("nm_module")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["nm_module"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["nm_module"])
        new = sys.modules["nm_module"].f
    else:
        new = module(text + " * 2").f

    assert resolve_feature("nm_module:f").func is new
    assert resolve_feature(new).func is new
    assert "leads to another object" in refusal(lambda: resolve_feature(old))


def test_one_file_under_two_names_is_two_features(module: Callable[..., ModuleType]):
    """Copies of a module under two names do not meet."""
    text = "@registers\ndef f(raw, config): return raw"
    one, other = module(text, "nm_one").f, module(text, "nm_other").f

    assert (resolve_feature(one).name, resolve_feature(other).name) == ("nm_one:f", "nm_other:f")


def test_copy_of_a_file_beside_the_imported_module_is_refused(module: Callable[..., ModuleType], tmp_path: Path):
    """A file that is run under the name of a module that was imported already cannot take its names."""
    module("@registers\ndef f(raw, config): return raw")
    spec = importlib.util.spec_from_file_location("nm_module", tmp_path / "nm_module.py")
    assert spec is not None
    assert spec.loader is not None

    copy = importlib.util.module_from_spec(spec)
    with pytest.raises(FeatureNotRegistered, match="taken by another function"):
        spec.loader.exec_module(copy)


def test_old_function_with_the_parts_of_the_new_one_is_the_new_one(module: Callable[..., ModuleType]):
    """Notebook autoreload keeps the object that was imported and puts the reloaded code into it."""
    new = module("@registers\ndef f(raw, config): return raw").f
    old = FunctionType(new.__code__, new.__globals__, "f", new.__defaults__, new.__closure__)
    old.__dict__.update(new.__dict__)
    other = FunctionType(new.__code__, {}, "f", new.__defaults__, new.__closure__)
    other.__dict__.update(new.__dict__)

    assert resolve_feature(old) is resolve_feature(new)
    refusal(lambda: resolve_feature(other))


def test_module_called_local_has_no_features(module: Callable[..., ModuleType]):
    """``local:f`` is a name of fstore.local and never a registered one."""
    with pytest.raises(FeatureNotRegistered, match="another name"):
        module("@registers\ndef f(raw, config): return raw", "local")
    with pytest.raises(ConfigurationError, match="another name"):
        load_feature_modules(["local"])


def test_module_that_is_being_imported_is_not_judged_yet(module: Callable[..., ModuleType]):
    """A module may open the store in the middle of its own import."""
    made = module(
        "from fstore.features.feature_modules import load_feature_modules\n"
        "def later(): return registers(windowed(2)(momentum))\n"
        "fast = later()\n"
        "load_feature_modules(['nm_module'])\n"
        "momentum = fast"
    )

    assert resolve_feature(made.fast).name == "nm_module:momentum"


def test_cell_that_runs_again_replaces():
    """In a notebook a second definition is as good as the first; neither can be asked of a worker."""
    space = {"__name__": "__main__"}
    text = "import fstore\n@fstore.feature(version='1')\ndef f(raw, config): return {}\n"
    for n in (1, 2):
        exec(text.format(n), space)  # noqa: S102 our own text

    assert registered_features()["__main__:f"].func is space["f"]
    assert "workers cannot import" in refusal(lambda: resolve_feature(space["f"]))
