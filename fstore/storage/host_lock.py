"""One process of a host at a time, by a file that the kernel unlocks when its holder dies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # each process downloads for itself
    fcntl = None  # type: ignore[assignment]

LOOK_EVERY_S, LOOK_AT_LEAST_EVERY_S = 0.002, 0.05

_held: set[int] = set()
_guard = threading.Lock()


@contextmanager
def alone_on_host(path: Path, *, patience_s: float) -> Iterator[bool]:
    """Hold the lock of that name while the block runs; False when it could not be had in time, or at all.

    The file goes with its holder. Whoever waited for it sees that, and takes the lock of the
    name as it is then, so that two never hold it at once.
    """
    descriptor = _take(path, time.monotonic() + patience_s)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            _close(descriptor)


def _take(path: Path, ends_at: float) -> int | None:
    pause_s = LOOK_EVERY_S
    while fcntl is not None:
        try:
            descriptor = _open(path)
        except OSError:  # no folder, no right, no room: this host shares nothing
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_named(descriptor, path):
                return descriptor
        except BlockingIOError:
            pass
        except OSError:
            _close(descriptor)
            return None
        _close(descriptor)
        if time.monotonic() + pause_s > ends_at:
            return None
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LOOK_AT_LEAST_EVERY_S)
    return None


def _open(path: Path) -> int:
    with _guard:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _held.add(descriptor)
    return descriptor


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        there, mine = path.stat(), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _close(descriptor: int) -> None:
    with _guard:
        if descriptor in _held:  # else it was a parent's, and this is its child
            _held.discard(descriptor)
            os.close(descriptor)


def _after_fork_in_child() -> None:
    """Let go of what the parent holds: its lock would outlive it here."""
    global _guard  # noqa: PLW0603 one lock a process
    _guard = threading.Lock()
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
