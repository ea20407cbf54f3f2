"""Processes that features start.

They may, and they end with the worker's child that started them at the latest.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import AuthenticationString  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

log = logging.getLogger("fstore.worker")

PR_SET_CHILD_SUBREAPER = 36
ENDS_WITHIN_S = 2.0
FOLLOWED_FOR_S = 10.0
LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Descendant:
    """A process by its number and the moment it began, for numbers are used again."""

    pid: int
    began: int


def allow() -> None:
    """Let features start processes from this child.

    Those whose parents end become its own children. The pool marks its children as daemons, which may have none, so
    that none can outlive the worker; here ``end_all`` takes care of that.
    """
    here: Any = multiprocessing.current_process()
    here.daemon = False
    here._config["authkey"] = AuthenticationString(here.authkey)  # the pool's own kind cannot be handed on
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals, after_in_child=_take_signals_as_others_do)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all() -> int:
    """Kill every process that was started from this one and still runs; returns how many.

    Looks again until there is none, for one may start another while it is being killed.
    """
    ended: set[Descendant] = set()
    if sys.platform != "linux":  # without /proc
        return 0
    ends_at = time.monotonic() + ENDS_WITHIN_S
    while _has_children() and (alive := running_below(os.getpid())) and time.monotonic() < ends_at:
        ended |= alive
        _kill(alive)
        time.sleep(LOOK_EVERY_S)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    if ended:
        log.warning("ended %d processes that features had left behind", len(ended))
    return len(ended)


def end_with(pid: int) -> None:
    """Have a thread see to it that what a child started ends with it.

    A child that is being killed cannot. Looks once before it returns: when the child has ended, nobody knows any
    more what it had started.
    """
    seen = running_below(pid)
    threading.Thread(target=_follow, args=(pid, seen), name="fstore-descendants", daemon=True).start()


def running_below(ancestor: int) -> set[Descendant]:
    """Return the processes that descend from one and have not ended."""
    return _below(ancestor, _children())


def _children() -> dict[int, list[Descendant]]:
    found: dict[int, list[Descendant]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # pid (name) state parent ...; a name may hold blanks and brackets
            state, parent, *rest = entry.read_text(errors="replace").rpartition(")")[2].split()
            if state not in "ZX":
                found.setdefault(int(parent), []).append(Descendant(int(entry.parent.name), int(rest[17])))
    return found


def _below(ancestor: int, children: dict[int, list[Descendant]]) -> set[Descendant]:
    found: set[Descendant] = set()
    todo = [ancestor]
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo += [one.pid for one in below]
    return found


_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
_forking = threading.local()


def _hold_signals() -> None:
    # A new process forgets what reached it before its first step; its pool would wait for its end for ever.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def _let_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _take_signals_as_others_do() -> None:
    """Undo in a fork what the pool has its children do with signals.

    It is ended by a signal that it would note and then wait for work.
    """
    if threading.current_thread() is threading.main_thread():  # a fork's only thread is its main thread
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _let_signals()


def _follow(pid: int, seen: set[Descendant]) -> None:
    ends_at = time.monotonic() + FOLLOWED_FOR_S
    while time.monotonic() < ends_at:
        children = _children()
        if all(one.pid != pid for one in children.get(os.getpid(), ())):
            break
        seen |= _below(pid, children)
        time.sleep(LOOK_EVERY_S)
    _kill(one for one in seen if _began(one.pid) == one.began)


def _kill(processes: Iterable[Descendant]) -> None:
    for one in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one.pid, signal.SIGKILL)


def _began(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except OSError:
        return None


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
