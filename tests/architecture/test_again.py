"""What CI asks once more: a few tests that drive processes, and only what passes then is forgiven."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.again import MOST, RECORD, main, refusal

DRIVER = "tests/integration/test_it.py::test_it"
ONCE = "from pathlib import Path\n\ndef test_it():\n    runs = Path('runs')\n    runs.write_text('+' + (runs.read_text() if runs.exists() else ''))\n    assert len(runs.read_text()) >= {needed}\n"


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        ([], "ended by something else"),
        ([f"{DRIVER}[{n}]" for n in range(MOST + 1)], f"{MOST + 1} tests failed"),
        (["tests/unit/features/test_keys.py::test_a_key", DRIVER], "tests/unit/features"),
        (["tests/architecture/test_layout.py::test_it"], "tests/architecture"),
        (["tests/integration/test_it.py"], "could not be collected"),
    ],
)
def test_other_failures_stay(failed: list[str], why: str) -> None:
    """Many, none, those without processes, and files that could not be read."""
    assert why in refusal(failed)


def test_a_few_are_asked_once_more() -> None:
    """Wherever they drive processes."""
    assert refusal([DRIVER, "tests/e2e/test_a.py::test_a[b]", "tests/faults/test_b.py::test_b"]) == ""


@pytest.mark.parametrize(("needed", "code"), [(1, 0), (2, 1)])
def test_what_fails_twice_has_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str], needed: int, code: int) -> None:
    """And what passes the second time is named all the same."""
    (tmp_path / "tests/integration").mkdir(parents=True)
    (tmp_path / "tests/integration/test_it.py").write_text(ONCE.format(needed=needed))
    (tmp_path / RECORD).parent.mkdir(parents=True)
    (tmp_path / RECORD).write_text(json.dumps({DRIVER: True}))

    assert main(tmp_path) == code

    assert f"{'failed' if code else 'unsteady, mend it'}: {DRIVER}" in capfd.readouterr().err
    assert (tmp_path / "runs").read_text() == "+"
