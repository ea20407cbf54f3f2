"""Objects that must begin anew in a forked child.

A lock that another thread of the parent held at the moment of the fork stays
held in the child for ever: nobody is there to give it back. Whoever keeps a lock
registers here, and makes a new one before the child's first step.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Protocol


class Forgetful(Protocol):
    """Something that shares nothing with the parent once this was called."""

    def forget_after_fork(self) -> None:
        """Leave the parent's locks, threads and sockets alone and start empty; called in a forked child."""
        ...


_alive: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def forget_in_children(thing: Forgetful) -> None:
    """Have ``thing.forget_after_fork()`` called in every child forked while the thing lives."""
    _alive.add(thing)


def run_in_children(begin_anew: Callable[[], None]) -> None:
    """Have a function called in every child forked from now on; where processes do not fork, never."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=begin_anew)


def _after_fork_in_child() -> None:
    for thing in list(_alive):
        thing.forget_after_fork()


run_in_children(_after_fork_in_child)
