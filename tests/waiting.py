"""Waiting for a condition, with a deadline; and a clock that a busy machine does not drive."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE, ENOUGH_S = 3, 60.0
_SCHEDULED = Path("/proc/thread-self/schedstat")


def eventually(condition: Callable[[], T], *, seconds: float, what: str, told: Callable[[], str] | None = None) -> T:
    """Return the first truthy value of ``condition``; fails when it has none for long.

    ``seconds`` are what it takes at most on a machine of its own: one that others keep busy
    gets three times as long, up to a minute. ``told`` gives what a failure shows besides, such as a log.
    """
    given_s = max(seconds, min(PATIENCE * seconds, ENOUGH_S))
    ends_at = time.monotonic() + given_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends_at:
            besides = f":\n{told()}" if told is not None else ""
            raise AssertionError(f"waited {given_s} s in vain for {what}{besides}")
        time.sleep(0.02)


def awake_s() -> float:
    """Return the time, less what this thread waited for a core: what takes long by itself takes long by this clock too."""
    try:
        queued_ns = int(_SCHEDULED.read_text().split()[1])
    except (OSError, IndexError):  # a system that does not count it
        queued_ns = 0
    return time.monotonic() - queued_ns / 1e9
