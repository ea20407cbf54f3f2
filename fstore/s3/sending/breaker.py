"""Keeps an outage from costing every call its whole timeout."""

from __future__ import annotations

import threading
import time

from fstore.runtime.fork_safety import forget_in_children

FAILURES = 3
PAUSE_S = 5.0


class Breaker:
    """After some calls in a row that failed, lets one call try every few seconds.

    The others fail at once.
    """

    def __init__(self) -> None:
        self.forget_after_fork()
        forget_in_children(self)

    def forget_after_fork(self) -> None:
        """Begin closed: a child finds out for itself."""
        self._guard = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    def lets_pass(self) -> bool:
        """Return whether a call may try."""
        if self._failures < FAILURES:
            return True
        with self._guard:
            now = time.monotonic()
            if now < self._open_until:
                return False
            self._open_until = now + PAUSE_S  # the one that tries; others wait for what it finds
            return True

    def succeeded(self) -> None:
        """Close it."""
        self._failures = 0

    def failed(self) -> bool:
        """Note a call that failed; return whether that opened it."""
        with self._guard:
            self._failures += 1
            if self._failures < FAILURES:
                return False
            self._open_until = time.monotonic() + PAUSE_S
            return self._failures == FAILURES
