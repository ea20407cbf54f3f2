"""Writing so that what is written stays: the one way every file of the store comes into being, and is read whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from fstore.errors import StorageFull, StorageUnavailable
from fstore.storage.file_system import BINARY, sync_file, sync_folder, unlink
from fstore.storage.hashing import hasher_for

_CHUNK = 4 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


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
    """Make a folder unless it is there, and those above it, each durable in its own folder before anything lies in it."""
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
    """Make a folder; in one that hands on its group the new one hands on the group's rights too; raises as ``mkdir``.

    Trainers and workers that share a group but no user write into each other's folders,
    whatever their umask. Without the set-group-id bit above, the umask has the word.
    """
    folder.mkdir()
    above = folder.parent.stat()
    if above.st_mode & stat.S_ISGID:
        with suppress(OSError):  # it was made; who may not write in it is told so when it does
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | (above.st_mode & (stat.S_IRWXG | stat.S_ISGID)))


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Raise errors of the file system as ``StorageUnavailable``, or ``StorageFull`` where there is no room."""
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else StorageUnavailable
        raise kind(str(path), error.strerror or str(error)) from error
