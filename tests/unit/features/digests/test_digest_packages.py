"""Other modules of a feature's own code: which of them its digest covers, and which edits it sees there."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fstore.calling.feature_calls import call_feature
from fstore.errors import FeatureNotRegistered
from fstore.features import registry as features
from fstore.features.coverage import source_of
from fstore.features.registry import resolve_feature
from fstore.features.source import running_code
from fstore.features.source.digest import SourceUnavailable, covered, source_digest
from tests.unit.features.digests.package_edits import HELPER, PACKAGE, PACKAGE_EDITS

Files = Mapping[str, str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Files], str]]:
    """Return a function that writes files, imports ``pkg.alphas`` or ``alphas`` of them and digests its ``vwap``."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(features, "_registry", {})
    count = 0
    before = {name for name in sys.modules if not _is_of(name, tmp_path)}

    def digest(files: Files) -> str:
        nonlocal count
        count += 1
        root = tmp_path / f"r{count}"
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text.replace("<W>", "5"), encoding="utf-8")
        for name in set(sys.modules) - before:
            if _is_of(name, tmp_path):
                del sys.modules[name]
        monkeypatch.setattr(sys, "path", [str(root), *(p for p in sys.path if not p.startswith(str(tmp_path)))])
        importlib.invalidate_caches()
        module = importlib.import_module("pkg.alphas" if (root / "pkg").is_dir() else "alphas")
        return source_digest(module.vwap)

    yield digest
    for name in set(sys.modules) - before:
        if _is_of(name, tmp_path):
            del sys.modules[name]


def _is_of(name: str, folder: Path) -> bool:
    file = getattr(sys.modules[name], "__file__", None) or ""
    return file.startswith(str(folder)) or name.partition(".")[0] in {"pkg", "other_top"}


USES = {
    "from the package": "from pkg import helper\ndef vwap(raw, config):\n    return helper.w()\n",
    "from the module": "from pkg.helper import w\ndef vwap(raw, config):\n    return w()\n",
    "under another name": "import pkg.helper as h\ndef vwap(raw, config):\n    return h.w()\n",
    "dotted": "import pkg.helper\ndef vwap(raw, config):\n    return pkg.helper.w()\n",
    "relative": "from . import helper\ndef vwap(raw, config):\n    return helper.w()\n",
    "relative module": "from .helper import w\ndef vwap(raw, config):\n    return w()\n",
    "star": "from pkg.helper import *\ndef vwap(raw, config):\n    return w()\n",
    "in the function": "def vwap(raw, config):\n    from pkg import helper\n    return helper.w()\n",
    "in a helper": "def of():\n    from .helper import w\n    return w()\ndef vwap(raw, config):\n    return of()\n",
    "in a method": "class A:\n    def of(self):\n        import pkg.helper\n        return pkg.helper.w()\ndef vwap(raw, config):\n    return A().of()\n",
    "import_module": "import importlib\ndef vwap(raw, config):\n    return importlib.import_module('pkg.helper').w()\n",
    "relative import_module": "import importlib\ndef vwap(raw, config):\n    return importlib.import_module('.helper', __package__).w()\n",
    "import_module with a package": "import importlib\ndef vwap(raw, config):\n    return importlib.import_module('.helper', 'pkg').w()\n",
    "import_module of a built name": "import importlib\ndef vwap(raw, config):\n    return importlib.import_module('pkg.' + config.get('m', 'helper')).w()\n",
    "__import__": "def vwap(raw, config):\n    return __import__('pkg.helper').helper.w()\n",
    "pkgutil": "import pkgutil\ndef vwap(raw, config):\n    import pkg\n    return [m.name for m in pkgutil.iter_modules(pkg.__path__)]\n",
    "sys.modules": "import sys\nimport pkg.helper\ndef vwap(raw, config):\n    return sys.modules['pkg.helper'].w()\n",
    "for its effect": "import pkg.helper\ndef vwap(raw, config):\n    return raw\n",
    "attribute of the package": "import pkg\nimport pkg.between\ndef vwap(raw, config):\n    return pkg.helper.w()\n",
    "through another": "from pkg.between import w\ndef vwap(raw, config):\n    return w()\n",
    "through a function of another": "from pkg.between import late\ndef vwap(raw, config):\n    return late()\n",
    "through a cycle": "from pkg.cycle import of\nW = 1\ndef vwap(raw, config):\n    return of()\n",
    "in a branch": "try:\n    from pkg.helper import w\nexcept ImportError:\n    w = None\ndef vwap(raw, config):\n    return w()\n",
    "text of code": "def vwap(raw, config):\n    space = {}\n    exec('from pkg.helper import w', space)\n    return space['w']()\n",
    "text of a file": "from pathlib import Path\ndef vwap(raw, config):\n    space = {}\n    exec((Path(__file__).parent / 'helper.py').read_text(), space)\n    return space['w']()\n",
    "base class": "from pkg.helper import w\nclass A:\n    of = staticmethod(w)\nclass B(A):\n    pass\ndef vwap(raw, config):\n    return B.of()\n",
    "package above a package": "from pkg.sub.deep import w\ndef vwap(raw, config):\n    return w()\n",
}  # fmt: skip
BETWEEN = {
    "pkg/between.py": "from .helper import w\ndef late():\n    import pkg.helper\n    return pkg.helper.w()\n",
    "pkg/cycle.py": "import pkg.alphas\nfrom pkg import helper\ndef of():\n    return helper.w() + pkg.alphas.W\n",
    "pkg/sub/__init__.py": "from ..helper import *\n",
    "pkg/sub/deep.py": "from pkg.sub import w\n",
}


