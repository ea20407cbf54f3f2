"""Objects that must begin anew in a forked child.

A lock that another thread of the parent held at the moment of the fork stays
held in the child for ever: nobody is there to give it back. Whoever keeps a lock
registers here, and makes a new one before the child's first step. A module that a
thread of the parent was loading stays locked just so: who loads modules in a thread of
its own does it in ``loading()``, and a fork waits for its end.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

LOADED_WITHIN_S = 5.0  # a fork waits no longer: what is loaded may wait for the thread that forks


class Forgetful(Protocol):
    """Something that shares nothing with the parent once this was called."""

    def forget_after_fork(self) -> None:
        """Leave the parent's locks, threads and sockets alone and start empty; called in a forked child."""
        ...


_alive: weakref.WeakSet[Forgetful] = weakref.WeakSet()
_one_loads = threading.RLock()
_held: dict[int, bool] = {}  # by the threads that are forking just now


def forget_in_children(thing: Forgetful) -> None:
    """Have ``thing.forget_after_fork()`` called in every child forked while the thing lives."""
    _alive.add(thing)


def run_in_children(begin_anew: Callable[[], None]) -> None:
    """Have a function called in every child forked from now on; where processes do not fork, never."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin_anew)


@contextmanager
def loading() -> Iterator[None]:
    """Load modules in the block while other threads of this process cannot fork."""
    with _one_loads:
        yield


def _before_fork() -> None:
    _held[threading.get_ident()] = _one_loads.acquire(timeout=LOADED_WITHIN_S)


def _after_fork() -> None:
    if _held.pop(threading.get_ident(), False):
        _one_loads.release()


def _after_fork_in_child() -> None:
    global _one_loads  # noqa: PLW0603 the parent's thread that held it is not here
    _held.clear()
    _one_loads = threading.RLock()
    for thing in list(_alive):
        thing.forget_after_fork()


run_in_children(_after_fork_in_child)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
