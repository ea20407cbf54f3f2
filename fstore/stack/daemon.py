"""A supervisor on its own: how it is launched, and how it reports back until it is ready."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fstore.bootstrap import prepare
from fstore.errors import ConfigurationError, FeatureStoreError
from fstore.settings import gather_settings
from fstore.stack.environment import daemon_environment, settings_on
from fstore.stack.layout import Layout
from fstore.stack.plan import Plan
from fstore.stack.processes import logs
from fstore.stack.servers.embedded import FolderTaken
from fstore.stack.supervisor import Supervisor
from fstore.stack_state import StackState, read_state

READY_WITHIN_SECONDS = 240.0
_DETACH = Path(__file__).with_name("processes") / "detach.py"


def launch(plan: Plan, *, say: Callable[[str], None]) -> StackState:
    """Start a supervisor that outlives this process, and wait until its stack is ready.

    Raises ``ConfigurationError`` with what the supervisor reported, or with the
    end of its log when it ended without a word; ``FolderTaken`` when another
    process was faster.
    """
    layout = Layout(plan.root)
    layout.create()
    log = layout.log("supervisor")
    settings = gather_settings(settings_on(plan.root))
    program = [sys.executable, "-P", "-m", "fstore.stack", json.dumps(plan.as_dict())]
    with logs.open_append(log) as errors:
        # The process that is started here forks once more and ends: it leaves no child to reap.
        starter = subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, "-I", "-S", str(_DETACH), *program],
            env=daemon_environment(settings, cwd=plan.cwd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    if starter.stdout is None:
        raise ConfigurationError(["the supervisor could not be started: no pipe to it"])
    reader = _Reader(starter.stdout.fileno(), say)
    try:
        verdict = reader.wait(READY_WITHIN_SECONDS)
    except BaseException:
        reader.abandon()
        raise
    finally:
        starter.stdout.close()
        starter.wait()
    if "fault" in verdict:
        raise FolderTaken(verdict["fault"]) if verdict.get("taken") else ConfigurationError(verdict["fault"])
    state = read_state(plan.root)
    if state is None or not verdict:
        raise ConfigurationError([f"the supervisor ended without a word; the end of {log}:\n{logs.tail(log)}"])
    return state


class _Reader:
    """Reads the supervisor's report: one JSON object a line, until it is ready, faulty or gone."""

    def __init__(self, descriptor: int, say: Callable[[str], None]) -> None:
        self._descriptor, self._say = descriptor, say
        self._pid = 0

    def wait(self, seconds: float) -> dict[str, Any]:
        deadline, pending = time.monotonic() + seconds, b""
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._descriptor], [], [], left)[0]:
                continue
            chunk = os.read(self._descriptor, 65536)
            if not chunk:
                return {}
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                report: dict[str, Any] = json.loads(line)
                self._pid = report.get("pid", self._pid)
                if "say" in report:
                    self._say(report["say"])
                if "ready" in report or "fault" in report:
                    return report
        self.abandon()
        raise ConfigurationError([f"the stack was not ready within {seconds:.0f} s and was told to stop; see its logs"])

    def abandon(self) -> None:
        """Stop a supervisor nobody waits for any more."""
        if self._pid:
            try:
                os.kill(self._pid, signal.SIGTERM)
            except (ProcessLookupError, PermissionError):
                return


def serve(plan: Plan) -> int:
    """Supervise in this process, report on stdout until the stack is ready."""
    report = _Report(Layout(plan.root).log("supervisor"))
    os.chdir("/")
    supervisor = Supervisor(plan, prepare=prepare, on_ready=lambda _: report.ready(), say=report.say)
    try:
        supervisor.run()
    except FeatureStoreError as exc:
        faults = list(exc.faults) if isinstance(exc, ConfigurationError) else [str(exc)]
        report.send({"fault": faults, "taken": isinstance(exc, FolderTaken)})
        report.note(str(exc))
        return 1
    report.send({"fault": ["the stack was stopped before it was ready"]})  # heard only when nobody was told 'ready'
    return 0


class _Report:
    """Tells the launching process how the start goes, and the log everything."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._listening = True

    def say(self, text: str) -> None:
        self.note(text)
        self.send({"say": text})

    def ready(self) -> None:
        self.send({"ready": True})
        self._listening = False
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)

    def note(self, text: str) -> None:
        with logs.open_append(self._log) as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S %z')} {text}\n".encode())

    def send(self, message: dict[str, Any]) -> None:
        if not self._listening:
            return
        try:
            os.write(1, json.dumps(message).encode() + b"\n")
        except OSError:
            self._listening = False  # whoever launched us is gone; the stack goes on
