"""The command line is a list of verbs, each in a file of its name, loaded when it is called."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import fstore.cli.commands
from fstore.cli import errors
from fstore.cli.app import FAMILIES, FOLDERS, app, run

HEAVY = {"pandas", "numpy", "pyarrow", "celery", "kombu", "sqlalchemy", "alembic", "redis", "psycopg2", "structlog"}
HELP_SHARE = 0.6  # of the processor time that importing pandas takes


def test_every_verb_has_a_file_of_its_name_and_no_file_is_left_over() -> None:
    """Whoever looks for ``fstore gc`` finds ``commands/*/gc.py``; there is nothing else in these folders."""
    home = Path(fstore.cli.commands.__file__).parent
    found = {path.stem.replace("_", "-"): path.parent.name for path in home.glob("*/*.py") if path.stem != "__init__"}

    assert found == FOLDERS


@pytest.mark.parametrize(("verb", "summary"), [pair for family in FAMILIES for pair in family.verbs.items()])
def test_what_help_says_of_a_verb_is_what_the_verb_says(verb: str, summary: str) -> None:
    """The list is shown without loading a verb, so its sentence stands twice: both are the same."""
    command = app.get_command(None, verb)  # type: ignore[arg-type]

    assert command is not None
    assert command.name == verb
    text = " ".join((command.help or "").split())
    assert text.startswith(summary.removesuffix("."))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["status", "--json"]])
def test_light_commands_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """Help, version and the state of the local stack need neither pandas nor Celery nor any driver."""
    code = (
        "import contextlib, io, json, sys\n"
        "from fstore.cli.app import run\n"
        "with contextlib.redirect_stdout(io.StringIO()): run(sys.argv[1:])\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEATURE_STORE_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, "FEATURE_STORE_PATH": str(tmp_path)}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert HEAVY & set(json.loads(done.stdout)) == set()


def test_help_costs_less_than_importing_pandas() -> None:
    """``fstore --help`` takes at most 0.6 of the processor time of ``import pandas``, the best of three each."""
    assert cost("-m", "fstore.cli", "--help") <= HELP_SHARE * cost("-c", "import pandas")


def test_help_can_be_asked_for_as_a_verb() -> None:
    """``fstore help`` and ``fstore help gc`` are what many type first."""
    assert ask("help") == ask("--help")
    assert ask("help", "gc") == ask("gc", "--help")
    assert ask("help", "gc")[0] == 0


def test_names_are_completed_without_loading_the_verbs() -> None:
    """A TAB in a shell lists the verbs that begin so, with their sentences."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys\nfrom fstore.cli.app import app\napp(prog_name='fstore')"],
        env={**os.environ, "_FSTORE_COMPLETE": "bash_complete", "COMP_WORDS": "fstore re", "COMP_CWORD": "1"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == {"report", "restart"}


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    """``fstore config | head -1`` ends with 0 on both sides, without a word."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEATURE_STORE_")}
    code = "import sys\nfrom fstore.cli.app import run\nsys.exit(run(['config']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        assert (process.wait(60), said) == (0, b"")


@pytest.mark.parametrize("words", ["config", "config --json", "help jobs"])
def test_output_that_cannot_be_written_is_no_bug(words: str) -> None:
    """On a full disk the command says so in a sentence; where nobody listens it does its work."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEATURE_STORE_")}
    code = f"import sys\nfrom fstore.cli.app import run\nsys.exit(run({words.split()}))"

    def ended(redirected: str) -> tuple[int, str]:
        shell = ["sh", "-c", f'exec "$0" -c "$1" {redirected}', sys.executable, code]
        done = subprocess.run(shell, env=kept, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    code_full, said = ended(">/dev/full")
    assert code_full == errors.UNAVAILABLE
    assert "a bug" not in said
    assert "Exception ignored" not in said
    assert ended(">&-") == (0, "")


def test_an_early_interrupt_is_no_traceback() -> None:
    """Ctrl-C while the command's modules are still being imported, as on a busy machine."""
    script = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "fstore.cli.app":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from fstore.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (errors.INTERRUPTED, "fstore: interrupted\n")


def test_a_folder_that_is_gone_is_said_and_no_bug(tmp_path: Path) -> None:
    """Called in a folder that was removed meanwhile, what needs none works, and what needs one says so."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEATURE_STORE_")}
    script = f"""
import os, sys
from fstore.cli.app import run
os.makedirs({str(tmp_path / "gone")!r})
os.chdir({str(tmp_path / "gone")!r})
os.rmdir({str(tmp_path / "gone")!r})
codes = [run(words.split()) for words in ("--version", "config", "config --root here", "ingest a.csv b.parquet", "up --root /nowhere")]
print("codes", *codes)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout.splitlines()[-1] == "codes 0 0 2 2 2"
    assert done.stderr.count("the folder that this command was called in is gone") == 3


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("statss", "stats"), ("job", "jobs"), ("featurs", "features"), ("jobs retyr", "retry"), ("jobs watch", "--watch"), ("ops exprt", "export")],
)  # fmt: skip
def test_a_verb_that_is_nearly_one_is_answered_with_it(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of a finger costs no look into the help, at the first word and at the second."""
    assert run(typed.split()) == errors.USAGE
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err
    assert run(["qqqq"]) == errors.USAGE
    assert "Did you mean" not in capsys.readouterr().err


def cost(*arguments: str) -> float:
    """Return the processor seconds of a Python process, the best of three."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(3))


def ask(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; returns exit code and stdout."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(list(arguments))
    return code, out.getvalue()