@pytest.mark.parametrize("name", USES)
def test_edit_of_an_imported_module_is_seen(package: Callable[[Files], str], name: str):
    """However a module of the same package is imported, its edits make a new version."""
    files = {**PACKAGE, **BETWEEN, "pkg/alphas.py": USES[name]}

    first = package({path: text.replace("<W>", "5") for path, text in files.items()})
    again = package({path: text.replace("<W>", "5") + "\n# a comment\n" for path, text in files.items()})
    second = package({path: text.replace("<W>", "9") for path, text in files.items()})

    assert first == again
    assert first != second


def test_names_that_a_module_makes_up_are_seen(package: Callable[[Files], str]):
    """A helper may ask the feature's module for a name that only its ``__getattr__`` knows."""
    files = {**PACKAGE, "pkg/cycle.py": "def of():\n    from pkg.alphas import anything\n    return anything\n"}
    text = "from pkg.cycle import of\ndef __getattr__(name):\n    return <W>\ndef vwap(raw, config):\n    return of()\n"

    assert package({**files, "pkg/alphas.py": text}) != package({**files, "pkg/alphas.py": text.replace("<W>", "9")})


@pytest.mark.parametrize(
    "line", ["X = STEPS >> <W>", "X = STEPS[<W>]", "X = STEPS.next.<W>x", "@STEPS.setter\ndef f():\n    return <W>", "class A(STEPS.kind):\n    w = <W>"]
)  # fmt: skip
def test_what_is_done_to_an_imported_object_is_seen(package: Callable[[Files], str], line: str):
    """Operators, attributes and decorators of another module's object may note things in it."""
    steps = "class Steps(list):\n    kind = object\n    def __getattr__(self, name):\n        self.append(name)\n        return self\n"
    steps += "    def __rshift__(self, other):\n        self.append(other)\n    __getitem__ = setter = __rshift__\nSTEPS = Steps()\n"
    text = (
        f"from pkg.steps import STEPS\n{line.replace('<W>x', 'w<W>')}\ndef vwap(raw, config):\n    return list(STEPS)\n"
    )
    files = {**PACKAGE, "pkg/steps.py": steps}

    assert package({**files, "pkg/alphas.py": text}) != package({**files, "pkg/alphas.py": text.replace("<W>", "9")})


