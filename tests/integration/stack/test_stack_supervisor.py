"""The supervisor with a real Postgres, a real Redis and plain stand-ins for the Celery processes; killed for real."""

from __future__ import annotations

import json
import os
import pwd
import queue
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import fstore
from fstore.stack import down
from fstore.stack.processes.os_user import Account
from fstore.stack.status_report import status
from fstore.stack_state import birth_of, read_any_state, read_state
from tests.waiting import eventually

HOME = str(Path(fstore.__file__).parent.parent)
SCRIPT = Path(__file__).with_name("stack_standins.py")
linux = pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals exist on Linux only")


def environment() -> dict[str, str]:
    """Return this process's environment, so extended that any interpreter of this version finds what fstore needs."""
    modules = os.pathsep.join([HOME, sysconfig.get_paths()["purelib"], os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": modules, "PYTHONDONTWRITEBYTECODE": "1"}


class Stack:
    """A supervisor in a process of its own, and what it says."""

    def __init__(
        self, root: Path, *behaviours: str, account: Account | None = None, interpreter: str = sys.executable
    ) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [interpreter, str(SCRIPT), str(root), *behaviours],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=environment(),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        self.heard: list[dict[str, Any]] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def hear(self, key: str, *, seconds: float = 60) -> Any:
        """Wait for the message with this key and return its value."""
        deadline = time.monotonic() + seconds
        while True:
            line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"ended without {key}: {self.heard}"
            self.heard.append(json.loads(line) if line.startswith("{") else {"noise": line})
            if key in self.heard[-1]:
                return self.heard[-1][key]

    def said(self) -> str:
        """Return everything said so far."""
        return "\n".join(str(message.get("say", "")) for message in self.heard)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Stop it by a signal and return how long that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        return time.monotonic() - began

    def pids(self) -> dict[str, int]:
        """Return the children as the state file names them."""
        state = read_any_state(self.root)
        return {child.name: child.pid for child in state.children} if state else {}

    def restarts(self) -> dict[str, int]:
        """Return how often each child was restarted."""
        return {child.name: child.restarts for child in status(self.root).children}

    def healthy(self) -> bool:
        """Tell whether every child runs at this moment."""
        return status(self.root).is_healthy


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may pass through, unlike those of the test runner."""
    made = Path(tempfile.mkdtemp(prefix="fst-")).resolve()
    made.chmod(0o711)
    yield made
    down(made / "root")
    shutil.rmtree(made)


@contextmanager
def running(root: Path, *behaviours: str, **options: Any) -> Iterator[Stack]:
    """Run a stack until the block ends; wait until it is ready first."""
    stack = Stack(root, *behaviours, **options)
    try:
        stack.hear("ready")
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.process.terminate()
            stack.process.wait(timeout=30)


def is_running(pid: int) -> bool:
    return birth_of(pid) is not None


def test_a_stack_is_ready_when_all_its_children_are(folder):
    """Servers first, then the preparation, then the rest; the state file names them all and who may read it."""
    with running(folder / "root", "a=idle", "b=idle") as stack:
        state = read_state(folder / "root")

        assert state is not None
        assert [(c.name, c.phase, c.restarts) for c in state.children] == [
            (name, "running", 0) for name in ("postgres", "redis", "a", "b")
        ]
        assert {"prepared": str(folder / "root")} in stack.heard
        assert state.settings["FEATURE_STORE_PATH"] == str(folder / "root")
        psycopg2.connect(state.postgres_url).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_in_time_and_leaves_nothing(folder, number):
    """Ctrl-C and a closed terminal both end every process and remove the state file."""
    with running(folder / "root", "a=idle", "b=parent", "c=stubborn") as stack:
        pids = list(stack.pids().values())
        grandchild = int((folder / "root/stack/logs/b.log").read_text().split()[1])
        assert all(is_running(pid) for pid in [*pids, grandchild])

        seconds = stack.stop(number)

    assert seconds < 10
    assert not any(is_running(pid) for pid in [*pids, grandchild])
    assert read_any_state(folder / "root") is None
    assert stack.process.returncode == 0


def test_every_killed_child_comes_back_and_is_counted(folder):
    """kill -9 of each child, servers included: restarted, counted, the old addresses kept, grandchildren ended."""
    with running(folder / "root", "a=idle", "b=parent") as stack:
        before, url = stack.pids(), status(folder / "root").postgres_url
        grandchild = int((folder / "root/stack/logs/b.log").read_text().split()[1])
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)

        eventually(
            lambda: set(stack.restarts().values()) == {1} and stack.healthy(),
            seconds=30,
            what="every child to run again",
        )

        after = stack.pids()
        assert after.keys() == before.keys()
        assert not set(after.values()) & set(before.values())
        assert not is_running(grandchild)
        assert status(folder / "root").postgres_url == url
        psycopg2.connect(url).close()


@linux
def test_the_children_of_a_killed_supervisor_die_and_the_next_start_is_clean(folder):
    """kill -9 of the supervisor: its children die with it, strays are ended by the next start, the state file is no obstacle."""
    with running(folder / "root", "a=idle", "b=parent") as first:
        pids = first.pids()
        grandchild = int((folder / "root/stack/logs/b.log").read_text().split()[1])
        first.process.kill()
        first.process.wait()

        assert read_state(folder / "root") is None
        assert status(folder / "root").phase == "killed"
        eventually(lambda: not any(is_running(pid) for pid in pids.values()), seconds=10, what="orphans to go")
        assert is_running(grandchild)

    with running(folder / "root", "a=idle", "b=parent") as second:
        assert not is_running(grandchild)
        assert "left behind by a stack that was killed" in second.said()
        assert second.healthy()


def test_a_child_that_cannot_start_fails_the_start_with_its_log(folder):
    """The error names the child and shows the end of its log; nothing keeps running."""
    stack = Stack(folder / "root", "a=idle", "bad=broken")

    fault = stack.hear("fault")
    stack.process.wait(timeout=30)

    assert "bad ended (exit code 3), 3 times in a row" in fault
    assert "the reason is here" in fault
    assert stack.heard[-1]["kind"] == "ConfigurationError"
    assert read_any_state(folder / "root") is None


def test_a_child_that_never_gets_ready_fails_the_start(folder):
    """Silence is a fault after the child's deadline."""
    stack = Stack(folder / "root", "quiet=silent")

    assert "quiet was not ready within 1 s" in stack.hear("fault")
    stack.process.wait(timeout=30)


def test_a_signal_during_the_start_stops_it(folder):
    """Ctrl-C does not have to wait until everything is up."""
    stack = Stack(folder / "root", "quiet=silent")
    stack.hear("prepared")
    eventually(lambda: "quiet" in stack.pids(), seconds=10, what="the child to be noted")
    pids = list(stack.pids().values())

    assert stack.stop(signal.SIGINT) < 10

    assert not any(is_running(pid) for pid in pids)
    assert stack.hear("ended") == "stopping"


def test_a_child_that_keeps_ending_is_given_up_but_the_rest_goes_on(folder):
    """Restarts are bounded; the stack says so, shows the log, and goes on without the child."""
    with running(folder / "root", "a=idle", "f=fleeting") as stack:
        eventually(
            lambda: {c.name: c.phase for c in status(folder / "root").children}["f"] == "given up",
            seconds=60,
            what="the fleeting child to be given up",
        )

        assert stack.restarts()["f"] == 3
        assert stack.restarts()["a"] == 0
        assert not stack.healthy()
        assert stack.stop() < 10
        stack.hear("ended")
        assert "4 times in a row; it is not started again" in stack.said()


def can_use(account: Account, interpreter: str) -> bool:
    """Tell whether an account can import this checkout with an interpreter."""
    try:
        done = subprocess.run(
            [interpreter, "-c", "import fstore.stack.supervisor"],
            env=environment(),
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_runs_a_stack(folder):
    """Without root the servers run as the user, in folders that only the user can read."""
    entry = pwd.getpwnam("nobody")
    account = Account("nobody", entry.pw_uid, entry.pw_gid)
    same_version = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = next((path for path in (sys.executable, same_version) if can_use(account, path)), None)
    if interpreter is None:
        pytest.skip("user nobody can run no interpreter that has what fstore needs")
    folder.chmod(0o777)

    with running(folder / "root", "a=idle", account=account, interpreter=interpreter) as stack:
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in stack.pids().values()}
        assert owners == {account.uid}
        assert (folder / "root/stack").stat().st_mode & 0o777 == 0o700
        os.kill(stack.pids()["postgres"], signal.SIGKILL)
        eventually(
            lambda: stack.restarts()["postgres"] == 1 and stack.healthy(), seconds=30, what="every child to run again"
        )
        assert stack.stop(signal.SIGINT) < 10
