"""The local cache: entries decoded once a host, then mapped by every process on it.

An entry's first use writes it as an uncompressed Arrow file below
``FEATURE_STORE_LOCAL_CACHE``; later hits need no decoding. Files are named like the
entry they come from (a name that is never used again), written under another name and
renamed, never changed, never truncated. Everything here is disposable: what is missing,
damaged or does not fit is read from the store.

A file ends in a trailer that names the entry's digest and the BLAKE3 of the file's own
bytes. A small file is read, and checked, at every hit. Of a large one every process maps
the same copy without a name (``fstore.storage.unnamed_files``), which it checks when it
maps it: nobody can change that later, or end those who use it by cutting it short,
whatever is done to the files that lie here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from fstore.model import Locator
from fstore.runtime import deadline
from fstore.runtime.fork_safety import forget_in_children
from fstore.storage.durable import read_whole
from fstore.storage.file_system import unlink
from fstore.storage.host_lock import alone_on_host
from fstore.storage.layout import TEMPORARY, new_token, shard_of
from fstore.storage.local_file import checked_table
from fstore.storage.local_file import write_local as _write
from fstore.storage.mapped_entry import MappedEntry
from fstore.storage.parquet import SMALL
from fstore.storage.unnamed_files import PATIENCE_S, Identity, identity_of, offer, open_unnamed

NOTE, LOCK = ".held", ".lock"
MOST_OPEN_FILES = 128  # of the thousand or so that a process may have; what is mapped beyond is not shared from here
PAUSE_AFTER_FAILURE_S = 30.0
LOW_WATERMARK = 0.9
STALE_TEMPORARY_S = 600.0
TOUCH_EVERY_S = 60.0
DOORS = 64
DOOR_S = 1.0
DOWNLOAD_S, SLOWEST_BYTES_PER_S = 10.0, 1e6


class LocalCache:
    """One folder of decoded entries on this host, bounded by ``max_bytes``.

    Safe between processes and threads.
    """

    def __init__(self, folder: Path, *, max_bytes: int, downloads_once: bool = False) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self.downloads_once = downloads_once
        self.forget_after_fork()
        forget_in_children(self)
        self._mapped: dict[str, MappedEntry] = {}
        self._retired: list[MappedEntry] = []
        self._mapped_bytes = 0
        self._open_files = 0
        self._paused_until = 0.0
        self._written_since_look = max_bytes  # the first promotion looks at what is there

    def forget_after_fork(self) -> None:
        """Make new locks; what the parent mapped is mapped in the child too."""
        self._guard = threading.Lock()
        self._doors = [threading.Lock() for _ in range(DOORS)]

    @contextmanager
    def one_at_a_time(self, key: str) -> Iterator[None]:
        """Let one thread of this process read an entry while others wait to find it here.

        They wait a second and their deadline at most.
        """
        door = self._doors[hash(key) % DOORS]
        entered = door.acquire(timeout=deadline.remaining(DOOR_S))
        try:
            yield
        finally:
            if entered:
                door.release()

    @contextmanager
    def one_reader(self, locator: Locator) -> Iterator[None]:
        """Let one read an entry while others wait; where that is a download, of all processes here.

        They wait as long as a download may take.
        """
        if not self.downloads_once:
            with self.one_at_a_time(locator.key):
                yield
            return
        patience_s = deadline.remaining(DOWNLOAD_S + locator.file_size_bytes / SLOWEST_BYTES_PER_S)
        with alone_on_host(self._path(locator).with_suffix(LOCK), patience_s=patience_s):
            yield

    def find(self, locator: Locator) -> MappedEntry | None:
        """Return an entry that lies here, or None; never raises for what is wrong here."""
        path = self._path(locator)
        try:
            identity = identity_of(path)
        except OSError:
            self._forget(path.name)
            return None
        with self._guard:
            known = self._mapped.get(path.name)
        if known is not None and known.identity == identity:
            _touch(path, known)
            return known
        self._forget(path.name)
        try:
            # No file of ours is larger; one with a hole could say that it is as large as it likes.
            found = self._open(path, identity, locator) if identity[1] <= self._max_bytes else None
        except OSError:
            return None
        if found is None:
            _unlink(path)
        return found

    def promote(self, locator: Locator, table: pa.Table) -> MappedEntry | None:
        """Add an entry that was read and verified, and return it mapped.

        None when this host has no room for it.
        """
        return self.find(locator) if self.add(locator, table) else None

    def add(self, locator: Locator, table: pa.Table) -> bool:
        """Write an entry that was read and verified; False when this host has no room for it."""
        if time.monotonic() < self._paused_until or table.nbytes > self._max_bytes // 2:
            return False
        path = self._path(locator)
        temporary = path.with_name(f"{TEMPORARY}{new_token()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, table, locator.content_digest)
            temporary.replace(path)
        except (OSError, pa.ArrowException) as error:
            with suppress(OSError):
                unlink(temporary, missing_ok=True)
            if isinstance(error, OSError):  # the folder is at fault, not this entry
                self._paused_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            return False
        self._written_since_look += table.nbytes
        if self._written_since_look > self._max_bytes // 20:
            self._written_since_look = 0
            self.shrink()
        return True

    def shrink(self) -> int:
        """Unlink what was longest not used until the folder is at 90 % of its bound.

        Returns the bytes freed.
        """
        found = []
        for path in (path for shard in _listed(self._folder) for path in _listed(shard)):
            with suppress(OSError):
                stats = path.stat()
                if path.suffix == NOTE:
                    if not path.with_suffix(".arrow").exists() and time.time() - stats.st_mtime > STALE_TEMPORARY_S:
                        unlink(path)
                    continue
                if path.name.startswith(TEMPORARY) or path.suffix == LOCK:
                    if time.time() - stats.st_mtime > STALE_TEMPORARY_S:
                        unlink(path)
                    continue
                used = [stats.st_atime, stats.st_mtime]
                with suppress(FileNotFoundError):
                    used.append(_note_of(path).stat().st_mtime)
                found.append((max(used), stats.st_size, path))
        total = sum(size for _, size, _ in found)
        freed = 0
        if total <= self._max_bytes:
            return 0
        for _, size, path in sorted(found):
            if total - freed <= self._max_bytes * LOW_WATERMARK:
                break
            with suppress(OSError):
                unlink(path)  # whoever has it mapped keeps its pages
                _note_of(path).unlink(missing_ok=True)
                freed += size
        return freed

    def _path(self, locator: Locator) -> Path:
        name = locator.path.rpartition("/")[2].removesuffix(".parquet")
        return Path(f"{self._folder}/{shard_of(locator.key)}/{name}.arrow")

    def _open(self, path: Path, identity: Identity, locator: Locator) -> MappedEntry | None:
        """Return what lies in a file if every byte is right, else None; raises ``OSError``."""
        now, size = time.monotonic(), identity[1]
        with self._guard:
            kept = self._mapped_bytes + size <= self._max_bytes
        if size <= SMALL or not kept:
            return _in_memory(path, identity, locator)
        try:
            file = open_unnamed(path, identity, _note_of(path), patience_s=deadline.remaining(PATIENCE_S))
            table = checked_table(file.map(), locator)
            if table is None and not file.is_new:
                file.close()
                file = open_unnamed(path, identity, _note_of(path), anew=True)
                table = checked_table(file.map(), locator)
        except OSError:  # no room for a copy, or somebody else's folder
            return _in_memory(path, identity, locator)
        if table is None:
            file.close()
            return None
        return self._keep(path, MappedEntry(table, identity, now, file, kept=True), size)

    def _keep(self, path: Path, mapped: MappedEntry, size: int) -> MappedEntry:
        # Frames over mapped pages need their base for as long as they live, which nobody can tell:
        # a base is never dropped, and once there is no room for more, frames are copies of their own.
        with self._guard:
            if path.name in self._mapped:
                self._retire(self._mapped[path.name])
            self._mapped[path.name] = mapped
            self._mapped_bytes += size
            self._open_files += 1
            if self._open_files > MOST_OPEN_FILES:
                self._close(mapped)
        return mapped

    def _forget(self, name: str) -> None:
        with self._guard:
            gone = self._mapped.pop(name, None)
            if gone is not None:
                self._retire(gone)

    def _retire(self, gone: MappedEntry) -> None:
        self._retired.append(gone)  # frames over its pages may still be in use
        self._close(gone)

    def _close(self, mapped: MappedEntry) -> None:
        """Stop holding the file for other processes; its pages stay mapped."""
        if mapped.file is not None:
            mapped.file.close()
            mapped.file = None
            self._open_files -= 1


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # cleared by somebody meanwhile, or no folder
        return []


def _in_memory(path: Path, identity: Identity, locator: Locator) -> MappedEntry | None:
    table = checked_table(read_whole(path), locator)
    if table is None:
        return None
    # Of a large file not itself, whose times tell those who mapped it whether it is what it was.
    used = path if identity[1] <= SMALL else _note_of(path)
    with suppress(OSError):
        if time.time() - used.stat().st_mtime > TOUCH_EVERY_S:
            os.utime(used)
    return MappedEntry(table, identity, time.monotonic())


def _touch(path: Path, known: MappedEntry) -> None:
    now, file = time.monotonic(), known.file
    if now - known.touched_at > TOUCH_EVERY_S:
        known.touched_at = now
        with suppress(OSError):
            if file is not None:
                offer(_note_of(path), file)
            else:
                os.utime(_note_of(path))


def _note_of(path: Path) -> Path:
    return path.with_suffix(NOTE)


def _unlink(path: Path) -> None:
    for gone in (path, _note_of(path)):
        with suppress(OSError):
            unlink(gone)
