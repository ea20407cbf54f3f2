"""What keeps folders easy to take in, and what is written about files true."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PRODUCT = ("fstore", "workers", "beat")
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "ops").rglob("*.md")])
MOST_FILES = 14
LONGER = {
    REPOSITORY / "ops" / "bench",  # one command of five lines a suite, which tests/unit/bench holds together
    REPOSITORY / "tests",  # what tests everywhere import, workers and trainers of theirs by name
}
MOST_MODULES_AT_THE_TOP = 10
MOST_LINES = 300
FIRST_LINE_BELOW = 100
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
OTHERS = {"data/cache.py", "celery/concurrency/asynpool.py"}  # of qlib, of Celery
_FILE = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|sql|md|yml|yaml|toml|conf)|(?:fstore|workers|beat)/[\w/]+)`")


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc"]


def test_no_folder_has_grown_past_a_glance() -> None:
    """A folder of more files holds more than one thing."""
    folders = [
        folder
        for package in (*PRODUCT, "ops/bench", "tests")
        for folder in (REPOSITORY / package, *(REPOSITORY / package).rglob("*"))
    ]
    full = {
        str(folder.relative_to(REPOSITORY)): len(files(folder))
        for folder in folders
        if folder.is_dir() and folder.name != "__pycache__" and len(files(folder)) > MOST_FILES and folder not in LONGER
    }
    assert full == {}


def sources() -> list[Path]:
    return sorted(path for package in PRODUCT for path in (REPOSITORY / package).rglob("*.py"))


def test_no_file_has_grown_past_one_subject() -> None:
    """What is longer has two reasons to change."""
    long = {str(path.relative_to(REPOSITORY)): path.read_text().count("\n") for path in sources()}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES} == {}


def test_docstrings_begin_with_one_short_sentence() -> None:
    """A list of names shows the first line alone; errors, units and bounds come below it."""
    long = [
        f"{path.relative_to(REPOSITORY)}:{node.body[0].lineno}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, _DOCUMENTED)
        if len((ast.get_docstring(node) or "").partition("\n")[0]) >= FIRST_LINE_BELOW
    ]
    assert long == []


def test_few_modules_lie_outside_the_rooms() -> None:
    """What lies directly in the package is what everything else is about; its face and ``python -m fstore`` aside."""
    modules = {path.stem for path in (REPOSITORY / "fstore").glob("*.py")} - {"__init__", "__main__"}
    assert len(modules) <= MOST_MODULES_AT_THE_TOP


def test_what_is_installed_is_what_lies_here() -> None:
    """A package that the list leaves out works in a checkout, and is missing from a wheel and from the image."""
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    here = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for package in PRODUCT
        for pattern in ("*.py", "*.sql")
        for path in (REPOSITORY / package).rglob(pattern)
    }
    assert sorted(listed) == sorted(here)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    """Who follows a page into the code finds the file there; a path begins at the repository or at the package."""
    roots = (REPOSITORY, REPOSITORY / "fstore", page.parent)
    named = [name for name in _FILE.findall(page.read_text()) if name not in OTHERS and not name.startswith("mypkg/")]
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []
