"""``up``, ``down`` and ``status``: what users ask of a stack."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from fstore.bootstrap import prepare
from fstore.errors import ConfigurationError
from fstore.runtime.systems import require_posix
from fstore.settings import gather_settings
from fstore.stack import daemon, leftovers
from fstore.stack.environment import settings_on
from fstore.stack.layout import Layout
from fstore.stack.orders import Change, send
from fstore.stack.plan import QUEUES, Plan, new_token
from fstore.stack.processes.identity import wait_gone
from fstore.stack.servers.embedded import FolderTaken
from fstore.stack.supervisor import Supervisor
from fstore.stack_state import READY, StackState, is_alive, read_any_state, read_state, remove_state

DEFAULT_WORKERS = 2
OTHER_START_WITHIN_SECONDS = 240.0
STOP_WITHIN_SECONDS = 15.0
NOTED_WITHIN_SECONDS = 5.0
SERVERS = ("postgres", "redis")

Say = Callable[[str], None]
_in_this_process: dict[str, tuple[Supervisor, threading.Thread]] = {}


@dataclass(frozen=True, slots=True)
class DownReport:
    """What ``down`` did.

    ``stopped`` names the processes that ran, ``forced`` says that some had to be killed.
    """

    root: str
    was_running: bool
    stopped: tuple[str, ...]
    forced: bool
    seconds: float


def up(
    root: Path,
    *,
    workers: int | None = None,
    features: Sequence[str] = (),
    detach: bool = False,
    flower: bool = True,
    beat: bool = True,
    reload: bool | None = None,
    on_ready: Callable[[StackState], None] | None = None,
    say: Say | None = None,
) -> StackState:
    """Start a stack on ``root``, and supervise it until it is stopped.

    Or leave that to a process of its own (``detach``). A stack that runs already goes on running and its state is
    returned; workers are restarted if they are to serve further ``features``, and ``reload`` (restart them whenever
    a feature's file is edited) is switched on or off. In the foreground SIGINT, SIGTERM and SIGHUP stop everything
    within 10 s, a second one at once; ``on_ready`` is called when all children are ready and has to return soon.
    Raises ``ConfigurationError``, with the end of the log of whatever does not start.
    """
    require_posix("a local stack ('fstore up', 'fstore demo')")
    say = say or (lambda _: None)
    plan = Plan(
        _place(root),
        Path.cwd(),
        DEFAULT_WORKERS if workers is None else workers,
        tuple(features),
        flower,
        beat,
        bool(reload),
    )
    if plan.workers < 1:
        raise ConfigurationError([f"a stack needs one compute worker at least, not {workers}"])
    _warn_of_unused_addresses(plan.root, say)
    running = _wait_for_other(plan.root, say)
    if running is None:
        try:
            state = _start(plan, detach=detach, on_ready=on_ready, say=say)
            if detach and on_ready is not None:
                on_ready(state)
            return state
        except FolderTaken:
            running = _the_faster_one(plan.root, say)
            if running is None:
                raise
    running = _adjust(plan, running, workers=workers, reload=reload, say=say)
    if on_ready is not None:
        on_ready(running)
    return running


def restart(root: Path, names: Sequence[str] = (), *, say: Say | None = None) -> tuple[str, ...]:
    """Restart processes of the stack that runs on ``root``, and return which.

    Without ``names`` its workers. Returns when they are ready again. Raises ``ConfigurationError`` when no stack
    runs, when it has no such process, and when a feature module cannot be imported any more: then nothing was
    restarted.
    """
    place = _place(root)
    state = read_state(place)
    if state is None:
        raise ConfigurationError([f"no stack runs on {place}; 'fstore up' starts one"])
    known = tuple(child.name for child in state.children if child.name not in SERVERS)
    chosen = tuple(dict.fromkeys(names)) or tuple(name for name in QUEUES if name in known)
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigurationError(
            [f"the stack on {place} cannot restart {', '.join(unknown)}; it can: {', '.join(known)}"]
        )
    (say or (lambda _: None))(f"restarting {', '.join(chosen)}")
    send(Layout(place), Change(new_token(), restart=chosen), state=state)
    return chosen


def log_files(root: Path) -> dict[str, Path]:
    """Return the logs that the stack on ``root`` has, by process, whether it runs or not."""
    return {path.stem: path for path in sorted(Layout(_place(root)).logs.glob("*.log"))}


def down(root: Path) -> DownReport:
    """Stop exactly what ``up`` started on ``root``, and wait until all of it is gone.

    Harmless when nothing runs.
    """
    began = time.monotonic()
    place = _place(root)
    state = read_any_state(place)
    if state is None and not Layout(place).choices.exists():
        return DownReport(str(place), was_running=False, stopped=(), forced=False, seconds=0.0)
    stopped: tuple[str, ...] = ()
    forced = running = False
    if state is not None and is_alive(state):
        running = True
        stopped = tuple(child.name for child in state.children if child.phase in ("starting", "running"))
        forced = not _stop_supervisor(state)
    strays = _sweep(place)
    if strays:
        stopped, forced = (*stopped, *(name for name in strays if name not in stopped)), True
    return DownReport(str(place), running, stopped, forced, round(time.monotonic() - began, 2))


def _start(plan: Plan, *, detach: bool, on_ready: Callable[[StackState], None] | None, say: Say) -> StackState:
    if detach:
        return daemon.launch(plan, say=say)
    supervisor = Supervisor(plan, prepare=prepare, on_ready=on_ready, say=say)
    _in_this_process[str(plan.root)] = supervisor, threading.current_thread()
    try:
        return supervisor.run()
    finally:
        _in_this_process.pop(str(plan.root), None)


def _stop_supervisor(state: StackState) -> bool:
    """Stop a supervisor and wait for its end; False when it had to be killed."""
    if state.pid == os.getpid():
        return _stop_here(state)
    try:
        os.kill(state.pid, signal.SIGTERM)
        if wait_gone(state.pid, state.birth, within=STOP_WITHIN_SECONDS):
            return True
        os.kill(state.pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError as exc:
        raise ConfigurationError(
            [
                f"the stack on {state.root} belongs to another user (process {state.pid}); stop it as that user or as root"
            ]
        ) from exc
    wait_gone(state.pid, state.birth, within=5)
    return False


def _stop_here(state: StackState) -> bool:
    """Stop a supervisor that runs in another thread of this process."""
    supervisor, thread = _in_this_process[state.root]
    supervisor.stop()
    if thread is threading.current_thread():
        return True  # called from on_ready: it stops as soon as that returns
    deadline = time.monotonic() + STOP_WITHIN_SECONDS
    while state.root in _in_this_process and time.monotonic() < deadline:
        time.sleep(0.02)
    return state.root not in _in_this_process


def _sweep(root: Path) -> tuple[str, ...]:
    """End what a dead supervisor left; nothing while somebody else holds the root's lock."""
    layout = Layout(root)
    lock = filelock.FileLock(layout.lock, timeout=0, thread_local=False, mode=0o600)
    try:
        with lock:
            strays = leftovers.sweep(layout)
            remove_state(root)
            return strays
    except (filelock.Timeout, OSError):
        return ()


def _place(root: Path) -> Path:
    return Path(root).expanduser().resolve()


def _wait_for_other(root: Path, say: Say) -> StackState | None:
    """Return the stack that runs on ``root``, waiting for one that is starting or stopping.

    None when there is none.
    """
    deadline = time.monotonic() + OTHER_START_WITHIN_SECONDS
    told = False
    while True:
        state = read_any_state(root)
        if state is None or not is_alive(state):
            return None
        if state.phase == READY:
            return state
        if not told:
            say(f"another start or stop is under way on {root} (process {state.pid}); waiting for it")
            told = True
        if time.monotonic() > deadline:
            raise ConfigurationError(
                [f"the stack on {root} is {state.phase} for too long; run 'fstore down' and try again"]
            )
        time.sleep(0.2)


def _the_faster_one(root: Path, say: Say) -> StackState | None:
    """Return the stack of whoever took the folder a moment ago; None when it was no ``up``."""
    deadline = time.monotonic() + NOTED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        running = _wait_for_other(root, say)
        if running is not None:
            return running
        time.sleep(0.1)
    return None


def _adjust(plan: Plan, running: StackState, *, workers: int | None, reload: bool | None, say: Say) -> StackState:
    """Have a running stack serve what it does not serve yet, and say what of it stays."""
    missing = tuple(name for name in plan.features if name not in running.features)
    say(
        f"a stack runs on {plan.root} already (process {running.pid}){'' if missing or reload is not None else '; nothing was changed'}"
    )
    if workers not in (None, running.workers):
        say(f"it computes {running.workers} at the same time, not {workers}; 'fstore down' first to change that")
    if missing or reload is not None:
        wants = f" to serve {', '.join(missing)} too" if missing else ""
        say(f"restarting its workers{wants}")
        change = Change(new_token(), restart=QUEUES, features=missing, cwd=str(plan.cwd), reload=reload)
        send(Layout(plan.root), change, state=running)
    return read_state(plan.root) or running


def _warn_of_unused_addresses(root: Path, say: Say) -> None:
    chosen = gather_settings(settings_on(root))
    for name in ("postgres_url", "redis_url"):
        if getattr(chosen, name) is not None:
            say(f"{name} ({chosen.origins[name]}) is not used: an embedded stack has servers of its own")
