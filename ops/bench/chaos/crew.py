"""The processes of a chaos run: how each is started, and how it is struck."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import Signals
from typing import Any

import psutil

from fstore.stack import python_path
from fstore.testing import start_celery

QUEUES = "fstore.compute,fstore.write,fstore.upkeep"
START_WITHIN_S = 60.0


@dataclass
class Member:
    """One process that is started again whenever it was struck down; ``life`` counts its starts.

    One that ``is_supervised`` may also end by itself, or have to be killed when it does
    not stop: that is what service managers are for. It is counted, not complained about.
    """

    name: str
    begin: Callable[[int], subprocess.Popen[bytes] | BaseProcess]
    is_ready: Callable[[], bool] = lambda: True
    life: int = -1
    is_supervised: bool = False
    expected_down: bool = True
    process: Any = field(default=None)

    def start(self) -> None:
        """Start it for another life."""
        self.life += 1
        self.process = self.begin(self.life)
        self.expected_down = False

    @property
    def pid(self) -> int:
        """Its process number."""
        return int(self.process.pid)

    @property
    def who(self) -> str:
        """Its name in this life, as histories have it."""
        return f"{self.name}.{self.life}"

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        if self.process is None:
            return False
        return self.process.is_alive() if isinstance(self.process, BaseProcess) else self.process.poll() is None

    def signal(self, number: Signals) -> None:
        """Send a signal to this process and all it started."""
        for pid in (self.pid, *(child.pid for child in children_of(self.pid))):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def signal_main(self, number: Signals) -> None:
        """Send a signal to this process alone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False when it still runs after so long."""
        ends_at = time.monotonic() + seconds
        while self.is_alive() and time.monotonic() < ends_at:
            time.sleep(0.05)
        return not self.is_alive()


def children_of(pid: int) -> list[psutil.Process]:
    """Return everything a process started, in the order of the process numbers."""
    try:
        return sorted(psutil.Process(pid).children(recursive=True), key=lambda child: child.pid)
    except psutil.Error:
        return []


class Forkery:
    """Starts Python processes by fork from a server that has imported everything and has no threads."""

    def __init__(self) -> None:
        # The server starts from the environment: its preloading does not look into this process's sys.path.
        os.environ["PYTHONPATH"] = python_path(Path(__file__).parent.parent, os.environ.get("PYTHONPATH", ""))
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["chaos.trainer", "chaos.collector"])

    def start(self, target: Callable[..., None], *arguments: Any) -> BaseProcess:
        """Run ``target(*arguments)`` in a process of its own."""
        process = self._context.Process(target=target, args=arguments, daemon=True)
        process.start()
        return process


def worker(number: int, environment: Mapping[str, str], folder: Path) -> Member:
    """Return a worker of two children on all queues."""
    beating = folder / f"worker{number}.heartbeat"

    def begin(life: int) -> subprocess.Popen[bytes]:
        beating.unlink(missing_ok=True)
        arguments = ("-A", "workers.app", "worker", "-Q", QUEUES, "-c", "2", "-n", f"chaos{number}-{life}@%h")
        mine = {"FEATURE_STORE_HEARTBEAT_FILE": str(beating), "REMAP_SIGTERM": "SIGQUIT"}
        return start_celery(arguments, {**environment, **mine}, folder / f"worker{number}.log")

    return Member(f"worker{number}", begin, beating.exists, is_supervised=True)


def beat(number: int, environment: Mapping[str, str], folder: Path) -> Member:
    """Return one of several Beats, with a schedule file of its own."""
    arguments = ("-A", "beat.app", "beat", "-s", f"beat{number}.schedule", "--pidfile=")
    return Member(
        f"beat{number}",
        lambda _: start_celery(arguments, environment, folder / f"beat{number}.log"),
        is_supervised=True,
    )
