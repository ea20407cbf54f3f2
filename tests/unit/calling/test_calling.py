"""How features are called: what is put back, what a module's import sets, and what is a stop."""

from __future__ import annotations

import decimal
import math
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore.calling import module_imports, pandas_options
from fstore.calling.every_setting import AT_IMPORT, PROCESS_SETTINGS
from fstore.calling.feature_calls import call_feature, is_stop, keep_clean, stop_keeping_clean
from fstore.calling.module_imports import noted_settings, watching_imports
from fstore.calling.pandas_options import read_options
from fstore.calling.process_state import ProcessSetting, read_state, restore_state, state_changes, write_state
from fstore.features.declarations import Feature
from tests.unsettling_features import CHANGES, Panic

SAFE_HERE = [
    name
    for name in CHANGES
    if name.startswith(
        ("pandas", "numpy", "warnings", "decimal", "locale", "time zone", "floating", "first day", "folders of")
    )
]


@pytest.fixture(autouse=True)
def spared() -> Iterator[None]:
    """Put back what a test leaves, also of the things that are tested."""
    before = read_state(AT_IMPORT)
    yield
    restore_state(before)
    module_imports._noted.clear()


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write modules, which nobody has imported yet, by name and text."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)

    def write(texts: dict[str, str]) -> None:
        for name, text in texts.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    yield write
    for name in set(sys.modules) - known:
        del sys.modules[name]


def made(func: Any, name: str = "some.module:f") -> Feature:
    """Make a feature of a function."""
    return Feature(name, func, "1", "", True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", SAFE_HERE)
def test_restoring_undoes_a_change(change: str) -> None:
    """What was noted is what is found again, and everything else stays."""
    before = read_state(AT_IMPORT)
    CHANGES[change]()
    assert state_changes(before)

    restore_state(before)

    assert not state_changes(before)


def test_one_setting_that_cannot_be_put_back_does_not_keep_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its reason."""
    values = {"a": 1}

    def refuse(_: object) -> None:
        raise OSError("not permitted")

    stuck = ProcessSetting("stuck", lambda: 2, refuse)
    loose = ProcessSetting("loose", lambda: values["a"], lambda noted: values.update(a=noted))
    values["a"] = 5

    restore_state({stuck: 1, loose: 1})

    assert values == {"a": 1}
    assert "cannot put back stuck: OSError: not permitted" in caplog.text


def test_every_setting_has_a_name_of_its_own() -> None:
    """Two of one name could not be told apart in what the doctor says."""
    names = [setting.name for setting in PROCESS_SETTINGS]
    assert len(names) == len(set(names))


def test_options_are_the_same_without_pandas_own_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of pandas may keep it elsewhere; the public way finds all of them too."""
    fast = read_options()
    monkeypatch.setattr(pandas_options, "_tree", None)
    assert read_options() == fast


def test_a_callers_process_is_left_as_it_is() -> None:
    """Outside of workers a function finds, and leaves, what a direct call would."""
    np.seterr(divide="raise")

    def set_more(raw: Any, config: Any) -> str:
        pd.set_option("display.max_rows", 17)
        decimal.getcontext().prec = 9
        return np.geterr()["divide"]

    assert call_feature(made(set_more), None, {}) == "raise"
    assert pd.get_option("display.max_rows") == 17
    assert decimal.getcontext().prec == 9


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt()])
def test_a_stop_of_the_caller_comes_in_its_main_thread(error: BaseException) -> None:
    """Python raises Ctrl-C there and nowhere else; in another thread the function raised it itself."""
    elsewhere: list[bool] = []
    thread = threading.Thread(target=lambda: elsewhere.append(is_stop(error)))
    thread.start()
    thread.join()

    assert is_stop(error)
    assert elsewhere == [False]


@pytest.mark.parametrize("error", [Panic(), GeneratorExit(), ValueError()])
def test_nothing_else_is_a_stop(error: BaseException) -> None:
    """Whatever is no ``SystemExit`` or ``KeyboardInterrupt`` is an error of the function."""
    assert not is_stop(error)


