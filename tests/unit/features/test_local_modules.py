"""Local features and the author's other modules: an edit there is told, also to scripts, notebooks and lambdas."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fstore.calling.feature_calls import call_feature
from fstore.errors import FeatureNotRegistered
from fstore.features.local_features import local
from fstore.features.registry import resolve_feature

USES = {
    "a module": "import desk_lib.helper\nfeatures = lambda raw, config: desk_lib.helper.g(raw)",
    "a module under another name": "import desk_lib.helper as h\nfeatures = lambda raw, config: h.g(raw)",
    "a part of a package": "from desk_lib import helper\nfeatures = lambda raw, config: helper.g(raw)",
    "a function": "from desk_lib.helper import g\nfeatures = lambda raw, config: g(raw)",
    "a class": "from desk_lib.helper import C\nfeatures = lambda raw, config: C.w * raw",
    "an object of a class": "from desk_lib.helper import C\nc = C()\nfeatures = lambda raw, config: c.w * raw",
    "what another of its modules uses": "from desk_lib.between import h\nfeatures = lambda raw, config: h(raw)",
    "a helper beside": "from desk_lib.helper import g\ndef below(x): return g(x)\nfeatures = lambda raw, config: below(raw)",
    "an import in the function": "def features(raw, config):\n    from desk_lib.helper import g\n    return g(raw)",
    "an import of a part": "def features(raw, config):\n    from desk_lib import helper\n    return helper.g(raw)",
    "import_module": "import importlib\nfeatures = lambda raw, config: importlib.import_module('desk_lib.helper').g(raw)",
    "__import__": "features = lambda raw, config: __import__('desk_lib.helper').helper.g(raw)",
    "an expression of polars": "import polars as pl\nfrom desk_lib.helper import g\ns = pl.col('x').map_batches(g)\nfeatures = lambda raw, config: raw.select(s)",
    "a table of such expressions": "import collections, polars as pl\nfrom desk_lib.helper import g\ns = collections.OrderedDict(x=[pl.col('x').map_batches(g)])\nfeatures = lambda raw, config: raw.select(s['x'])",
    "a query of polars": "import polars as pl\nfrom desk_lib.helper import g\ns = pl.LazyFrame({'x': [1]}).select(pl.col('x').map_batches(g))\nfeatures = lambda raw, config: s.collect()",
    "a partial": "import functools\nfrom desk_lib.helper import g2\nfeatures = functools.partial(g2, n=1)",
}
HELPER = "def g(x):\n    return x * <W>\ndef g2(raw, config, n):\n    return raw * <W>\nclass C:\n    w = <W>\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Return a function that writes a package whose helper holds a number, and forgets what was imported of it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "desk_lib"]:
            del sys.modules[name]

    def write(number: str) -> Path:
        folder = tmp_path / number / "desk_lib"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "helper.py").write_text(HELPER.replace("<W>", number))
        (folder / "between.py").write_text("from .helper import g\ndef h(x):\n    return g(x)\n")
        monkeypatch.syspath_prepend(str(tmp_path / number))
        forget()
        importlib.invalidate_caches()
        return folder / "helper.py"

    yield write
    forget()


def script(text: str) -> Any:
    """Run a text as a notebook does, and return its features."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(text, space)  # noqa: S102 our own text
    return space["features"]


@pytest.mark.parametrize("use", USES)
def test_edit_of_a_module_that_a_notebook_uses_makes_another_name(use: str, write: Callable[[str], Path]) -> None:
    """Whatever way the code of a lambda or a cell leads to it."""
    write("2")
    names = [local(script(USES[use]), version="1").name for _ in range(2)]
    write("3")
    other = local(script(USES[use]), version="1").name

    assert names[0] == names[1] != other


def test_module_that_a_notebook_loads_again_makes_another_name(write: Callable[[str], Path]) -> None:
    """What was wrapped before is asked for as it is now."""
    helper = write("2")
    wrapped = local(script(USES["a module"]), version="1")
    name = wrapped.name

    helper.write_text(HELPER.replace("<W>", "33"))
    assert resolve_feature(wrapped).name == name  # what runs is what was imported
    importlib.reload(sys.modules["desk_lib.helper"])

    assert resolve_feature(wrapped).name != name


