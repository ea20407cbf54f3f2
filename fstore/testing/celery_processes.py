"""Workers and other Celery commands as people start them.

Each in a process group of its own that ends with this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from fstore.errors import ConfigurationError
from fstore.settings import Settings, child_environment
from fstore.stack import Order, python_path, spawn

READY_WITHIN_S = 60.0
ENDED_WITHIN_S = 10.0
# Any of these would lead a worker past the store under test.
_UNWANTED = ("CELERY_", "FLOWER_", "PG")


def start_worker(
    environment: Mapping[str, str], folder: Path, *arguments: str, concurrency: int = 2, queues: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a worker and wait until it takes messages, from all queues unless some are named.

    ``environment`` is its whole environment, see ``celery_environment``. Its output goes to
    ``<folder>/worker-*.log``. Raises ``ConfigurationError`` with the end of it when the worker ends, or
    is not ready within a minute.
    """
    beating = folder / f"worker-{uuid4().hex[:8]}.heartbeat"
    log = beating.with_suffix(".log")
    command = ("-A", "workers.app", "worker", *(("-Q", queues) if queues else ()), "-c", str(concurrency), "-n", f"{beating.stem}@%h",
               "--loglevel", "INFO", *arguments)  # fmt: skip
    process = start_celery(command, {**environment, "FEATURE_STORE_HEARTBEAT_FILE": str(beating)}, log)
    ends_at = time.monotonic() + READY_WITHIN_S
    while not beating.exists():
        if process.poll() is not None or time.monotonic() > ends_at:
            why = "took too long to start" if process.poll() is None else f"ended with {process.returncode}"
            stop_group(process)
            raise ConfigurationError([f"the worker {why}:\n{log.read_text(errors='replace')[-4000:]}"])
        time.sleep(0.02)
    return process


def start_celery(arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a Celery command in the folder of its log."""
    with log.open("ab") as out:
        command = (sys.executable, "-m", "celery", *arguments)
        return spawn(Order(command, environment, log.parent, out.fileno(), None, signal.SIGKILL, -1))


def celery_environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment with one store's settings, and nothing that leads past them.

    Modules that this process can import, its children can import too: what it has put
    on its path besides the interpreter's own folders goes to theirs.
    """
    kept = {name: value for name, value in child_environment(settings).items() if not name.startswith(_UNWANTED)}
    added = [
        str(entry) for entry in map(Path.absolute, map(Path, sys.path)) if entry.is_dir() and not _is_pythons(entry)
    ]
    path = os.pathsep.join([*added, kept.get("PYTHONPATH", "")])
    return {**kept, "PYTHONPATH": python_path(Path.cwd(), path)}


def _is_pythons(entry: Path) -> bool:
    """Tell folders that every interpreter of this installation looks into by itself.

    Ahead of its own they might hide modules.
    """
    own = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
    named = entry.name in ("site-packages", "dist-packages")
    return named or any(entry.resolve().is_relative_to(folder) for folder in own)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its group, and wait for its end; harmless when it ended long ago."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait(ENDED_WITHIN_S)
