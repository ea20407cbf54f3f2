"""The registry: what can be a feature, what it is called, what the refusals say."""

from __future__ import annotations

import functools
import importlib
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fstore.errors import ConfigurationError, FeatureNotRegistered
from fstore.features import registry as features
from fstore.features.declarations import Feature
from fstore.features.feature_modules import load_feature_modules
from fstore.features.registry import feature, registered_features, resolve_feature


@feature(version="1")
def explicit(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


@feature()
def tracked(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


@feature
def bare(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


def plain(raw: Any, config: Any) -> Any:
    """Be a function nobody registered."""
    return raw


class Namespace:
    """A class that groups functions."""

    @staticmethod
    @feature(version="1", input="arrow")
    def grouped(raw: Any, config: Any) -> Any:
        """Return the raw data."""
        return raw

    def method(self, raw: Any, config: Any) -> Any:
        """Return the raw data."""
        return raw


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test change a copy of the registry."""
    monkeypatch.setattr(features, "_registry", dict(features._registry))


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """Return a function that writes a module and imports it, or reloads it when it was imported before."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def write(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(f"import fstore.features as fs\n{textwrap.dedent(text)}", encoding="utf-8")
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
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    return str(caught.value)


def test_function_stays_what_it_was():
    """A registered function is the same object: callable, picklable, with its signature."""
    assert explicit("raw", {}) == "raw"
    assert pickle.loads(pickle.dumps(explicit)) is explicit
    assert explicit.__name__ == "explicit"
    assert list(explicit.__annotations__) == ["raw", "config", "return"]


def test_function_and_name_resolve_to_one_record():
    """A feature is found by its function and by its name, with its declared version."""
    found = resolve_feature(explicit)

    assert found is resolve_feature(f"{__name__}:explicit")
    assert (found.name, found.func, found.version, found.explicit) == (f"{__name__}:explicit", explicit, "1", True)
    assert found.input == "pandas"
    assert len(found.source_digest) == 64
    assert resolve_feature(found) is found
    assert registered_features()[found.name] is found
    assert pickle.loads(pickle.dumps(found)) == found


def test_version_is_the_source_when_none_is_declared():
    """Without a version the digest of the source is the version; parentheses may be left out."""
    for func in (tracked, bare):
        found = resolve_feature(func)

        assert found.version == f"src:{found.source_digest[:32]}"
        assert not found.explicit


def test_functions_in_classes_have_dotted_names():
    """A static function of a class is found by its qualified name."""
    found = resolve_feature(Namespace.grouped)

    assert found.name == f"{__name__}:Namespace.grouped"
    assert found.input == "arrow"


def test_unregistered_function_gets_the_line_that_fixes_it():
    """The refusal shows the decorator, the definition it goes above, the setting, and the local alternative."""
    text = refusal(lambda: resolve_feature(plain))

    assert f"{__name__}:plain" in text
    assert '@fstore.feature(version="1")  on the line above  def plain(...)' in text
    assert "FEATURE_STORE_FEATURE_MODULES" in text
    assert 'fstore.local(plain, version="1")' in text


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: lambda raw, config: raw, "a lambda"),
        (lambda: functools.partial(explicit, config={}), "a partial"),
        (lambda: Namespace().method, "a method"),
        (lambda: len, "written with def"),
        (lambda: Namespace, "written with def"),
        (lambda: 5, "written with def"),
        (lambda: None, "written with def"),
    ],
)
def test_what_can_be_no_feature_is_refused_with_its_reason(make: Callable[[], Any], reason: str):
    """Lambdas, partials, methods, builtins and other objects cannot be asked for, nor registered."""
    thing = make()

    assert reason in refusal(lambda: resolve_feature(thing))
    assert "fstore.local(" in refusal(lambda: resolve_feature(thing))
    if callable(thing):
        assert reason in refusal(lambda: feature(version="1")(thing))


def test_closure_is_refused():
    """A function defined in another one cannot be found by a worker."""

    def inner(raw: Any, config: Any) -> Any:
        return raw

    assert "defined inside another function" in refusal(lambda: resolve_feature(inner))
    assert "defined inside another function" in refusal(lambda: feature(version="1")(inner))


