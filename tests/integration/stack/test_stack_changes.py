"""A running stack is changed: more features, restarts, edits that are followed; what cannot be imported stops nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import fstore
from fstore.errors import ConfigurationError
from fstore.stack import StackState, down, log_files, restart, status, up
from tests.integration.stack.test_stack_commands import HOME, make_folder
from tests.waiting import eventually

FEATURE = "import fstore\n@fstore.feature(version='{version}')\ndef times(raw, config):\n    print('times was called')\n    return raw * {factor}\n"
RAW = pd.DataFrame({"price": [1.0, 2.5]})


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The folder whose features come later, with a stack that was started without them."""
    made = make_folder()
    before = Path.cwd()
    elsewhere = made / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    try:
        up(made / "root", workers=1, flower=False, beat=False, detach=True)
        os.chdir(made)
        yield made
    finally:
        os.chdir(before)
        down(made / "root")
        shutil.rmtree(made)


def pids(home: Path) -> dict[str, int]:
    return {child.name: child.pid for child in status(home / "root").children}


def ask(home: Path, module: str) -> list[float]:
    """Ask for a feature from a process of its own, as a trainer in the user's folder does."""
    code = (
        f"import sys, pandas as pd, fstore, {module}\n"
        f"frame = fstore.connect(sys.argv[1]).get_or_compute('A', pd.DataFrame({{'price': [1.0, 2.5]}}), {{}}, {module}.times, timeout=60)\n"
        "print(*frame['price'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(home / "root")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([HOME, str(home)])},
        cwd=home, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


def test_up_lets_a_running_stack_serve_more(home: Path) -> None:
    """``up --features`` on a running stack restarts its workers with them, found from the folder of this call; servers stay."""
    (home / "later.py").write_text(FEATURE.format(version=1, factor=2))
    before, said = pids(home), list[str]()

    state = up(home / "root", workers=1, features=["later"], say=said.append)

    after = pids(home)
    assert state.features == ("fstore.intraday", "later")
    assert {name for name in after if after[name] != before[name]} == {"compute", "write", "upkeep"}
    assert status(home / "root").is_healthy
    assert "restarting its workers to serve later too" in said
    assert ask(home, "later") == [2.0, 5.0]
    assert sum(child.restarts for child in status(home / "root").children) == 0, "what was asked for is no fault"


def test_a_module_that_cannot_be_imported_changes_nothing(home: Path) -> None:
    """The workers are asked to stop only after the modules were imported on trial; the caller is told why not."""
    before = pids(home)
    (home / "broken.py").write_text("raise RuntimeError('not yet')\n")

    with pytest.raises(ConfigurationError, match="not yet"):
        up(home / "root", workers=1, features=["broken"])

    assert pids(home) == before
    assert "broken" not in status(home / "root").features


def test_restart_takes_names_and_runs_the_code_as_it_is_now(home: Path) -> None:
    """An edited feature is computed anew after ``restart``; only what is named is restarted; names are checked."""
    (home / "later.py").write_text(FEATURE.format(version=2, factor=3))
    before = pids(home)

    assert restart(home / "root", ["compute"]) == ("compute",)

    after = pids(home)
    assert {name for name in after if after[name] != before[name]} == {"compute"}
    assert ask(home, "later") == [3.0, 7.5]
    with pytest.raises(ConfigurationError, match="cannot restart postgres; it can: compute, write, upkeep"):
        restart(home / "root", ["postgres"])
    with pytest.raises(ConfigurationError, match="no stack runs"):
        restart(home / "nowhere")


def test_edits_are_followed_when_asked(home: Path) -> None:
    """With ``reload`` saving a feature's file restarts the workers; one that is broken meanwhile stops nothing."""
    up(home / "root", workers=1, reload=True)
    before = pids(home)

    (home / "later.py").write_text("def half(:\n")
    log = log_files(home / "root")["supervisor"]
    eventually(lambda: "nothing was restarted" in log.read_text(), seconds=60, what="the trial to fail")
    assert pids(home) == before

    (home / "later.py").write_text(FEATURE.format(version=3, factor=4))

    def reloaded() -> bool:
        now = pids(home)
        return (
            all(now[name] != before[name] for name in ("compute", "write", "upkeep"))
            and status(home / "root").is_healthy
        )

    eventually(reloaded, seconds=60, what="the workers to be restarted")
    assert ask(home, "later") == [4.0, 10.0]
    assert "times was called" in log_files(home / "root")["compute"].read_text()


def test_who_connects_later_works_under_the_changed_settings(home: Path) -> None:
    """The state file tells trainers the modules that are served now."""
    with fstore.connect(home / "root") as store:
        assert "later" in store.settings.feature_modules


def test_states_of_before_are_read(home: Path) -> None:
    """Nothing in the state file changed its meaning."""
    state = fstore.stack.read_state(home / "root")
    assert isinstance(state, StackState)
    assert state.phase == "ready"
