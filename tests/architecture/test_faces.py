"""Packages are used through their faces: what one names it gives, and costs nothing before it is asked for."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in (REPOSITORY / "fstore").glob("*/__init__.py"))
DOORS = {"cli"}  # nobody imports it but the command itself
OPEN = {"runtime"}  # its modules are its face
OWN = {"intraday", "stack"}  # the features themselves; a face with an error of its own
FACES = [name for name in PACKAGES if name not in DOORS | OPEN | OWN]


def face(name: str) -> ast.Module:
    """Parse a package's face."""
    return ast.parse((REPOSITORY / "fstore" / name / "__init__.py").read_text())


def test_every_package_has_a_contract() -> None:
    """A package that is new is imported through its face, or says above why not."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    guarded = {c["protected_modules"][0] for c in contracts if c["type"] == "protected" and not c.get("ignore_imports")}

    assert guarded == {f"fstore.{name}.*" for name in PACKAGES if name not in DOORS | OPEN}


@pytest.mark.parametrize("name", FACES)
def test_a_face_gives_what_it_names(name: str) -> None:
    """What type checkers are told, what ``__all__`` says and what is loaded are one list, and no name hides a module."""
    package = importlib.import_module(f"fstore.{name}")
    told = {
        alias.name
        for node in ast.walk(face(name))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"fstore.{name}.")
        for alias in node.names
    }
    modules = {path.stem for path in (REPOSITORY / "fstore" / name).iterdir() if path.name != "__init__.py"}

    assert told == set(package.__all__)
    assert not told & modules
    for each in package.__all__:
        assert getattr(package, each) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_faces_cost_nothing() -> None:
    """Importing all of them loads no module behind them, and none of the libraries that take their time."""
    program = (
        f"import importlib, sys\nfor name in {FACES}: importlib.import_module(f'fstore.{{name}}')\n"
        "print(sorted(m for m in sys.modules if m.startswith('fstore.') and m.count('.') > 1))\n"
        "print(sorted({'pandas', 'celery', 'sqlalchemy', 'redis', 'psycopg2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.splitlines() == ["[]", "[]"]