@pytest.mark.parametrize("edited", ["pkg/__init__.py", "pkg/sub/__init__.py"])
def test_packages_around_a_module_run_with_it(package: Callable[[Files], str], edited: str):
    """An edit of a package's own file is seen by all who import something below it."""
    files = {**PACKAGE, **BETWEEN, "pkg/alphas.py": USES["package above a package"]}

    assert package(files) != package({**files, edited: files[edited] + "\nX = 1\n"})


def test_modules_that_nobody_imports_do_not_count(package: Callable[[Files], str]):
    """A module of the package that the feature does not lead to may change."""
    files = {**PACKAGE, "pkg/alphas.py": USES["relative"], "pkg/other.py": "X = 1\n"}

    assert package(files) == package({**files, "pkg/other.py": "X = 2\n"})


def test_neighbours_of_a_flat_module_are_own_code(package: Callable[[Files], str]):
    """A script's folder is its own code, also where a file has the name of a standard module."""
    text = "import helper\nimport statistics\ndef vwap(raw, config):\n    return helper.w()\n"
    files = {"alphas.py": text, "helper.py": HELPER, "tools/__init__.py": "", "tools/deep.py": "W = 1\n"}
    through = {**files, "helper.py": "from tools.deep import W\n" + HELPER}

    assert package(files) != package({**files, "helper.py": HELPER.replace("<W>", "9")})
    assert package(through) != package({**through, "tools/deep.py": "W = 2\n"})


@pytest.mark.parametrize(
    "taking", ["import pkg.alphas as a\n    return a.W", "from pkg.alphas import W\n    return W", "from pkg import alphas\n    return alphas.W",
               "from .alphas import *", "import sys\n    return sys.modules['pkg.alphas'].W", "from . import alphas\n    return vars(alphas)['w'.upper()]"],
)  # fmt: skip
def test_what_another_module_takes_from_the_features_own_is_seen(package: Callable[[Files], str], taking: str):
    """A constant that only a helper looks up, through a circular import, counts."""
    taken = (
        f"def of():\n    {taking}\n"
        if "*" not in taking
        else f"def of():\n    return W\ndef later():\n    pass\n{taking}\n"
    )
    text = "from pkg.takes import of\nW = 1\ndef vwap(raw, config):\n    return of()\n"
    files = {**PACKAGE, "pkg/takes.py": taken, "pkg/alphas.py": text}

    assert package(files) != package({**files, "pkg/alphas.py": text.replace("W = 1", "W = 2")})


def test_module_that_cannot_be_read_refuses_with_its_name(package: Callable[[Files], str]):
    """A version that would leave out a part of the code is not given."""
    files = {**PACKAGE, "pkg/alphas.py": "def vwap(raw, config):\n    import pkg.helper\n    return pkg.helper.w()\n"}

    with pytest.raises(SourceUnavailable, match=r"pkg\.helper does not parse"):
        package({**files, "pkg/helper.py": "def (\n"})


def test_compiled_modules_count_by_their_bytes(package: Callable[[Files], str]):
    """An extension module of the package has no text; a new build is a new version."""
    files = {
        "pkg/__init__.py": "",
        "pkg/alphas.py": "def vwap(raw, config):\n    from pkg import fast\n    return fast\n",
    }
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]

    assert package({**files, f"pkg/fast{suffix}": "one"}) != package({**files, f"pkg/fast{suffix}": "two"})


def test_namespace_packages_and_archives_are_followed(package: Callable[[Files], str], tmp_path: Path):
    """A package without a file of its own, or in an archive, is read like any other."""
    files = {"pkg/helper.py": HELPER, "pkg/alphas.py": USES["relative"]}
    assert package(files) != package({**files, "pkg/helper.py": HELPER.replace("<W>", "9")})

    digests = []
    for value in ("5", "9"):
        with zipfile.ZipFile(tmp_path / f"{value}.zip", "w") as archive:
            for name, text in {**PACKAGE, "pkg/alphas.py": USES["relative"]}.items():
                archive.writestr(name, text.replace("<W>", value))
        for name in [name for name in sys.modules if name.partition(".")[0] == "pkg"]:
            del sys.modules[name]
        sys.path.insert(0, str(tmp_path / f"{value}.zip"))
        digests.append(source_digest(importlib.import_module("pkg.alphas").vwap))
        del sys.path[0]
    assert digests[0] != digests[1]


def test_libraries_and_fstore_are_not_own_code(package: Callable[[Files], str]):
    """Installed distributions, the standard library and fstore are named as not covered, never read."""
    text = "import fstore, json, pandas\nfrom numpy import sum\nfrom pkg import helper\ndef vwap(raw, config):\n    return pandas, sum\n"
    package({**PACKAGE, "pkg/alphas.py": text})

    found = covered(sys.modules["pkg.alphas"].vwap)

    assert set(found.walk.modules) == {"pkg", "pkg.helper"}
    assert found.walk.others - {"fstore"} == {"pandas", "numpy"}


def test_library_that_is_imported_for_its_effect_is_seen(package: Callable[[Files], str]):
    """An import whose name nobody uses may add methods to every frame; one of a used name counts where it is used."""
    text = "def other(x):\n    import numpy\n    return numpy\ndef vwap(raw, config):\n    return raw\n"
    files = {"pkg/__init__.py": ""}
    plain = package({**files, "pkg/alphas.py": text})

    assert plain != package({**files, "pkg/alphas.py": "import blake3\n" + text})
    assert plain == package({**files, "pkg/alphas.py": "import numpy\n" + text})
    assert plain == package({**files, "pkg/alphas.py": "import json\n" + text})


def test_track_module_leaves_other_modules_out(package: Callable[[Files], str]):
    """With ``track="module"`` only the feature's own module counts."""
    digests = []
    for value in "59":
        package({**PACKAGE, "pkg/helper.py": HELPER.replace("<W>", value), "pkg/alphas.py": USES["relative"]})
        digests.append(source_digest(sys.modules["pkg.alphas"].vwap, "module"))

    assert digests[0] == digests[1]


def test_wrapper_of_another_module_counts(package: Callable[[Files], str]):
    """A function that is wrapped elsewhere in the package brings the wrapper's module along."""
    files = {
        "pkg/__init__.py": "",
        "pkg/wraps.py": "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def run(raw, config):\n"
        "        return <W> * f(raw, config)\n    return run\n",
        "pkg/alphas.py": "def vwap(raw, config):\n    return raw\n",
    }
    digests = []
    for value in "59":
        package({path: text.replace("<W>", value) for path, text in files.items()})
        wraps = importlib.import_module("pkg.wraps")
        digests.append(source_of(wraps.twice(sys.modules["pkg.alphas"].vwap)).digest)

    assert all(digests)
    assert digests[0] != digests[1]


def test_a_thousand_features_of_one_package_are_parsed_once(
    package: Callable[[Files], str], monkeypatch: pytest.MonkeyPatch
):
    """Every module is parsed once a process, however many features are defined."""
    from fstore.features.source import module_text

    parsed: list[str] = []
    plain = module_text.ModuleSource
    monkeypatch.setattr(module_text, "ModuleSource", lambda text: parsed.append(text) or plain(text))  # type: ignore[func-returns-value]
    text = USES["relative"] + "".join(f"def f{n}(raw, config):\n    return {n}\n" for n in range(200))

    package({**PACKAGE, "pkg/alphas.py": text})
    digests = {source_digest(getattr(sys.modules["pkg.alphas"], f"f{n}")) for n in range(200)}

    assert len(digests) == 200
    assert len(parsed) == len(set(parsed)) <= 3


LATE = {"pkg/__init__.py": "", "pkg/helper.py": HELPER.replace("<W>", "5"), "pkg/alphas.py": "import fstore\n@fstore.feature()\n"
    "def vwap(raw, config):\n    from . import helper\n    return raw * helper.w()\n"}  # fmt: skip


