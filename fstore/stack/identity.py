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

from fstore.stack.birth import is_same

TOKEN_VARIABLE = "FSTORE_STACK_TOKEN"  # noqa: S105 - the name of a variable, not a secret


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
    """Find the processes whose environment carries a token that starts with this one, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN_VARIABLE, "").startswith(token) and _runs(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(processes: Iterable[psutil.Process], *, gently: signal.Signals | None, within: float) -> int:
    """Stop these processes, by ``gently`` first when given, by SIGKILL after ``within`` seconds; return how many there were."""
    remaining = [p for p in processes if p.pid != os.getpid()]
    count = len(remaining)
    if gently is not None:
        _signal(remaining, gently)
        _, remaining = psutil.wait_procs(remaining, timeout=within)
    _signal(remaining, signal.SIGKILL)
    psutil.wait_procs(remaining, timeout=3)
    return count


def wait_gone(pid: int, birth: str, *, within: float) -> bool:
    """Wait until the process is gone; False when it still runs after ``within`` seconds."""
    deadline = time.monotonic() + within
    while is_same(pid, birth):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.Error, OSError):
            continue