@pytest.mark.parametrize("told", [True, False])
def test_a_worker_is_stopped_when_it_was_told_so(told: bool) -> None:
    """The same ``SystemExit`` is a stop or an error, by what the worker knows."""
    keep_clean(is_stopping=lambda: told)
    try:
        assert is_stop(SystemExit(3)) is told
    finally:
        stop_keeping_clean()


def test_what_a_module_sets_is_noted_and_undone(modules: Any) -> None:
    """It is found under the module's name, and the process is as before."""
    modules(
        {"sets": "import numpy as np, pandas as pd\nnp.seterr(over='raise')\npd.set_option('display.precision', 3)"}
    )
    before = read_state(AT_IMPORT)

    with watching_imports():
        __import__("sets")

    assert not state_changes(before)
    assert noted_settings() == {"sets": ("pandas option display.precision", "numpy's handling of over")}
    write_state(module_imports.settings_set_by("sets"))
    assert (pd.get_option("display.precision"), np.geterr()["over"]) == (3, "raise")


@pytest.mark.parametrize("order", [("user", "other"), ("other", "user")])
def test_the_order_of_imports_does_not_matter(modules: Any, order: tuple[str, str]) -> None:
    """A library's settings belong to the library, whichever module imports it first."""
    modules(
        {
            "library": "import pandas as pd\npd.set_option('display.precision', 3)",
            "user": "import library\nimport pandas as pd\npd.set_option('display.width', 41)",
            "other": "import library",
        }
    )

    with watching_imports():
        for name in order:
            __import__(name)

    assert noted_settings() == {
        "library": ("pandas option display.precision",),
        "user": ("pandas option display.width",),
    }
    assert not module_imports.settings_set_by("other")


def test_what_a_package_sets_holds_for_its_modules(modules: Any) -> None:
    """``__init__`` is where such lines are written; a module's own come after."""
    modules(
        {
            "desk/__init__": "import pandas as pd\npd.set_option('display.width', 41)\npd.set_option('display.precision', 3)",
            "desk/alphas": "import pandas as pd\npd.set_option('display.precision', 5)",
        }
    )

    with watching_imports():
        __import__("desk.alphas")

    write_state(module_imports.settings_set_by("desk.alphas"))
    assert (pd.get_option("display.width"), pd.get_option("display.precision")) == (41, 5)


def test_a_module_that_cannot_be_imported_leaves_nothing(modules: Any) -> None:
    """What it had set by then is undone as well."""
    modules({"broken": "import warnings\nwarnings.simplefilter('always')\nimport nothing_of_that_name"})
    before = list(warnings.filters)

    with watching_imports(), pytest.raises(ModuleNotFoundError):
        __import__("broken")

    assert list(warnings.filters) == before


def test_nothing_is_said_of_a_module_that_another_thread_imports(modules: Any) -> None:
    """What is set meanwhile may be anybody's, and undoing it would take it from them."""
    modules({"elsewhere": "import pandas as pd\npd.set_option('display.width', 43)\n"})

    with watching_imports():
        thread = threading.Thread(target=__import__, args=("elsewhere",))
        thread.start()
        thread.join()

    assert "elsewhere" not in noted_settings()
    assert pd.get_option("display.width") == 43


PUTS = {
    "a function": (np, "median", lambda x: 9),
    "a new function": (np, "mine_of_a_test", lambda x: 9),
    "a method": (pd.DataFrame, "nlargest", lambda self: 9),
    "a method of a base class": (pd.DataFrame.__mro__[1], "mine_of_a_test", lambda self: 9),
    "a property": (pd.Series, "mine_of_a_test", property(lambda self: 9)),
    "a class": (pd, "Grouper", type("Mine", (), {})),
    "another function of the library": (np, "mean", np.nanmean),
    "another method of the library": (pd.DataFrame, "mean", pd.DataFrame.median),
    "another operator of the library": (pd.Series, "__add__", pd.Series.__sub__),
    "a function of Python": (np, "max", max),
    "a number": (math, "pi", 3.0),
    "nothing": (pd.DataFrame, "sum", None),
}