def test_module_imported_late_and_edited_before_computes_nothing(package: Callable[[Files], str], tmp_path: Path):
    """A worker that imports a helper for the first time after a deployment would run new code under the old version."""
    package(LATE)
    feature = resolve_feature("pkg.alphas:vwap")
    (tmp_path / "r1" / "pkg" / "helper.py").write_text(HELPER.replace("<W>", "9"), encoding="utf-8")

    with pytest.raises(FeatureNotRegistered, match=r"other code than its version says: .*pkg\.helper"):
        call_feature(feature, 1, {})


def test_module_imported_late_computes(package: Callable[[Files], str], tmp_path: Path):
    """One that is as it was is no reason to refuse, nor is an edit that comes after its import."""
    package(LATE)
    feature = resolve_feature("pkg.alphas:vwap")

    assert call_feature(feature, 1, {}) == 5
    (tmp_path / "r1" / "pkg" / "helper.py").write_text(HELPER.replace("<W>", "9"), encoding="utf-8")
    assert call_feature(feature, 1, {}) == 5


def test_a_name_that_a_package_imports_leads_to_the_feature(package: Callable[[Files], str]):
    """What ``from .alphas import vwap`` calls ``pkg:vwap`` is ``pkg.alphas:vwap``, and has its keys."""
    package({"pkg/__init__.py": "from .alphas import vwap\n", "pkg/alphas.py": "import fstore\n@fstore.feature()\n"
        "def vwap(raw, config):\n    return raw\n"})  # fmt: skip

    assert resolve_feature("pkg:vwap").name == "pkg.alphas:vwap"


def test_an_archive_gives_the_digest_of_its_files(
    package: Callable[[Files], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where the same text lies does not matter, also to what looks up its module's name."""
    files = {"pkg/__init__.py": "", "pkg/alphas.py": "import logging\nlog = logging.getLogger(__name__)\n"
        "def vwap(raw, config):\n    log.info('x')\n    return raw\n"}  # fmt: skip
    digest = package(files)
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "zipped.zip"), *sys.path])
    for name in ("pkg", "pkg.alphas"):
        sys.modules.pop(name)

    assert source_digest(importlib.import_module("pkg.alphas").vwap) == digest


def test_docstrings_and_comments_of_another_module_leave_the_digest(package: Callable[[Files], str]):
    """They change nothing there either."""
    files = {**PACKAGE, "pkg/alphas.py": USES["relative"]}
    told = '"""Help."""\n' + HELPER.replace("    return", '    """Tell."""\n    return').replace(
        "<W>\n", "<W>  # wide\n"
    )

    assert package(files) == package({**files, "pkg/helper.py": told})


@pytest.mark.parametrize("name", PACKAGE_EDITS)
def test_edit_of_a_package_that_changes_the_result_is_seen(
    package: Callable[[Files], str], name: str, monkeypatch: pytest.MonkeyPatch
):
    """Whatever way a value of another module, or of the feature's own through another, takes into the function."""
    monkeypatch.setattr(running_code, "_is_young", lambda file: False)
    found: list[tuple[str, str]] = []
    for value in "59":
        digest = package({path: text.replace("<W>", value) for path, text in PACKAGE_EDITS[name].items()})
        module = sys.modules.get("pkg.alphas") or sys.modules["alphas"]
        found.append((digest, str(module.vwap(None, {}))))

    assert found[0][1] != found[1][1]
    assert found[0][0] != found[1][0]


def test_what_other_modules_do_not_take_leaves_the_digest(package: Callable[[Files], str]):
    """A helper that imports the feature's module in turn does not make all of it count, nor do docstrings."""
    text = 'from pkg.takes import of\nW = 1\ndef unused():\n    """Five."""\n    return 5\ndef vwap(raw, config):\n    return of()\n'
    files = {**PACKAGE, "pkg/takes.py": "import pkg.alphas\ndef of():\n    return pkg.alphas.W\n"}

    plain = package({**files, "pkg/alphas.py": text})

    assert plain == package({**files, "pkg/alphas.py": text.replace("return 5", "return 6")})
    assert plain == package({**files, "pkg/alphas.py": text.replace("Five", "Six")})
    assert plain != package({**files, "pkg/alphas.py": text.replace("W = 1", "W = 2")})
