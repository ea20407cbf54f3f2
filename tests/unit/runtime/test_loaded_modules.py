"""What a process loads: a library that is not needed costs every start of every trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "alembic", "celery", "flower", "kombu", "matplotlib", "opentelemetry", "prometheus_client", "pydantic",
    "pydantic_settings", "redis", "sqlalchemy", "structlog", "tenacity", "yaml",
}  # fmt: skip
OF_SETTINGS = {"pydantic"}  # checks them; what reads them, pydantic_settings, costs ten times as much and is not needed
DATA = {"pandas", "pyarrow", "numpy", "psycopg2"}
COMMAND = """
import contextlib, io, sys
with contextlib.redirect_stdout(io.StringIO()):
    try:
        from fstore.cli import main
        main()
    except SystemExit:
        pass
"""


def loaded(folder: Path, code: str, *arguments: str) -> set[str]:
    """Run code in a new process and return the names of the packages that are loaded at its end."""
    told = (
        code + "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in list(sys.modules)})))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FEATURE_STORE_")}
    done = subprocess.run(
        [sys.executable, "-c", told, *arguments],
        env={**environment, "FEATURE_STORE_PATH": str(folder / "store")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_library_loads_nothing_yet(tmp_path: Path) -> None:
    """Names are loaded when they are first asked for."""
    assert sorted(loaded(tmp_path, "import fstore") & (HEAVY | DATA)) == []


def test_help_loads_no_settings(tmp_path: Path) -> None:
    """Nor anything else that is heavy."""
    assert sorted(loaded(tmp_path, COMMAND, "--help") & (HEAVY | DATA)) == []


@pytest.mark.parametrize("arguments", [["status", "--json"], ["config", "--json"]])
def test_commands_that_read_no_data_load_neither_pandas_nor_celery(tmp_path: Path, arguments: list[str]) -> None:
    """Status answers at once."""
    assert sorted(loaded(tmp_path, COMMAND, *arguments) & (HEAVY | DATA) - OF_SETTINGS) == []


def test_declaring_a_feature_and_reading_the_settings_load_no_celery(tmp_path: Path) -> None:
    """What every trainer does before it connects."""
    code = "from fstore import Request, connect, feature\nfrom fstore.settings import load_settings\nload_settings()"

    assert sorted(loaded(tmp_path, code) & HEAVY - OF_SETTINGS) == []
