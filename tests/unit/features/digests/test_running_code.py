"""The code that runs and the text that is digested are the same, or there is no digest."""

from __future__ import annotations

import compileall
import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

Run = Callable[..., str]
REPOSITORY = Path(__file__).parents[4]
REPORT = f"""
import sys, types
sys.modules["fstore"] = types.ModuleType("fstore")  # the rest of fstore takes seconds to import
sys.modules["fstore"].__path__ = [{str(REPOSITORY / "fstore")!r}]
from fstore.features.source.digest import SourceUnavailable, source_digest
def tell(function):
    try:
        print(source_digest(function))
    except SourceUnavailable as exc:
        print("refused:", exc)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that writes files and runs a program beside them; ``tell(f)`` prints a digest or a refusal."""

    def run(program: str, files: Mapping[str, str], *options: str) -> str:
        for name, text in {"report.py": REPORT, **files}.items():
            if not (tmp_path / name).exists() or (tmp_path / name).read_text() != text:
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_text(text)
        done = subprocess.run(
            [sys.executable, *options, "-c", "from report import tell\n" + textwrap.dedent(program)],
            env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""},
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    return run


CONSTANT = "from report import tell\nW = 5\ndef vwap(raw, config):\n    return W\n"


def edit_unseen(file: Path, old: str, new: str) -> None:
    """Edit a file as a build does that sets times: size and time stamp stay."""
    before = file.stat()
    file.write_text(file.read_text().replace(old, new))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size


@pytest.mark.parametrize("at", ["when it is defined", "later", "as a helper", "before its import"])
def test_stale_bytecode_is_refused(run: Run, tmp_path: Path, at: str):
    """Python takes a .pyc for current by whole seconds and size; code from such a one has no digest."""
    files = {
        "alphas.py": CONSTANT + ("tell(vwap)\n" if at == "when it is defined" else ""),
        "user.py": "import alphas\ndef vwap(raw, config):\n    return alphas.W\n",
        "later.py": "def vwap(raw, config):\n    import alphas\n    return alphas.W\n",
    }
    program = {
        "when it is defined": "import alphas",
        "later": "import alphas; tell(alphas.vwap)",
        "as a helper": "import user; tell(user.vwap)",
        "before its import": "import later; tell(later.vwap)",
    }[at]
    run("import alphas", files)
    assert "refused" not in run(program, files)
    files["alphas.py"] = files["alphas.py"].replace("W = 5", "W = 9")
    edit_unseen(tmp_path / "alphas.py", "W = 5", "W = 9")

    assert "refused: " in run(program, files)
    assert "alphas" in run(program, files)


@pytest.mark.parametrize("what", ["constant", "function", "vanished function"])
@pytest.mark.parametrize("helper", [True, False])
def test_file_that_was_edited_after_its_import_is_refused(run: Run, tmp_path: Path, what: str, helper: bool):
    """What runs is the text that was imported, so another text has no say."""
    body = "import time\nW = 5\ndef of(x):\n    return x + 5\ndef gone(x):\n    return x\ndef vwap(raw, config):\n    return of(W)\n"
    new = {
        "constant": body.replace("W = 5", "W = 99"),
        "function": body.replace("x + 5", "x + 99"),
        "vanished function": body.replace("def gone", "def went_away"),
    }[what]
    files = {"alphas.py": body, "user.py": "from alphas import of, W\ndef vwap(raw, config):\n    return of(W)\n"}
    asked = "user" if helper else "alphas"

    said = run(
        f"import alphas, pathlib\npathlib.Path('alphas.py').write_text({new!r})\nimport {asked}\ntell({asked}.vwap)",
        files,
    )

    assert "refused: " in said
    assert "alphas" in said


def test_file_that_is_edited_while_its_imports_run_is_refused(run: Run):
    """A deployment over a process that starts: the module in memory is older than the file."""
    text = "import slow\nfrom report import tell\nW = 5\ndef vwap(raw, config):\n    return W\ntell(vwap)\n"
    slow = f"import pathlib\npathlib.Path('alphas.py').write_text({text.replace('W = 5', 'W = 9')!r})\n"

    assert "refused: the code of alphas" in run("import alphas", {"alphas.py": text, "slow.py": slow})


