"""Which process is which: proofs that survive the reuse of process numbers.

A process number alone proves nothing, it may belong to a stranger by now. A
process is ours when its number and its birth agree with what was noted, when it
works inside a data folder that only this stack uses, or when it carries the
stack's token in its environment.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from fstore.stack.environment import TOKEN_VARIABLE as TOKEN_VARIABLE  # noqa: PLC0414 it is the proof
from fstore.stack_state import birth_of, is_same


def working_in(folder: Path, names: Iterable[str]) -> list[psutil.Process]:
    """Find the processes with one of these names whose working directory is ``folder``."""
    wanted, place = tuple(names), os.path.realpath(folder)
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith(wanted) and process.cwd() == place and _runs(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or of an account whose servers cannot be ours
    return found


def carrying(token: str) -> list[psutil.Process]:
    """Find the processes whose environment carries a token that starts with this one.

    Whoever their parent is now.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN_VARIABLE, "").startswith(token) and _runs(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(processes: Iterable[psutil.Process], *, gently: signal.Signals | None, within: float) -> int:
    """Stop these processes; return how many there were.

    By ``gently`` first when given, by SIGKILL after ``within`` seconds.
    """
    marked = [(p.pid, birth_of(p.pid)) for p in processes if p.pid != os.getpid()]
    running = [(pid, birth) for pid, birth in marked if birth is not None]
    for number, seconds in ((gently, within), (signal.SIGKILL, 3.0)):
        if number is None:
            continue
        for pid, birth in running:
            _signal(pid, birth, number)
        deadline = time.monotonic() + seconds
        running = [
            (pid, birth) for pid, birth in running if not wait_gone(pid, birth, within=deadline - time.monotonic())
        ]
    return len(marked)


def wait_gone(pid: int, birth: str, *, within: float) -> bool:
    """Wait until the process is gone; False when it still runs after ``within`` seconds.

    A zombie is gone: the init process of a container may take its time to bury it.
    """
    deadline = time.monotonic() + within
    while is_same(pid, birth):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)


def _signal(pid: int, birth: str, number: signal.Signals) -> None:
    if is_same(pid, birth):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            return
