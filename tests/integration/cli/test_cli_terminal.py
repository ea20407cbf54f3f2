"""What people see on a terminal of 80 columns: a real pseudo terminal, and tmux where there is one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import uuid
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import House
from tests.support.shelf import Shelf, key
from tests.waiting import eventually

LONG = "research.alphas.intraday:volume_clock_imbalance"


@pytest.fixture
def shelf(house: House) -> Shelf:
    """A store with entries of long names, a failed and a waiting job."""
    made = Shelf(house.store.resources)
    for name in ("AAPL", "NIKKEI-225-FUTURES-CONTINUOUS"):
        made.publish(name)
    made.sql("UPDATE manifest SET feature = %(f)s, config = %(c)s::json", f=LONG, c='{"window": 20, "side": "bid", "halflife_s": 90}')  # fmt: skip
    made.claim("RUNS")
    return made


def on_terminal(house: House, *arguments: str, columns: int = 80) -> tuple[int, list[str]]:
    """Run a command on a pseudo terminal of so many columns; returns exit code and lines."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FEATURE_STORE_", "COLUMNS"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "fstore.cli", *arguments],
        env={**kept, **house.environment, "TERM": "xterm", "NO_COLOR": "1"},
        stdin=terminal, stdout=terminal, stderr=subprocess.DEVNULL, close_fds=True, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    said = b""
    try:
        while chunk := os.read(controller, 65536):
            said += chunk
    except OSError:  # Linux: the last one has closed the terminal
        pass
    os.close(controller)
    text = said.decode().replace("\r\n", "\n").replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "")
    return process.wait(60), text.replace("\x1b[3m", "").splitlines()


@pytest.mark.parametrize("columns", [80, 60])
def test_lists_fit_the_terminal_and_keys_can_be_copied(house: House, shelf: Shelf, columns: int) -> None:
    """Each entry and each job is one line with its whole short key, at 80 columns and at 60."""
    for verb, keys in (("ls", [key("AAPL"), key("NIKKEI-225-FUTURES-CONTINUOUS")]), ("jobs", [key("RUNS")])):
        code, lines = on_terminal(house, verb, columns=columns)

        assert code == 0
        assert max(map(len, lines)) <= columns, lines
        assert {line[:12] for line in lines} >= {one[:12] for one in keys}
        assert verb == "jobs" or [line for line in lines if line.startswith("no room for: ")], (
            "what is left out is said"
        )


def test_wide_shows_everything_on_any_terminal(house: House, shelf: Shelf) -> None:
    """``--wide`` neither shortens nor leaves out."""
    _, lines = on_terminal(house, "ls", "--wide")

    assert any(LONG in line and "NIKKEI-225-FUTURES-CONTINUOUS" in line and "halflife_s" in line for line in lines)


def test_a_whole_key_and_its_path_stay_in_one_piece(house: House, shelf: Shelf) -> None:
    """``show`` folds nothing: what is longer than the terminal runs on."""
    _, lines = on_terminal(house, "show", key("AAPL")[:8])

    assert any(line.endswith(key("AAPL")) for line in lines)
    assert any(line.endswith(str(house.root / shelf.entry("AAPL").path)) for line in lines)


@pytest.mark.parametrize("verb", ["config", "overview", "features", "gc", "report"])
def test_other_tables_fit_as_well(house: House, shelf: Shelf, verb: str) -> None:
    """No table is wider than the terminal; facts and sentences may run on."""
    arguments = (verb, "--dry-run") if verb == "gc" else (verb,)
    code, lines = on_terminal(house, *arguments)

    assert code == 0
    rules = [line for line in lines if line and set(line) == {"─"}]
    assert rules
    assert max(map(len, rules)) <= 80


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_in_tmux_a_listed_key_can_be_shown(house: House, shelf: Shelf, tmp_path: Path) -> None:
    """A person in an 80-column tmux lists, copies a key from the screen, and shows it."""
    socket, session = str(tmp_path / "tmux"), f"fstore-{uuid.uuid4().hex[:6]}"
    settings = [f"{name}={value}" for name, value in house.environment.items()]

    def tmux(*arguments: str) -> str:
        return subprocess.run(["tmux", "-S", socket, *arguments], capture_output=True, text=True, check=True).stdout

    tmux(
        "-f", "/dev/null", "new-session", "-d", "-s", session, "-x", "80", "-y", "40", "env", *settings, "PS1=$ ", "sh"
    )
    try:
        tmux("send-keys", "-t", session, f"clear; {sys.executable} -m fstore.cli ls; echo listed", "Enter")
        eventually(lambda: "\nlisted" in tmux("capture-pane", "-p", "-t", session), seconds=60, what="the list")
        screen = tmux("capture-pane", "-p", "-t", session).splitlines()
        copied = next(line.split()[0] for line in screen if " AAPL " in line)
        tmux("send-keys", "-t", session, f"clear; {sys.executable} -m fstore.cli show {copied}; echo shown", "Enter")
        eventually(lambda: "\nshown" in tmux("capture-pane", "-p", "-t", session), seconds=60, what="the entry")
        assert key("AAPL") in tmux("capture-pane", "-p", "-J", "-t", session)
    finally:
        tmux("kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux (Debian package tmux)")
