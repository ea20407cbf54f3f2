"""One child process: start it, know when it is ready, end it with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from fstore.errors import ConfigurationError
from fstore.stack.processes import identity, logs
from fstore.stack.processes.os_user import Account
from fstore.stack.processes.spawn import Order, spawn
from fstore.stack_state import ChildState, birth_of

_AT_ONCE: signal.Signals = getattr(
    signal, "SIGKILL", signal.SIGTERM
)  # this module is imported where no stack runs, too


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to run one child.

    ``is_ready`` is asked until it says yes; ``before_start`` clears what a dead
    predecessor left; ``mend`` may remove what kept it from becoming ready;
    ``leftovers`` finds its processes by proof, whoever their parent is;
    ``orphan_signal`` reaches it when the supervisor is killed (Linux).
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    is_ready: Callable[[Child], bool]
    before_start: Callable[[], None] = lambda: None
    mend: Callable[[Child], None] = lambda _: None
    leftovers: Callable[[], list[psutil.Process]] = list
    account: Account | None = None
    ready_within: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace: float = 5.0
    orphan_signal: signal.Signals = _AT_ONCE
    umask: int = -1
    essential: bool = False


class Cancelled(Exception):
    """The stack was told to stop while it was still starting."""


@dataclass(slots=True)
class Child:
    """A child as it runs: process, phase and the number of its restarts."""

    spec: ChildSpec
    phase: str = "stopped"
    restarts: int = 0
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    process: subprocess.Popen[bytes] | None = None
    birth: str = ""
    started_at: float = 0.0
    _log_offset: int = 0

    @property
    def pid(self) -> int:
        """The process number, 0 before the first start."""
        return self.process.pid if self.process else 0

    def enter(self, phase: str) -> None:
        """Note the phase and when it began."""
        self.phase, self.since = phase, datetime.now(UTC)

    def start(self) -> None:
        """Start the process in a session of its own; it dies with this process where the system can do that."""
        identity.end(self.spec.leftovers(), gently=None, within=0)
        self.spec.before_start()
        with logs.open_append(self.spec.log) as log:
            self._log_offset = log.tell()
            spec = self.spec
            self.process = spawn(
                Order(spec.argv, spec.env, spec.cwd, log.fileno(), spec.account, spec.orphan_signal, spec.umask)
            )
        self.birth = birth_of(self.process.pid) or ""
        self.started_at = time.monotonic()
        self.enter("starting")

    def has_ended(self) -> bool:
        """Tell whether the process is gone (or never was)."""
        return self.process is None or self.process.poll() is not None

    def log_since_start(self) -> str:
        """Return what this start wrote into the log so far."""
        return logs.read_from(self.spec.log, self._log_offset)

    def describe_failure(self, what: str) -> ConfigurationError:
        """Build the error that says what went wrong, with the end of the log."""
        tail = logs.tail(self.spec.log) or "(the log is empty)"
        return ConfigurationError([f"{self.spec.name} {what}; the end of {self.spec.log}:\n{tail}"])

    def wait_ready(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait until the child is ready; an error with the end of its log when it ends or is too slow.

        Raises ``Cancelled`` as soon as ``cancelled`` says so.
        """
        deadline = self.started_at + self.spec.ready_within
        while not self.spec.is_ready(self):
            if cancelled():
                raise Cancelled
            if self.has_ended():
                raise self.describe_failure(f"ended at once ({self.exit_text()})")
            if time.monotonic() >= deadline:
                raise self.describe_failure(f"was not ready within {self.spec.ready_within:.0f} s")
            time.sleep(0.05)
        self.enter("running")

    def exit_text(self) -> str:
        """Say how the process ended."""
        code = None if self.process is None else self.process.poll()
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def ask_to_stop(self) -> None:
        """Send the stop signal, without waiting."""
        if self.process is not None and not self.has_ended():
            self.process.send_signal(self.spec.stop_signal)

    def finish(self, *, within: float) -> bool:
        """Wait for the end, kill what remains afterwards; True when nothing had to be killed."""
        clean = True
        if self.process is not None:
            try:
                self.process.wait(timeout=max(0.0, within))
            except subprocess.TimeoutExpired:
                clean = False
                _kill_group(self.process.pid)
                self.process.wait(timeout=5)
        identity.end(self.spec.leftovers(), gently=None, within=0)
        self.enter("stopped")
        return clean

    def stop(self) -> bool:
        """Stop the child within its grace period; True when it went by itself."""
        self.ask_to_stop()
        return self.finish(within=self.spec.stop_grace)

    def kill(self) -> None:
        """Kill the process the hard way, as a fault would, and wait for its end."""
        if self.process is not None and not self.has_ended():
            self.process.kill()
            self.process.wait(timeout=5)

    def state(self) -> ChildState:
        """Return what the state file says about this child."""
        return ChildState(
            self.spec.name,
            self.pid,
            self.birth,
            self.phase,
            self.restarts,
            self.since.isoformat(timespec="seconds"),
            str(self.spec.log),
        )


def _kill_group(pid: int) -> None:
    # Called before the leader is reaped, so the number still is its group's.
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
