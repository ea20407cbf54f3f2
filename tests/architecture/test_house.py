"""What keeps the house easy to see: the public names, the size of files, the top level."""

from __future__ import annotations

import ast
import pickle
import tomllib
from pathlib import Path

import pytest

import fstore
from fstore import errors

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("fstore", "workers", "beat")
LONGEST_FILE = 300


def test_everything_named_public_can_be_imported() -> None:
    """``__all__`` names what exists, and what a user would reach for."""
    assert all(hasattr(fstore, name) for name in fstore.__all__)
    assert {"connect", "feature", "local", "load", "FeatureStore", "Request", "ParquetSource"} <= set(fstore.__all__)


def test_a_notebook_completes_what_is_for_users() -> None:
    """``fstore.<TAB>`` shows public names, not modules; ``fstore.__version__`` is the one that is installed."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

    assert dir(fstore) == sorted([*fstore.__all__, "__version__"])
    assert fstore.__version__ == project["version"]


def test_the_required_top_level_is_there() -> None:
    """People and tools find these names at the top of the repository."""
    for name in ("pyproject.toml", "fstore", "workers", "beat", "tests", "docker-compose.yml", "ops"):
        assert (REPOSITORY / name).exists(), name
    assert not (REPOSITORY / "ops" / "__init__.py").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_has_grown_past_reading(package: str) -> None:
    """A file that is longer has more than one reason to change."""
    long = {
        str(path.relative_to(REPOSITORY)): lines
        for path in (REPOSITORY / package).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert long == {}


def test_only_settings_read_the_environment() -> None:
    """Settings have one origin each, which ``fstore config`` can show.

    The stack also builds environments for its children, and workers put back what a feature changed.
    """
    readers = {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert {name for name in readers if not name.startswith("fstore/stack")} == {
        "fstore/settings/loading.py",
        "fstore/calling/every_setting.py",
    }


def test_no_module_is_a_drawer_for_the_rest() -> None:
    """Every module is named after the one thing in it."""
    vague = {"utils", "util", "common", "helpers", "helper", "base", "misc", "tools"}
    assert not [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py") if path.stem in vague]


@pytest.mark.parametrize(
    "error",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FeatureStoreError)],
)
def test_every_error_survives_pickling_with_its_fields(error: type[errors.FeatureStoreError]) -> None:
    """Errors cross processes whole: type, text and fields."""
    count = error.__init__.__code__.co_argcount - 1 if "__init__" in vars(error) else None
    if count is None:
        parent = next(kind for kind in error.__mro__ if "__init__" in vars(kind))
        count = parent.__init__.__code__.co_argcount - 1 if hasattr(parent.__init__, "__code__") else 1
    given = {errors.ConfigurationError: (["a"],), errors.ComputeTimeout: ("key", 1.5, "running")}
    one = error(*given.get(error, tuple(f"part{i}" for i in range(count))))

    again = pickle.loads(pickle.dumps(one))

    assert type(again) is error
    assert str(again) == str(one)
    assert vars(again) == vars(one)
