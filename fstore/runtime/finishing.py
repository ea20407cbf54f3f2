"""The time for publishing: a computation that has ended did not fail.

However long its result waits for its row. The soft time limit of a worker's task asks a computation to stop. It
comes as a signal, whatever the task does by then; once the function has returned there is nothing to stop, and
whoever waits must not be told that it failed. Publishing has an end of its own, before the hard limit ends the
process, which would be held against the computation too.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fstore.runtime import deadline


@contextmanager
def finishing(until: float | None) -> Iterator[None]:
    """Publish inside the block: no soft limit strikes there.

    Each wait ends ``until`` then with an error of its own kind. Who has no limits, as a trainer that computes for
    itself, passes None: there the signal is its owner's, who may be told by it that the machine is wanted back.
    """
    if until is None:
        yield
        return
    with _without_soft_limit(), deadline.within(until - time.monotonic()):
        yield


@contextmanager
def _without_soft_limit() -> Iterator[None]:
    """Take no notice of the signal; only where Python runs handlers, and somebody has set one."""
    number = getattr(signal, "SIGUSR1", None)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(number) if number is not None and in_main else None
    if number is None or not callable(handler):
        yield
        return
    signal.signal(number, _ignore)
    try:
        yield
    finally:
        signal.signal(number, handler)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing: SIG_IGN would be handed on to the processes that this one starts."""
