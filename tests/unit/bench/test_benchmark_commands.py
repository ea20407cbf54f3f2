"""The commands of ``ops/bench``: pages and issues name them by file."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from harness.command import SUITES

BENCH = Path(__file__).parents[3] / "ops" / "bench"
NAMES = [*SUITES, "objectstore", "chaos", "compare"]


def test_every_suite_is_a_command_of_its_own() -> None:
    """What is measured can be measured alone."""
    assert {path.stem for path in BENCH.glob("*.py")} - {"__main__"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by", ["file", "folder"])
def test_a_command_starts_and_says_what_it_takes(name: str, by: str, monkeypatch, capsys) -> None:
    """The files are thin; what they lead to can be imported."""
    given = [str(BENCH / f"{name}.py")] if by == "file" else [str(BENCH), name]
    monkeypatch.setattr(sys, "argv", [*given, "--help"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(given[0] if by == "file" else str(BENCH / "__main__.py"), run_name="__main__")

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"ops/bench/{name}.py" in shown
    assert "--json" in shown


def test_the_folder_stands_for_all_of_them(monkeypatch, capsys) -> None:
    """And for the page about them."""
    monkeypatch.setattr(sys, "argv", [str(BENCH), "--help"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCH / "__main__.py"), run_name="__main__")

    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "ops/bench [--quick]" in shown
    assert "--only" in shown
