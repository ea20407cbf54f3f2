"""A thread that repeats one act while a block runs: renewing a lease or a lock.

Most blocks are over long before the first beat is due. They start no thread: one of the process looks
after all, and starts theirs when it is due. Each then has its own, so that none waits for another's server.
"""

from __future__ import annotations

import contextvars
import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from fstore.errors import FeatureStoreError
from fstore.runtime.fork_safety import forget_in_children

log = logging.getLogger("fstore.heartbeat")


@contextmanager
def heartbeat(name: str, period_s: float, act: Callable[[], bool]) -> Iterator[None]:
    """Call ``act`` every ``period_s`` in a thread until the block ends, or until it returns False.

    An act that raises one of fstore's errors is tried again a period later: what it
    renews may lapse meanwhile, and the next call then says so.
    """
    beat = _Beat(name, period_s, act)
    _starter.start_when_due(beat)
    try:
        yield
    finally:
        beat.end()


class _Beat:
    def __init__(self, name: str, period_s: float, act: Callable[[], bool]) -> None:
        self._name, self.period_s, self._act = name, period_s, act
        # With the context of whoever starts it, so that its log lines say whose lease it was.
        self._context = contextvars.copy_context()
        self._ended = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Act now and every period from now on, unless it is over.

        Raises ``RuntimeError`` when no thread can be had.
        """
        with self._guard:
            if not self._ended.is_set():
                run = self._context.run
                thread = threading.Thread(target=run, args=(self._run,), name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def end(self) -> None:
        """Act no more; what is under way has ended when this returns, or a period has passed."""
        with self._guard:
            self._ended.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=self.period_s)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                if not self._act():
                    return
            except FeatureStoreError as error:
                log.warning("%s: %s", self._name, error)
            self._ended.wait(self.period_s)


class _Starter:
    """Starts each beat's thread when its first is due; one thread a process, once there was a beat."""

    def __init__(self) -> None:
        self.forget_after_fork()
        forget_in_children(self)

    def forget_after_fork(self) -> None:
        """Begin with nothing to start, and no thread: a forked child has neither."""
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, _Beat]] = []
        self._numbers = count()
        self._runs = False

    def start_when_due(self, beat: _Beat) -> None:
        """Start a beat's thread after its first period."""
        due = time.monotonic() + beat.period_s
        with self._changed:
            heapq.heappush(self._waiting, (due, next(self._numbers), beat))
            if not self._runs:
                threading.Thread(target=self._run, args=(self._changed,), name="fstore-heartbeats", daemon=True).start()
                self._runs = True
            elif self._waiting[0][2] is beat:  # sooner than what is waited for
                self._changed.notify()

    def _run(self, changed: threading.Condition) -> None:
        while True:
            with changed:
                while not self._waiting:
                    changed.wait()
                left_s = self._waiting[0][0] - time.monotonic()
                if left_s > 0:
                    changed.wait(left_s)
                    continue
                _, _, beat = heapq.heappop(self._waiting)
            try:
                beat.start()
            except (
                RuntimeError
            ) as error:  # the process may have no more threads now; the leases of all hang on this one
                log.warning("no thread for a heartbeat, tried again: %s", error)
                self.start_when_due(beat)


_starter = _Starter()
