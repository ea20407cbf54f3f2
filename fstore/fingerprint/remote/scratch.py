"""Folders of this host for copies of objects.

One whose process was killed is removed by the next that needs one.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # what a killed process leaves stays
    fcntl = None  # type: ignore[assignment]

from fstore.errors import StorageFull, StorageUnavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_LOCK = ".held"


class Scratch:
    """A private folder for as long as this object lives, or its process."""

    def __init__(self, base: Path | None) -> None:
        self._base = base or Path(tempfile.gettempdir())
        with self.told():
            home = _home(self._base)
            _sweep(home)
            self.folder = Path(tempfile.mkdtemp(dir=home, prefix="s-"))
            # By the name that is looked for it appears only when it is held: one that looks in between removes nothing.
            beginning = self.folder / f"{_LOCK}-soon"
            descriptor = os.open(beginning, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            beginning.rename(self.folder / _LOCK)
        self.close = weakref.finalize(self, _remove, self.folder, descriptor, os.getpid())

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell of a disk that is full or not to be written as the other places do."""
        try:
            yield
        except OSError as error:
            kind = StorageFull if error.errno in _FULL else StorageUnavailable
            raise kind(str(self._base), f"no room for a copy of raw data: {error.strerror or error}") from error


def _home(base: Path) -> Path:
    """Return this user's folder for such folders; somebody else's by the same name is left alone."""
    base.mkdir(parents=True, exist_ok=True)
    home = base / f"fstore-scratch-{os.geteuid()}"
    with suppress(FileExistsError):
        home.mkdir(mode=0o700)
    found = home.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return home
    return Path(tempfile.mkdtemp(dir=base, prefix="fstore-scratch-"))


def _sweep(home: Path) -> None:
    """Remove folders that nobody holds: the kernel gave their locks back."""
    for folder in home.glob("s-*") if fcntl is not None else ():
        with suppress(OSError):
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _remove(folder: Path, descriptor: int, owner: int) -> None:
    if os.getpid() == owner:  # a forked child has this to call, too
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            os.close(descriptor)