def test_module_that_was_edited_before_it_is_first_imported_computes_nothing(write: Callable[[str], Path]) -> None:
    """The name is of the text that was read."""
    helper = write("2")
    wrapped = local(script(USES["an import in the function"]), version="1", libraries=[])
    assert wrapped.name

    helper.write_text(HELPER.replace("<W>", "33"))

    with pytest.raises(FeatureNotRegistered, match=r"other code than was digested: .*desk_lib\.helper"):
        call_feature(wrapped, 1, {})


def test_module_that_is_edited_before_it_is_first_imported_is_read_anew(write: Callable[[str], Path]) -> None:
    """Whoever asks again after the edit gets the new numbers, in the same process."""
    helper = write("2")
    wrapped = local(script(USES["an import in the function"]), version="1")
    name = wrapped.name
    helper.write_text(HELPER.replace("<W>", "33"))

    now = resolve_feature(wrapped)

    assert now.name != name
    assert call_feature(now, 1, {}) == 33


def test_code_that_a_notebook_puts_into_functions_makes_another_version(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autoreload gives functions new code in their place; neither their module nor the feature's runs again."""
    helper = write("2")
    feats = helper.with_name("feats.py")
    feats.write_text(
        "import fstore\nfrom .helper import g\n@fstore.feature()\ndef f(raw, config):\n    return g(raw)\n"
    )
    module = importlib.import_module("desk_lib.feats")
    wrapped, before = local(module.f, version=None, name="desk"), resolve_feature(module.f).version
    told = wrapped.version
    monkeypatch.setitem(sys.modules, "IPython.extensions.autoreload", sys)

    helper.write_text(HELPER.replace("<W>", "33"))
    assert resolve_feature(module.f).version == before  # what runs is what was imported
    space: dict[str, Any] = {"__name__": "desk_lib.helper"}
    exec(compile(helper.read_text(), str(helper), "exec"), space)  # noqa: S102 our own text
    for name in ("g", "g2"):
        getattr(sys.modules["desk_lib.helper"], name).__code__ = space[name].__code__
    sys.modules["desk_lib.helper"].C.w = 33

    assert resolve_feature(module.f).version != before
    assert call_feature(resolve_feature(module.f), 1, {}) == 33
    assert resolve_feature(wrapped).version != told


def test_module_that_is_loaded_again_leaves_its_importers_behind(write: Callable[[str], Path]) -> None:
    """After importlib.reload of a helper a feature has the version of the new text, and is computed here no more."""
    helper = write("2")
    feats = helper.with_name("feats.py")
    feats.write_text(
        "import fstore\nfrom .helper import g\n@fstore.feature()\ndef f(raw, config):\n    return g(raw)\n"
    )
    module = importlib.import_module("desk_lib.feats")
    before = resolve_feature(module.f).version
    helper.write_text(HELPER.replace("<W>", "33"))
    importlib.reload(sys.modules["desk_lib.helper"])

    now = resolve_feature(module.f)

    assert now.version != before
    with pytest.raises(FeatureNotRegistered, match=r"desk_lib\.helper was loaded again"):
        call_feature(now, 1, {})
    importlib.reload(module)
    assert resolve_feature("desk_lib.feats:f").version == now.version
    assert call_feature(resolve_feature(module.f), 1, {}) == 33


def test_functions_that_numba_compiled_are_told_by_what_was_compiled() -> None:
    """Their names stay when calls compile them for more types, and follow code, options and what they look up."""
    numba = pytest.importorskip("numba")

    def names(number: int, **options: Any) -> list[str]:
        space: dict[str, Any] = {"__name__": "__main__", "numba": numba, "options": options}
        text = f"@numba.njit(**options)\ndef g(x): return x * {number}\n@numba.njit\ndef h(x): return g(x)\n"
        exec(text + f"@numba.vectorize\ndef v(x): return x * {number}\n", space)  # noqa: S102 our own text
        exec("one = lambda raw, config: h(raw)\ntwo = lambda raw, config: v(raw)\n", space)  # noqa: S102 our own text
        made = [local(space[name], version="1").name for name in ("one", "two")]
        space["h"](3), space["v"](3.0)
        assert made == [local(space[name], version="1").name for name in ("one", "two")]
        return made

    assert names(2) == names(2)
    assert set(names(2)).isdisjoint(names(3))
    assert names(2)[0] != names(2, fastmath=True)[0]