def test_in_tmux_no_command_breaks_a_key(house: House, shelf: Shelf, tmp_path: Path) -> None:
    """The main commands one after the other in one session of 80 columns: wherever a key begins on a line, it stays there."""
    socket, session = str(tmp_path / "tmux"), f"fstore-{uuid.uuid4().hex[:6]}"
    settings = [f"{name}={value}" for name, value in house.environment.items()]
    keys = [key(name) for name in ("AAPL", "NIKKEI-225-FUTURES-CONTINUOUS", "RUNS")]

    def tmux(*arguments: str) -> str:
        return subprocess.run(["tmux", "-S", socket, *arguments], capture_output=True, text=True, check=True).stdout

    tmux("-f", "/dev/null", "start-server", ";", "set-option", "-g", "history-limit", "5000", ";",
         "new-session", "-d", "-s", session, "-x", "80", "-y", "24", "env", *settings, "PS1=$ ", "sh")  # fmt: skip
    screens: dict[str, list[str]] = {}
    try:
        for verb in ("ls", "jobs", "pin --symbol AAPL", "ls --pinned", "invalidate --symbol AAPL --dry-run",
                     "gc --dry-run --verbose", "features", "overview", "report", "stats", "verify"):  # fmt: skip
            tmux("send-keys", "-t", session, "clear", "Enter")
            tmux("clear-history", "-t", session)
            tmux(
                "send-keys",
                "-t",
                session,
                f"{sys.executable} -m fstore.cli {verb}; echo end-$((100 + {len(screens)}))",
                "Enter",
            )
            end = f"\nend-{100 + len(screens)}"  # not to be seen in what was typed
            eventually(lambda end=end: end in tmux("capture-pane", "-p", "-t", session), seconds=60, what=verb)
            screens[verb] = tmux("capture-pane", "-p", "-S", "-", "-t", session).splitlines()
    finally:
        tmux("kill-server")

    for verb, lines in screens.items():
        assert not any("Traceback" in line or "error:" in line for line in lines), lines
        for word in re.findall(r"[0-9a-f]{6,64}", "\n".join(line for line in lines if "fstore.cli" not in line)):
            whole = [one for one in keys if word in one]
            assert not whole or whole[0].startswith(word), (verb, word, lines)
    for verb in ("ls", "pin --symbol AAPL", "ls --pinned", "invalidate --symbol AAPL --dry-run"):
        assert any(line.startswith(keys[0][:12]) for line in screens[verb]), "\n".join(screens[verb])
    assert any(line.startswith(keys[2][:12]) for line in screens["jobs"])


def test_sums_are_right_beyond_what_is_listed(house: House) -> None:
    """With more symbols than are listed the rest is one line, and all lines add up to the store."""
    shelf = Shelf(house.store.resources)
    shelf.publish("A")
    shelf.sql(
        "INSERT INTO manifest SELECT (jsonb_populate_record(m, jsonb_build_object('key', md5(n::text) || md5('x' || n), 'symbol', 'S' || n,"
        " 'path', 'nowhere/' || n, 'file_size_bytes', 1000))).* FROM manifest m, generate_series(1, 1500) n RETURNING 1"
    )
    from tests.support.commands import fstore

    found = fstore(house, "overview", "--json").json
    shown = found["by_symbol"]

    assert (found["manifest_entries"], len(shown)) == (1501, 1000)
    assert found["other_symbol"]["entries"] == 501
    total = sum(share["size_mb"] for share in shown.values()) + found["other_symbol"]["size_mb"]
    assert total == pytest.approx(found["total_size_mb"], abs=0.01)
    people = [line.split() for line in fstore(house, "overview").out.splitlines() if line.startswith("all others")]
    assert int(people[0][2]) == 1501 - 20

    report = fstore(house, "report", "--json").json
    assert sum(n for _, n, _ in report["by_symbol"]) == 1501
    assert pd.Series([size for *_, size in report["by_symbol"]]).sum() == found["total_size_bytes"]