@pytest.mark.parametrize("kind", PUTS)
def test_what_a_feature_puts_into_a_library_ends_with_its_call(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one would compute with somebody's median, for everybody."""
    space, name, value = PUTS[kind]
    before = vars(space).get(name)
    if before is not None:
        monkeypatch.setattr(space, name, before)  # whatever happens

    def puts(raw: Any, config: Any) -> bool:
        setattr(space, name, value)
        return vars(space)[name] is value

    keep_clean(is_stopping=lambda: False)
    try:
        assert [call_feature(made(puts), None, {}) for _ in range(2)] == [True, True]
        assert vars(space).get(name) is before
    finally:
        stop_keeping_clean()
        if before is None and name in vars(space):
            delattr(space, name)


def test_what_a_feature_takes_out_of_a_library_is_back_after_its_call() -> None:
    """Or the next one would fail for what another did."""
    before = np.median

    def takes(raw: Any, config: Any) -> bool:
        del np.median
        return "median" in vars(np)

    keep_clean(is_stopping=lambda: False)
    try:
        assert [call_feature(made(takes), None, {}) for _ in range(2)] == [False, False]
        assert np.median is before
    finally:
        stop_keeping_clean()
        np.median = before


def test_a_late_import_hides_nothing_that_a_feature_replaces(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many import something inside of their function: what they replaced would then be everybody's for good."""
    modules({"imported_late": "X = 1\n"})
    before = np.median
    monkeypatch.setattr(np, "median", before)  # whatever happens

    def replaces(raw: Any, config: Any) -> float:
        import imported_late  # noqa: F401

        np.median = np.mean
        return float(np.median([1.0, 2.0, 9.0]))

    keep_clean(is_stopping=lambda: False)
    try:
        assert call_feature(made(replaces), None, {}) == 4.0
        assert np.median is before
    finally:
        stop_keeping_clean()


def test_a_late_import_hides_nothing_that_a_feature_adds(modules: Any) -> None:
    """What all frames inherit, one of their classes answers otherwise from then on."""
    modules({"imported_late_too": "X = 1\n"})
    names = ("rolling", "mine_of_a_test")
    assert not any(name in vars(pd.DataFrame) for name in names)

    def adds(raw: Any, config: Any) -> int:
        import imported_late_too  # noqa: F401

        for name in names:
            setattr(pd.DataFrame, name, lambda self, *given: 9)
        return int(pd.DataFrame().rolling(3))  # type: ignore[call-overload]

    keep_clean(is_stopping=lambda: False)
    try:
        assert call_feature(made(adds), None, {}) == 9
        left = [name for name in names if name in vars(pd.DataFrame)]
    finally:
        stop_keeping_clean()
        for name in names:
            if name in vars(pd.DataFrame):
                delattr(pd.DataFrame, name)
    assert left == []


def test_what_an_import_replaces_in_a_library_stays(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A faster one of some library's, say, which is put there once a process."""
    modules({"replaces_one": "import numpy as np\ndef median(x):\n    return 5.0\nnp.median = median\n"})
    monkeypatch.setattr(np, "median", np.median)  # whatever happens

    def asks(raw: Any, config: Any) -> float:
        import replaces_one  # noqa: F401

        return float(np.median([1.0]))

    keep_clean(is_stopping=lambda: False)
    try:
        assert [call_feature(made(asks), None, {}) for _ in range(2)] == [5.0, 5.0]
    finally:
        stop_keeping_clean()


def test_what_an_import_puts_into_a_library_stays(modules: Any) -> None:
    """It does so once a process: the next call would find a module that is there and its methods gone."""
    modules({"extends_frames": "import pandas as pd\npd.DataFrame.mine_of_an_import = lambda self: 5\n"})

    def asks(raw: Any, config: Any) -> Any:
        import extends_frames  # noqa: F401

        return pd.DataFrame().mine_of_an_import()

    keep_clean(is_stopping=lambda: False)
    try:
        assert [call_feature(made(asks), None, {}) for _ in range(3)] == [5, 5, 5]
    finally:
        stop_keeping_clean()
        del pd.DataFrame.mine_of_an_import  # type: ignore[attr-defined]