ORDINARY = '''
"""A module with a bit of everything."""
from __future__ import annotations
import contextlib, dataclasses, enum, functools, typing
import helper
from report import tell
_cache = None
counter = 0
LIMITS = {"a": 1}
@dataclasses.dataclass
class Point:
    x: int = 0
    def moved(self, by: int) -> Point:
        """Move."""
        return Point(self.x + by)
class Kind(enum.Enum):
    A = 1
T = typing.NamedTuple("T", [("x", int)])
def renamed(f):
    def run(*args):
        """Run."""
        return f(*args)
    run.__name__ = f.__name__
    return run
@renamed
@functools.lru_cache
def decorated(x):
    assert x is not None, "no x"
    return x in {1, 2.0, "a", -0.0}
squared = lambda x: x ** 2
@contextlib.contextmanager
def opened():
    yield 1e308 * 10
class Base:
    @property
    def w(self): return 1
    @w.setter
    def w(self, value): pass
    @classmethod
    def make(cls): return [lambda: i for i in range(3)]
    async def later(self): return __debug__
def vwap(raw, config):
    """Average price."""
    global _cache, counter
    _cache, counter = raw, counter + 1
    return decorated(1), squared(2), Point().moved(1), helper.f()
if __debug__:
    EXTRA = 1
vwap(1, {})
tell(vwap)
'''
HELPER = "import functools\nSETTING = None\nSTATE = 0\ndef f():\n    global STATE\n    STATE += 1\n    return STATE\n"


@pytest.mark.parametrize("options", [(), ("-O",), ("-OO",), ("-B",), ("-Werror",), ("-X", "importtime")])
def test_ordinary_modules_are_never_refused(run: Run, options: tuple[str, ...]):
    """Decorators, dataclasses, caches, state, optimised and fresh or cached bytecode: the same digest each time.

    Without ``if __debug__`` it is other code that runs, under a digest of its own.
    """
    files = {"alphas.py": ORDINARY, "helper.py": HELPER}
    program = "import alphas; tell(alphas.vwap); alphas.vwap(2, {}); tell(alphas.vwap)"

    said = [
        *run(program, files, *options).split(),
        *run(program, files, *options).split(),
        *run(program, files).split(),
    ]

    assert len(said) == 9
    assert "refused:" not in said
    assert len(set(said)) == 1 + ("-O" in "".join(options))
    assert len(set(said[:6])) == len(set(said[6:])) == 1


@pytest.mark.parametrize("mode", PycInvalidationMode)
def test_bytecode_of_builds_is_accepted(run: Run, tmp_path: Path, mode: PycInvalidationMode):
    """Bytecode that a build made, by time stamp or by hash, under another path, is what the text says."""
    files = {"alphas.py": ORDINARY, "helper.py": HELPER}
    run("pass", files)
    compileall.compile_dir(tmp_path, quiet=1, invalidation_mode=mode, stripdir=str(tmp_path), force=True)

    assert "refused" not in run("import alphas; tell(alphas.vwap)", files)


def test_bytecode_whose_text_is_not_asked_for_is_compared(run: Run, tmp_path: Path):
    """Bytecode that Python believes unseen is refused when the text is another one."""
    files = {"alphas.py": CONSTANT + "tell(vwap)\n"}
    run("pass", files)
    mode = PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(tmp_path, quiet=1, invalidation_mode=mode, force=True)
    files["alphas.py"] = files["alphas.py"].replace("W = 5", "W = 99")

    assert "refused" in run("import alphas", files)


def test_code_that_a_decorator_rewrites_is_believed(run: Run):
    """A decorator may replace the code of its function, as type checkers do; the text is still the one that was run."""
    text = (
        "from report import tell\ndef other(raw, config):\n    return 7\ndef rewritten(f):\n    f.__code__ = other.__code__.replace("
        "co_name=f.__code__.co_name, co_qualname=f.__code__.co_qualname, co_firstlineno=f.__code__.co_firstlineno)\n    return f\n"
        "@rewritten\ndef vwap(raw, config):\n    return 1\ntell(vwap)\n"
    )

    said = run("import alphas; tell(alphas.vwap)", {"alphas.py": text}).split()

    assert len(said) == 2
    assert len(set(said)) == 1


