"""Copies of files that nobody can cut short or write to, shared by the processes of a host.

Mapped memory is what its file is: somebody who truncates the file ends every process
that reads beyond the new end, and somebody who writes to it changes what was checked
before. A file that has no name can be opened by nobody who does not mean to. So what
is mapped is a copy whose name was taken away before its first byte was written.

Other processes of the same user find it by the process and the descriptor that hold
it, where the system tells (``/proc``), written in a note beside the original together
with the identity that the original had. Whoever
opens it so holds it from then on as well, and the note may name any of them. In another
container, or where there is no ``/proc``, processes have copies of their own; where files
keep their names (Windows) nothing is mapped.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import pyarrow as pa

from fstore.storage.layout import TEMPORARY, new_token

try:
    import fcntl
except ImportError:  # not a POSIX system: there no file can be without a name
    fcntl = None  # type: ignore[assignment]

PATIENCE_S = 20.0  # for another process that makes the copy; it may be stopped
_LOOK_EVERY_S = 0.005
_CHUNK = 64 << 20
_LONGEST_NOTE = 200


Identity = tuple[int, int, int, int]


def identity_of(path: Path) -> Identity:
    """Return what changes with every change to a file: inode, size and both times.

    Raises ``OSError``, also for what is no file itself: opening a pipe waits for whoever
    writes to it, and some devices have no end.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(slots=True)
class UnnamedFile:
    """An open file without a name; ``is_new`` says that this process made it from the original just now."""

    original: Identity
    descriptor: int
    device: int
    inode: int
    is_new: bool

    def map(self) -> pa.Buffer:
        """Return its bytes, mapped; the mapping outlives the descriptor."""
        try:
            with pa.memory_map(f"/proc/self/fd/{self.descriptor}") as mapped:
                return mapped.read_buffer()
        except FileNotFoundError:
            return pa.py_buffer(mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Close the descriptor, unless somebody closed it already and another file has its number now."""
        descriptor, self.descriptor = self.descriptor, -1
        with suppress(OSError):
            found = os.fstat(descriptor)
            if found.st_dev == self.device and _is_it(found, self.inode):
                os.close(descriptor)

    __del__ = close


def open_unnamed(
    path: Path, identity: Identity, note: Path, *, patience_s: float = PATIENCE_S, anew: bool = False
) -> UnnamedFile:
    """Open the copy of a file that the note tells of, or make one and write the note.

    The bytes may be damaged, as those of any file: check them. Raises ``OSError``, also
    when another process keeps the note for too long (many copies at once are worse than
    none), and where no file can lose its name while it is open.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "no file can be without a name here")
    with _alone_with(note, patience_s=patience_s) as open_note:
        if open_note is not None and not anew and (found := _open_noted(open_note, identity)) is not None:
            return found
        made = _copy(path, identity)
        if open_note is not None:
            _write(open_note, made)
        return made


def offer(note: Path, file: UnnamedFile) -> None:
    """Name this process in the note if the one that it names is gone, and mark the note as used.

    Raises ``OSError``.
    """
    with _alone_with(note, patience_s=0.0) as open_note:
        if open_note is not None:
            if (found := _open_noted(open_note, file.original)) is None:
                _write(open_note, file)
            else:
                found.close()
    os.utime(note)


@contextmanager
def _alone_with(note: Path, *, patience_s: float) -> Iterator[int | None]:
    """Give the open note to one process at a time, None if it is another user's.

    Raises ``BlockingIOError``.
    """
    try:
        descriptor = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        yield None
        return
    ends_at = time.monotonic() + patience_s
    held = False
    try:
        while not held:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                if time.monotonic() >= ends_at:
                    raise
                time.sleep(_LOOK_EVERY_S)
        yield descriptor
    finally:
        if held:  # said aloud: a child that was forked meanwhile has the descriptor too
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open_noted(note: int, identity: Identity) -> UnnamedFile | None:
    try:
        process, descriptor, inode, *original = map(int, os.pread(note, _LONGEST_NOTE, 0).split())
        if tuple(original) != identity:
            return None
        path = f"/proc/{process}/fd/{descriptor}"
        if not _is_it(Path(path).stat(), inode):  # before it is opened: it may be anything by now, a pipe for one
            return None
        mine = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    found = os.fstat(mine)
    if not _is_it(found, inode):
        os.close(mine)
        return None
    return UnnamedFile(identity, mine, found.st_dev, found.st_ino, is_new=False)


def _is_it(found: os.stat_result, inode: int) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 0 and found.st_ino == inode


def _copy(path: Path, identity: Identity) -> UnnamedFile:
    name = path.with_name(f"{TEMPORARY}{new_token()}")
    with path.open("rb", buffering=0) as source:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            name.unlink()
            with os.fdopen(descriptor, "wb", buffering=0, closefd=False) as target:
                _pour(source, target)
            made = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    return UnnamedFile(identity, descriptor, made.st_dev, made.st_ino, is_new=True)


def _pour(source: FileIO, target: FileIO) -> None:
    with suppress(AttributeError, OSError):  # not every system and file system can; what is left is copied below
        while os.copy_file_range(source.fileno(), target.fileno(), _CHUNK):
            pass
    shutil.copyfileobj(source, target)


def _write(note: int, file: UnnamedFile) -> None:
    os.ftruncate(note, 0)
    os.pwrite(note, " ".join(map(str, (os.getpid(), file.descriptor, file.inode, *file.original))).encode(), 0)
