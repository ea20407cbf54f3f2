"""What differs between the file systems of POSIX and of Windows, in one place.

Windows translates line ends unless it is told that a file is binary, renames over nothing
that exists, deletes nothing that is read-only, syncs no folder, and tells no time of the
last change that its owner could not have set.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

BINARY: int = getattr(os, "O_BINARY", 0)
"""For every ``os.open``: without it Windows changes bytes, and ends a file at the first 0x1A."""

_ON_POSIX = hasattr(os, "fchmod") and hasattr(os, "O_DIRECTORY")


def open_to_sync(path: Path) -> int:
    """Open a finished file for ``fsync``.

    That takes a descriptor that could write where the system is not POSIX.
    """
    return os.open(path, (os.O_RDONLY if _ON_POSIX else os.O_RDWR) | BINARY)


def sync_file(path: Path, *, mode: int | None = None) -> None:
    """Make a file's bytes durable, and give it a mode with them."""
    descriptor = open_to_sync(path)
    try:
        if mode is not None and _ON_POSIX:
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)  # an error here is final: the kernel forgets the pages, a second fsync would lie
    finally:
        os.close(descriptor)
    if mode is not None and not _ON_POSIX:
        path.chmod(mode)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    A file system whose journal does that by itself has no call for it.
    """
    if not _ON_POSIX:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unlink(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file, a read-only one too; raises ``OSError``."""
    try:
        path.unlink(missing_ok=missing_ok)
    except PermissionError:
        if _ON_POSIX:  # there a file's own mode never stands in the way
            raise
        before = path.stat().st_mode
        path.chmod(stat.S_IREAD | stat.S_IWRITE)
        try:
            path.unlink(missing_ok=missing_ok)
        except OSError:
            with suppress(OSError):  # somebody has it open: it stays, and stays read-only
                path.chmod(before)
            raise


def user() -> str:
    """Return what messages call the user of this process."""
    return f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