def test_function_that_cannot_be_called_with_raw_and_config_is_refused(write_module: Callable[..., ModuleType]):
    """A wrong signature shows when the function is defined, not when a worker calls it."""
    with pytest.raises(FeatureNotRegistered, match=r"func\(raw, config\)"):
        write_module("fs_signature", "@fs.feature()\ndef vwap(raw):\n    return raw\n")
    with pytest.raises(FeatureNotRegistered, match="async"):
        write_module("fs_async", "@fs.feature()\nasync def vwap(raw, config):\n    return raw\n")


@pytest.mark.parametrize("version", ["", "x" * 65, "src:1", "a\nb", 3, 1.0])
def test_version_that_could_not_enter_a_key_is_refused(version: Any):
    """A version is a short printable text outside the name space of source digests."""
    with pytest.raises(ConfigurationError, match="version must"):
        feature(version=version)(plain)


def test_unknown_input_is_refused():
    """Only the documented kinds of input exist."""
    with pytest.raises(ConfigurationError, match="input must be"):
        feature(version="1", input="polars")(plain)  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["os:system", "nowhere", "", "a:b:c", "x" * 5000, "__main__:f", "../x:y", "a\x00:b"])
def test_names_are_looked_up_and_never_imported(name: str):
    """A name from a message imports nothing, whatever it says; the refusal stays short."""
    before = set(sys.modules)

    text = refusal(lambda: resolve_feature(name))

    assert set(sys.modules) == before
    assert len(text) < 700


def test_near_name_is_suggested():
    """A misspelt name gets the nearest known one."""
    assert f"did you mean '{__name__}:explicit'" in refusal(lambda: resolve_feature(f"{__name__}:explicitt"))


def test_reload_replaces(write_module: Callable[..., ModuleType]):
    """Reloading an edited module registers its functions again, also when they moved; old objects have lost their name."""
    old = write_module("fs_reload", "@fs.feature()\ndef vwap(raw, config):\n    return 1\n").vwap
    version = resolve_feature(old).version

    new = write_module("fs_reload", "\n\n@fs.feature()\ndef vwap(raw, config):\n    return 2\n").vwap

    assert resolve_feature("fs_reload:vwap").func is new
    assert resolve_feature(new).version != version
    assert "ask for fs_reload.vwap as it is now" in refusal(lambda: resolve_feature(old))


def test_second_function_of_one_name_is_refused(write_module: Callable[..., ModuleType]):
    """Two functions cannot share a name: the refusal names both places."""
    text = """
        @fs.feature()
        def vwap(raw, config):
            return 1

        @fs.feature()
        def vwap(raw, config):
            return 2
    """
    with pytest.raises(FeatureNotRegistered, match=r"taken by another function.*fs_twice\.py:3.*fs_twice\.py:7"):
        write_module("fs_twice", text)


def test_name_of_another_file_is_refused(write_module: Callable[..., ModuleType]):
    """A function that claims another module's name is refused."""
    write_module("fs_mine", "@fs.feature()\ndef vwap(raw, config):\n    return 1\n")

    with pytest.raises(FeatureNotRegistered, match="taken by another function"):
        write_module(
            "fs_theirs", "def vwap(raw, config):\n    return 1\nvwap.__module__ = 'fs_mine'\nfs.feature()(vwap)\n"
        )


def test_decorated_function_is_followed_to_its_source(write_module: Callable[..., ModuleType]):
    """What a wrapper with functools.wraps runs is registered, and an edit of the wrapper changes the version."""
    text = """
        import functools
        def doubled(f):
            @functools.wraps(f)
            def run(raw, config):
                return 2 * f(raw, config)
            return run
        @fs.feature()
        @doubled
        def vwap(raw, config):
            return raw
    """
    first = resolve_feature(write_module("fs_wrapped", text).vwap)
    second = resolve_feature(write_module("fs_wrapped", text.replace("2 *", "3 *")).vwap)

    assert (first.func(1, {}), second.func(1, {})) == (2, 3)
    assert first.version != second.version


def test_wrapper_above_the_decorator_is_another_function(write_module: Callable[..., ModuleType]):
    """A decorator on top of @feature hides the registered function; asking for the outer one is refused."""
    module = write_module(
        "fs_outer",
        """
        import functools
        def doubled(f):
            return functools.wraps(f)(lambda raw, config: 2 * f(raw, config))
        @doubled
        @fs.feature()
        def vwap(raw, config):
            return raw
        """,
    )

    assert "on top of other decorators" in refusal(lambda: resolve_feature(module.vwap))


