"""``up``, ``down`` and ``status`` with the real workers, Beat and Flower."""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from fstore.errors import ConfigurationError
from fstore.stack import EmbeddedServers, StackState, down, read_state, status, up
from fstore.stack_state import birth_of
from tests.waiting import eventually

HOME = str(Path(__file__).parent.parent.parent.parent)
FEATURE = '''
import fstore

@fstore.feature(version="1")
def doubled(raw, config):
    """Twice the raw data."""
    return raw * 2
'''


def make_folder() -> Path:
    """Make a folder that every account may pass through, unlike those of the test runner."""
    made = Path(tempfile.mkdtemp(prefix="fst-")).resolve()
    made.chmod(0o711)
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for one test; whatever runs there is stopped afterwards."""
    made = make_folder()
    yield made
    down(made / "root")
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The folder the shared stack is started from: a feature module, and packages that bear the names of ours."""
    made = make_folder()
    (made / "my_features.py").write_text(FEATURE)
    for name in ("workers", "beat", "celery"):
        (made / name).mkdir()
    for name in ("workers", "beat"):
        (made / name / "__init__.py").write_text(f"raise RuntimeError('the wrong {name}')\n")
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def stack(home: Path) -> Iterator[StackState]:
    """One detached stack for the tests that leave it as they found it."""
    before = Path.cwd()
    os.chdir(home)
    try:
        yield up(home / "a root", workers=1, features=["my_features"], detach=True)
    finally:
        os.chdir(before)
        down(home / "a root")


def processes(state: StackState) -> set[int]:
    """Return the children and everything below them."""
    found = {state.pid}
    for child in state.children:
        found |= {child.pid, *(process.pid for process in psutil.Process(child.pid).children(recursive=True))}
    return found


def ask_flower(url: str, path: str, *, method: str = "GET", password: bool = True) -> int:
    """Return Flower's answer code."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=10)
    secret = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    try:
        connection.request(method, path, headers={"Authorization": f"Basic {secret}"} if password else {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_everything_runs_and_is_not_our_child(stack, home):
    """A detached stack is ready when ``up`` returns, and belongs to nobody here."""
    report = status(home / "a root")

    assert report.is_healthy
    assert [child.name for child in report.children] == [
        "postgres", "redis", "compute", "write", "upkeep", "beat", "flower",
    ]  # fmt: skip
    assert stack.pid not in {process.pid for process in psutil.Process().children(recursive=True)}
    assert stack.features == ("fstore.intraday", "my_features")
    assert read_state(home / "a root") == stack


def test_a_second_up_changes_nothing_and_says_so(stack, home):
    """The same stack is returned, with a word on what differs from what was asked."""
    said: list[str] = []

    again = up(home / "a root", workers=3, features=["my_features"], say=said.append)

    assert again == stack
    assert any("runs on" in text and "nothing was changed" in text for text in said)
    assert any("computes 1 at the same time, not 3" in text for text in said)
    said.clear()
    up(home / "a root", features=["my_features"], say=said.append)
    assert len(said) == 1  # nobody asked for a number


def test_flower_asks_for_its_password_and_only_shows(stack):
    """Without the password nothing is shown; with it nothing can be changed; probes need none."""
    assert ask_flower(stack.flower_url, "/", password=False) == 401
    assert ask_flower(stack.flower_url, "/") == 200
    assert ask_flower(stack.flower_url, "/healthcheck", password=False) == 200
    assert ask_flower(stack.flower_url, "/api/worker/shutdown/x", method="POST") == 403
    assert urlsplit(stack.flower_url).password not in " ".join(
        psutil.Process(next(child.pid for child in stack.children if child.name == "flower")).cmdline()
    )


def test_features_of_the_callers_folder_are_computed(stack, home):
    """A module next to the caller serves its feature, although that folder holds packages named like ours."""
    program = (
        "import sys, pandas as pd, fstore\n"
        "from my_features import doubled\n"
        "with_root = fstore.FeatureStore(root=sys.argv[1], postgres_url=sys.argv[2], redis_url=sys.argv[3])\n"
        "raw = pd.DataFrame({'price': [1.0, 2.5]})\n"
        "print(with_root.get_or_compute('AAPL', raw, {}, doubled, timeout=60)['price'].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, stack.root, stack.postgres_url, stack.redis_url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([HOME, str(home), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stdout.strip() == "[2.0, 5.0]", done.stderr


def test_the_doctor_finds_no_fault(stack, home):
    """On a stack just started every check passes or, for what needs a minute to show, warns; the exit code is 0."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "fstore.cli", "doctor", "--json", "--root", stack.root],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([HOME, os.environ.get("PYTHONPATH", "")])},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    report = json.loads(done.stdout)
    assert [found for found in report["findings"] if found["level"] == "fault"] == []
    assert (done.returncode, report["healthy"]) == (0, True)
    warnings = [found for found in report["findings"] if found["level"] == "warning"]
    slow = [found for found in warnings if found["check"] == "workers" and "no-ops, the slowest in" in found["detail"]]
    assert {found["check"] for found in warnings if found not in slow} <= {
        "beat",
        "free space",
    }  # a machine may be busy


