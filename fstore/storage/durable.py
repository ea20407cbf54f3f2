"""Writing so that what is written stays.

The one way every file of the store comes into being, and is read whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

import pyarrow as pa

from fstore.errors import StorageFull, StorageUnavailable
from fstore.storage.file_system import BINARY, sync_file, sync_folder, unlink
from fstore.storage.hashing import hasher_for

_CHUNK = 4 << 20
WRITTEN_AT_ONCE = 256 << 10
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def read_whole(path: Path) -> pa.Buffer:
    """Return the bytes of a file, read into memory of Arrow's pool.

    The pool keeps what is given back: in fresh memory every page would cost a fault,
    which for some hundred megabytes takes longer than reading them.
    """
    with path.open("rb", buffering=0) as file:
        buffer = pa.allocate_buffer(os.fstat(file.fileno()).st_size)
        free = memoryview(buffer)
        while free and (count := file.readinto(free)):
            free = free[count:]
        if not free and file.read(1):  # a file system that learns of the size late
            file.seek(0)
            return pa.py_buffer(file.read())
    return buffer.slice(0, buffer.size - len(free))


def read_part(path: Path, offset: int, length: int) -> pa.Buffer:
    """Return some bytes of a file, fewer where it ends before."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        buffer = pa.allocate_buffer(max(0, min(length, os.fstat(file.fileno()).st_size - offset)))
        free = memoryview(buffer)
        while free and (count := file.readinto(free)):
            free = free[count:]
    return buffer.slice(0, buffer.size - len(free))


class OpenFile:
    """A file that is open for as long as somebody reads parts of it; raises ``OSError``."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | BINARY | getattr(os, "O_CLOEXEC", 0))

    def __call__(self, offset: int, length: int) -> pa.Buffer:
        """Return some bytes, fewer where the file ends before."""
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        data = b""
        left = min(length, os.fstat(self._descriptor).st_size - offset)
        while left > len(data) and (more := os.read(self._descriptor, left - len(data))):
            data += more
        return pa.py_buffer(data)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def write_pieces(path: Path, pieces: Sequence[memoryview]) -> None:
    """Write a file piece by piece, which spares the memory of the whole; raises ``OSError``."""
    with path.open("wb", buffering=WRITTEN_AT_ONCE) as file:
        file.writelines(pieces)


def holds_pieces(path: Path, pieces: Sequence[memoryview]) -> bool:
    """Tell whether a file holds these pieces and no more, by reading it again; raises ``OSError``."""
    memory = memoryview(bytearray(max(map(len, pieces), default=0) + 1))
    with path.open("rb", buffering=0) as file:
        return all(_next_is(file, piece, memory) for piece in pieces) and not file.read(1)


def _next_is(file: FileIO, piece: memoryview, memory: memoryview) -> bool:
    left = memory[: len(piece)]
    while left and (count := file.readinto(left)):
        left = left[count:]
    return not left and pa.py_buffer(memory[: len(piece)]).equals(pa.py_buffer(piece))


def seal(path: Path) -> None:
    """Make a file durable and read-only."""
    sync_file(path, mode=0o440)


def file_digest(descriptor: int) -> tuple[str, int]:
    """Read an open file from where it stands to its end, and return digest and size of that."""
    size = 0
    hasher = hasher_for(os.fstat(descriptor).st_size)
    while chunk := os.read(descriptor, _CHUNK):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def copy_aside(source: Path, offset: int, length: int, target: Path) -> None:
    """Copy some bytes of a file into one of their own; raises ``OSError``."""
    try:
        target.write_bytes(memoryview(read_part(source, offset, length)))
    except OSError:
        with suppress(OSError):
            unlink(target, missing_ok=True)
        raise


def write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o440)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder unless it is there, and those above it.

    Each is durable in its own folder before anything lies in it.
    """
    try:
        make_one_folder(folder)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folder(folder.parent)
        with suppress(FileExistsError):
            make_one_folder(folder)
    try:
        sync_folder(folder.parent)
    except OSError:
        with suppress(OSError):
            folder.rmdir()  # whoever finds it would rely on it
        raise


def make_one_folder(folder: Path) -> None:
    """Make a folder; in one that hands on its group the new one hands on the group's rights too.

    Raises as ``mkdir``. Trainers and workers that share a group but no user write into each other's folders,
    whatever their umask. Without the set-group-id bit above, the umask has the word.
    """
    folder.mkdir()
    above = folder.parent.stat()
    if above.st_mode & stat.S_ISGID:
        with suppress(OSError):  # it was made; who may not write in it is told so when it does
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | (above.st_mode & (stat.S_IRWXG | stat.S_ISGID)))


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Raise errors of the file system as ``StorageUnavailable``.

    ``StorageFull`` where there is no room.
    """
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in FULL else StorageUnavailable
        raise kind(str(path), error.strerror or str(error)) from error
