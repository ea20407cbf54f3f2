"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, seconds: float, what: str) -> T:
    """Return the first truthy value of ``condition``; fails when ``seconds`` have passed without one."""
    ends_at = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends_at:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