def test_a_killed_worker_comes_back_with_new_children(stack, home):
    """kill -9 of the whole worker takes its children along; the next one is counted."""
    pid = next(child.pid for child in stack.children if child.name == "compute")
    family = [pid, *(process.pid for process in psutil.Process(pid).children(recursive=True))]

    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = next(child for child in status(home / "a root").children if child.name == "compute")
        return now.restarts == 1 and now.pid != pid and status(home / "a root").is_healthy

    eventually(back, seconds=60, what="the worker to come back")
    assert len(family) > 1
    eventually(lambda: not any(birth_of(one) for one in family), seconds=10, what="the children to go")


def test_two_starts_at_once_give_one_stack_and_down_ends_all_of_it(folder):
    """Whoever comes second waits for the first one's stack; after ``down`` no process is left; repeating it is harmless."""
    states: list[StackState] = []

    def start() -> None:
        states.append(up(folder / "root", workers=1, flower=False, beat=False, detach=True))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = processes(states[0])

    report = down(folder / "root")

    assert len(states) == 2
    assert states[0] == states[1]
    assert report.was_running
    assert not report.forced
    assert set(report.stopped) == {"postgres", "redis", "compute", "write", "upkeep"}
    assert report.seconds < 10
    assert not any(birth_of(pid) for pid in everything)
    assert not (folder / "root" / ".stack.json").exists()
    assert (down(folder / "root").was_running, down(folder / "root").stopped) == (False, ())


def test_a_stack_in_the_foreground_runs_until_it_is_stopped(folder):
    """``up`` tells when everything is ready, supervises, and returns once ``down`` was called from elsewhere."""
    ready: queue.SimpleQueue[StackState] = queue.SimpleQueue()
    said: list[str] = []

    def run() -> None:
        up(folder / "root", workers=1, flower=False, beat=False, on_ready=ready.put, say=said.append)

    thread = threading.Thread(target=run)
    thread.start()
    state = ready.get(timeout=120)
    children = {child.pid for child in state.children}
    report = down(folder / "root")
    thread.join(timeout=20)

    assert state.pid == os.getpid()
    assert report.was_running
    assert not thread.is_alive()
    assert not any(birth_of(pid) for pid in children)
    assert said[-1] == "stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals exist on Linux only")
def test_workers_of_a_killed_supervisor_die_with_it(folder):
    """kill -9 of a detached supervisor leaves neither workers nor their children nor servers."""
    state = up(folder / "root", workers=2, flower=False, beat=False, detach=True)
    everything = processes(state)

    os.kill(state.pid, signal.SIGKILL)

    eventually(lambda: not any(birth_of(pid) for pid in everything), seconds=10, what="all processes to go")
    assert len(everything) > 10
    assert read_state(folder / "root") is None


def test_a_feature_module_that_cannot_be_imported_fails_the_start(folder):
    """The error names the module, and nothing keeps running."""
    with pytest.raises(ConfigurationError, match="no_such_module"):
        up(folder / "root", features=["no_such_module"], flower=False, beat=False, detach=True)

    assert status(folder / "root").phase == "stopped"


def test_a_busy_flower_port_of_the_settings_is_refused(folder, monkeypatch):
    """A port that was asked for is not silently replaced."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("FEATURE_STORE_FLOWER_PORT", str(other.getsockname()[1]))

        with pytest.raises(ConfigurationError, match="FEATURE_STORE_FLOWER_PORT"):
            up(folder / "root", detach=True)


def test_servers_that_are_not_a_stack_are_left_alone(folder):
    """``up`` on a folder whose servers belong to somebody else is refused, ``down`` does not touch them."""
    with EmbeddedServers(folder / "root") as servers:
        assert down(folder / "root").stopped == ()
        assert not servers.postgres.has_ended()


def test_down_in_an_empty_folder_creates_nothing(folder):
    """Asking to stop nothing is harmless and leaves no trace."""
    assert down(folder / "root").was_running is False
    assert not (folder / "root").exists()


def test_a_stack_without_a_compute_worker_is_refused(folder):
    """Zero workers would never answer a miss."""
    with pytest.raises(ConfigurationError, match="one compute worker"):
        up(folder / "root", workers=0)
