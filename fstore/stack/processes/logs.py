"""Logs of the children: appended by them, bounded by the supervisor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

LARGEST_BYTES = 10 * 1024 * 1024
KEPT_BYTES = 1024 * 1024


def open_append(path: Path) -> BinaryIO:
    """Open a log for appending, readable by its owner only.

    Every write goes to the end, even after a truncation.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    file = os.fdopen(descriptor, "ab")
    file.seek(0, os.SEEK_END)
    return file


def read_from(path: Path, offset: int, *, at_most: int = 256 * 1024) -> str:
    """Return the text from ``offset`` on, from the beginning when the log was cut meanwhile."""
    try:
        with path.open("rb") as file:
            file.seek(offset if offset <= path.stat().st_size else 0)
            return file.read(at_most).decode(errors="replace")
    except OSError:
        return ""


def tail(path: Path, *, lines: int = 15, at_most: int = 8192) -> str:
    """Return the last lines of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - at_most))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def keep_bounded(path: Path, *, largest: int = LARGEST_BYTES, kept: int = KEPT_BYTES) -> bool:
    """Cut a log that grew too large, leaving its newest part in ``<name>.1``; True when it was cut.

    The writer keeps its descriptor, so the file is emptied in place; lines written
    between the copy and the cut are lost.
    """
    try:
        size = path.stat().st_size
        if size <= largest:
            return False
        with path.open("rb") as file:
            file.seek(size - kept)
            newest = file.read(kept)
        older = path.with_suffix(path.suffix + ".1")
        with os.fdopen(os.open(older, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(newest)
        os.truncate(path, 0)
    except OSError:
        return False
    return True
