"""The matrix of versions tests what pyproject promises."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from tests import matrix


def test_the_lowest_row_holds_every_range_at_its_lower_end():
    """A dependency without a lower bound would be proved by luck alone."""
    project = tomllib.loads((matrix.REPOSITORY / "pyproject.toml").read_text())["project"]
    pins = dict(line.partition(" ;")[0].split("==") for line in matrix.lowest().splitlines())
    for wanted in project["dependencies"]:
        name = re.match(r"[\w.-]+", wanted)
        assert name and name[0] in pins, wanted
        assert f">={pins[name[0]]}" in wanted
    assert pins["celery"] == "5.5"


def test_this_python_is_found_and_stays_what_it_is():
    """The interpreter that runs the matrix is its own row."""
    assert matrix.pythons()[sys.version_info[1]] == sys.executable


def test_keys_that_differ_between_two_rows_fail_the_second():
    """Every name whose key is another, or missing, is told."""
    first, second = matrix.Row("lowest", "python"), matrix.Row("newest", "python")
    first.keys, second.keys = {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "3"}
    matrix._compare(second, first)
    assert second.failure == "keys differ from those of row 'lowest': b, c, d"
    matrix._compare(first, first)
    assert not first.failure


def test_a_version_that_an_index_lacks_fails_its_row_unless_that_was_allowed(tmp_path, monkeypatch, capsys):
    """And what is allowed is said: a row that was not there is no row that passed."""
    lacking = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found for pandas==3.0.0")
    made = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr(matrix.subprocess, "run", lambda command, **_: lacking if "install" in command else made)
    monkeypatch.setattr(matrix, "pythons", lambda: {11: sys.executable})

    assert matrix.main(["lowest"]) == 1
    assert "FAILED install: ERROR: No matching" in capsys.readouterr().out
    assert matrix.main(["--where-installable", "lowest"]) == 0
    assert "| not installable here |" in capsys.readouterr().out