def test_source_that_cannot_be_read_needs_a_version(monkeypatch: pytest.MonkeyPatch):
    """A function made by exec can only be registered with a version by hand."""
    monkeypatch.setitem(sys.modules, "fs_exec", module := ModuleType("fs_exec"))
    space = module.__dict__
    space["fs"] = features

    with pytest.raises(FeatureNotRegistered, match="needs a version by hand"):
        exec("@fs.feature()\ndef vwap(raw, config):\n    return raw\n", space)  # noqa: S102 our own text
    exec("@fs.feature(version='1')\ndef vwap(raw, config):\n    return raw\n", space)  # noqa: S102 our own text

    assert resolve_feature("fs_exec:vwap").source_digest == ""


def test_object_that_takes_no_attributes_is_refused():
    """A compiled wrapper that cannot carry the mark is refused with a way out."""

    class Sealed:
        __slots__ = ()

        def __call__(self, raw: Any, config: Any) -> Any:
            return raw

        def __getattr__(self, name: str) -> Any:
            return plain if name == "__wrapped__" else getattr(plain, name)

    sealed = Sealed()

    assert "takes no attributes" in refusal(lambda: feature(version="1")(sealed))


def test_modules_are_loaded_and_faults_told_together(write_module: Callable[..., ModuleType], tmp_path: Path):
    """All modules of the setting are imported; those that cannot be are named in one error."""
    write_module("fs_good", "@fs.feature()\ndef vwap(raw, config):\n    return 1\n")
    (tmp_path / "fs_broken.py").write_text("1 / 0\n", encoding="utf-8")

    assert "fs_good:vwap" in load_feature_modules(["fs_good"])
    with pytest.raises(ConfigurationError) as caught:
        load_feature_modules(["fs_broken", "fs_good", "fs_absent.inner"])
    assert len(caught.value.faults) == 2
    assert "ZeroDivisionError" in caught.value.faults[0]
    assert "fs_absent" in caught.value.faults[1]


SCRIPT = """
import sys
import fstore.features as fs
from fstore.errors import FeatureNotRegistered

print("ran", file=sys.stderr)

@fs.feature()
def vwap(raw, config):
    return raw

modules = sys.argv[1].split(",") if len(sys.argv) > 1 else []
fs.load_feature_modules(modules)
try:
    found = fs.resolve_feature(vwap)
    print(found.name, fs.resolve_feature(found.name) is found, found.version)
except FeatureNotRegistered as exc:
    print(exc)
"""


def run(folder: Path, *arguments: str) -> tuple[str, int]:
    """Run a script in a process of its own; return its output and how often its text ran."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": f"{Path(__file__).parents[3]}:{folder}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr.count("ran")


def test_function_of_a_script_is_known_by_its_real_name(tmp_path: Path):
    """A script run as a module, or listed in the setting, gives its functions the names workers import; it runs once."""
    (tmp_path / "fs_script.py").write_text(SCRIPT, encoding="utf-8")
    digest = "src:"

    as_module, times = run(tmp_path, "-m", "fs_script")
    assert as_module.startswith(f"fs_script:vwap True {digest}")
    assert times == 1

    listed, times = run(tmp_path, "-m", "fs_script", "fs_script")
    assert listed == as_module
    assert times == 1

    as_file, times = run(tmp_path, "fs_script.py", "fs_script")
    assert as_file == as_module
    assert times == 1

    imported, _ = run(tmp_path, "-c", "import fs_script")
    assert imported == as_module


def test_function_of_an_unlisted_script_is_refused_with_the_way_out(tmp_path: Path):
    """Workers cannot import a script: the refusal says to move the function to a module and to list it."""
    (tmp_path / "fs_script.py").write_text(SCRIPT, encoding="utf-8")

    text, _ = run(tmp_path, "fs_script.py")

    assert "'__main__:vwap' is not registered" in text
    assert "FEATURE_STORE_FEATURE_MODULES=my_features" in text
    assert 'fstore.local(vwap, version="1")' in text


def test_unregistered_function_of_a_script_gets_both_steps(tmp_path: Path):
    """The refusal for a plain function of a script names the decorator and the move at once."""
    (tmp_path / "fs_script.py").write_text(SCRIPT.replace("@fs.feature()", ""), encoding="utf-8")

    text, _ = run(tmp_path, "fs_script.py")

    assert '@fstore.feature(version="1") above it' in text


def test_record_is_frozen():
    """A feature's record cannot be changed."""
    with pytest.raises(AttributeError):
        resolve_feature(explicit).version = "2"  # type: ignore[misc]
    assert isinstance(resolve_feature(explicit), Feature)