def test_import_hooks_that_rewrite_code_are_believed(run: Run):
    """Code that a hook changed on the way cannot be compared with its text."""
    hook = """
    import ast, sys
    from importlib.machinery import FileFinder, SourceFileLoader
    class Rewriting(SourceFileLoader):
        def get_code(self, fullname):
            text = self.get_data(self.path).decode().replace("return W", "return (W)  + 0")
            return compile(text, self.path, "exec", dont_inherit=True)
    sys.path_hooks.insert(0, FileFinder.path_hook((Rewriting, [".py"])))
    sys.path_importer_cache.clear()
    import alphas
    tell(alphas.vwap)
    """

    assert "refused" not in run(hook, {"alphas.py": CONSTANT + "tell(vwap)\n"})


def test_script_and_its_spawned_children_agree(run: Run, tmp_path: Path):
    """A script, ``-m`` and a spawned child digest one function alike."""
    script = (
        "import multiprocessing\nfrom report import tell\nimport helper\nW = 5\ndef vwap(raw, config):\n    return W, helper.f()\n"
        "tell(vwap)\nif __name__ == '__main__':\n    child = multiprocessing.get_context('spawn').Process(target=tell, args=(vwap,))\n"
        "    child.start()\n    child.join()\n"
    )
    program = (
        "import subprocess, sys\nfor how in (['script.py'], ['-m', 'script'], ['-c', 'import script']):\n"
        "    print(subprocess.run([sys.executable, *how], capture_output=True, text=True, check=True).stdout)\n"
    )

    said = run(program, {"script.py": script, "helper.py": HELPER}).split()

    assert len(said) == 7
    assert len(set(said)) == 1


@functools.cache
def cells(*texts: str) -> str:
    """Run texts as the cells of a notebook and return the digest of ``vwap``."""
    import linecache

    from fstore.features.source.digest import source_digest

    names: dict[str, object] = {"__name__": "__main__"}
    for number, text in enumerate(texts):
        file = f"<cell-{abs(hash(texts))}-{number}>"
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        exec(compile(text, file, "exec", dont_inherit=True), names)  # noqa: S102 our own text
    return source_digest(names["vwap"])  # type: ignore[arg-type]


def test_cells_of_a_notebook_belong_together():
    """Constants and functions of other cells count by what they are."""
    function = "def vwap(raw, config):\n    return of(W)\n"

    one = cells("W = 5\n", "def of(x):\n    return x\n", function)

    assert one == cells("W = 5  # five\n", "def of(x):\n    # same\n    return x\n", function)
    assert one != cells("W = 9\n", "def of(x):\n    return x\n", function)
    assert one != cells("W = 5\n", "def of(x):\n    return -x\n", function)


@pytest.mark.parametrize(
    ("text", "differs"),
    [
        ("def f(raw, config):\n    if __debug__:\n        return 5\n    return 9\n", (True, True)),
        ("from helper import w\ndef f(raw, config): return w()\n", (True, True)),
        ("def f(raw, config):\n    'Five.'\n    return f.__doc__\n", (False, True)),
        ("def f(raw, config):\n    'Five.'\n    assert raw is None\n    return 5\n", (False, False)),
    ],
)
def test_what_python_leaves_out_when_it_optimises_counts(run: Run, text: str, differs: tuple[bool, bool]) -> None:
    """A process started with ``-O`` or ``-OO`` may run other code than the text says to everybody else."""
    files = {"alphas.py": text, "helper.py": "def w(): return 5 if __debug__ else 9\n"}

    plain, once, twice = (run("import alphas\ntell(alphas.f)", files, *options) for options in ((), ("-O",), ("-OO",)))

    assert "refused" not in plain + once + twice
    assert (plain != once, plain != twice) == differs
