"""The local tier: entries decoded once a host, then mapped by every process on it.

An entry's first use writes it as an uncompressed Arrow file below
``FEATURE_STORE_LOCAL_CACHE``; later hits map that file read-only, so that a hit costs
no decoding and twenty trainers share one copy of the pages. Files are named like the
entry they come from (a name that is never used again), written under another name and
renamed, never changed, never truncated. Everything here is disposable: what is missing,
damaged or does not fit is read from the store.

A file ends in a trailer that names the entry's digest and the BLAKE3 of the file's own
bytes. A process checks both when it first maps a file, and again whenever the file's
inode, size or time of change is not what it was.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from fstore import deadline, results
from fstore.durable import arrow_bytes, write_arrow
from fstore.forks import forget_in_children
from fstore.hashing import hasher_for
from fstore.model import Locator

_MAGIC = b"fstoreL1"
_TRAILER = len(_MAGIC) + 64
TEMPORARY = ".tmp-"
SMALL = 1 << 20  # bytes; below, a copy is as quick and nothing has to be kept for it
PAUSE_AFTER_FAILURE_S = 30.0
LOW_WATERMARK = 0.9
STALE_TEMPORARY_S = 600.0
TOUCH_EVERY_S = 60.0
DOORS = 64
DOOR_S = 1.0

Identity = tuple[int, int, int]


@dataclass(slots=True)
class Mapped:
    """An entry in mapped memory: the table as it is, and frames over the same pages.

    A base is never handed out itself. Under copy-on-write every frame that is
    handed out shares its pages and copies before it writes, as long as the base lives;
    without it a write would meet read-only memory. So only what the tier keeps for
    good (``kept``) has one.
    """

    table: pa.Table
    identity: Identity
    touched_at: float
    kept: bool = False
    tried: bool = False
    bases: list[pd.DataFrame] = field(default_factory=list)

    def frame(self) -> pd.DataFrame:
        """Return a frame over the mapped pages where all of it can lie there, else a copy; changing it changes no other."""
        if self.kept and not self.tried and self.table.nbytes > SMALL:
            base = results.decode_over(self.table)
            self.bases += [] if base is None else [base]  # two threads at once: both are kept
            self.tried = True
        return results.hand_out(self.bases[0]) if self.bases else results.decode(self.table)


class LocalTier:
    """One folder of decoded entries on this host, bounded by ``max_bytes``; safe between processes and threads."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self.forget_after_fork()
        forget_in_children(self)
        self._mapped: dict[str, Mapped] = {}
        self._retired: list[Mapped] = []
        self._mapped_bytes = 0
        self._paused_until = 0.0
        self._written_since_look = max_bytes  # the first promotion looks at what is there

    def forget_after_fork(self) -> None:
        """Make new locks; what the parent mapped is mapped in the child too."""
        self._guard = threading.Lock()
        self._doors = [threading.Lock() for _ in range(DOORS)]

    @contextmanager
    def one_at_a_time(self, key: str) -> Iterator[None]:
        """Let one thread of this process read an entry while others wait to find it here, a second and their deadline at most."""
        door = self._doors[hash(key) % DOORS]
        entered = door.acquire(timeout=deadline.remaining(DOOR_S))
        try:
            yield
        finally:
            if entered:
                door.release()

    def find(self, locator: Locator) -> Mapped | None:
        """Return an entry that lies here, or None; never raises for what is wrong here."""
        path = self._path(locator)
        try:
            identity = _identity(path)
        except OSError:
            self._forget(path.name)
            return None
        with self._guard:
            known = self._mapped.get(path.name)
        if known is not None and known.identity == identity:
            self._touch(path, known)
            return known
        self._forget(path.name)
        table = _map(path, locator)
        if table is None:
            with suppress(OSError):
                path.unlink()
            return None
        return self._keep(path, identity, table)

    def promote(self, locator: Locator, table: pa.Table) -> Mapped | None:
        """Add an entry that was read and verified, and return it mapped; None when this host has no room for it."""
        return self.find(locator) if self.add(locator, table) else None

    def add(self, locator: Locator, table: pa.Table) -> bool:
        """Write an entry that was read and verified; False when this host has no room for it."""
        if time.monotonic() < self._paused_until or table.nbytes > self._max_bytes // 2:
            return False
        path = self._path(locator)
        temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:16]}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(temporary, table, locator.content_digest)
            temporary.rename(path)
        except (OSError, pa.ArrowException) as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):  # the folder is at fault, not this entry
                self._paused_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            return False
        self._written_since_look += table.nbytes
        if self._written_since_look > self._max_bytes // 20:
            self._written_since_look = 0
            self.shrink()
        return True

    def shrink(self) -> int:
        """Unlink what was longest not used until the folder is at 90 % of its bound, and return the bytes freed."""
        found = []
        for path in self._folder.glob("*/*"):
            with suppress(OSError):
                stats = path.stat()
                if path.name.startswith(TEMPORARY):
                    if time.time() - stats.st_mtime > STALE_TEMPORARY_S:
                        path.unlink()
                    continue
                found.append((max(stats.st_atime, stats.st_mtime), stats.st_size, path))
        total = sum(size for _, size, _ in found)
        freed = 0
        if total <= self._max_bytes:
            return 0
        for _, size, path in sorted(found):
            if total - freed <= self._max_bytes * LOW_WATERMARK:
                break
            with suppress(OSError):
                path.unlink()  # whoever has it mapped keeps its pages
                freed += size
        return freed

    def _path(self, locator: Locator) -> Path:
        name = locator.path.rpartition("/")[2].removesuffix(".parquet")
        return Path(f"{self._folder}/{locator.key[:2]}/{name}.arrow")

    def _keep(self, path: Path, identity: Identity, table: pa.Table) -> Mapped:
        mapped = Mapped(table, identity, time.monotonic())
        with self._guard:
            # Frames over mapped pages need their base for as long as they live, which nobody can tell:
            # a base is never dropped, and once there is no room for more, frames are copies of their own.
            mapped.kept = self._mapped_bytes + table.nbytes <= self._max_bytes
            if mapped.kept:
                if path.name in self._mapped:
                    self._retired.append(self._mapped[path.name])
                self._mapped[path.name] = mapped
                self._mapped_bytes += table.nbytes
        return mapped

    def _forget(self, name: str) -> None:
        with self._guard:
            gone = self._mapped.pop(name, None)
            if gone is not None:
                self._retired.append(gone)  # frames over its pages may still be in use

    def _touch(self, path: Path, known: Mapped) -> None:
        now = time.monotonic()
        if now - known.touched_at > TOUCH_EVERY_S:
            known.touched_at = now
            with suppress(OSError):
                stats = path.stat()
                os.utime(path, ns=(time.time_ns(), stats.st_mtime_ns))


def _identity(path: Path) -> Identity:
    stats = path.stat()
    return stats.st_ino, stats.st_size, stats.st_mtime_ns


def _write(path: Path, table: pa.Table, content_digest: str) -> None:
    whole = table.combine_chunks()  # one chunk a column: what maps to one array without a copy
    head = _MAGIC + bytes.fromhex(content_digest)
    if table.nbytes <= SMALL:
        body = arrow_bytes(whole)
        path.write_bytes(b"".join((body, head, _digest(body))))
    else:
        write_arrow(whole, path)
        with pa.memory_map(str(path)) as written:
            digest = _digest(written.read_buffer())
        with path.open("ab") as file:
            file.write(head + digest)
    path.chmod(0o440)


def _map(path: Path, locator: Locator) -> pa.Table | None:
    try:
        with pa.memory_map(str(path)) as mapped:
            whole = mapped.read_buffer()
        body, trailer = whole.slice(0, whole.size - _TRAILER), whole.slice(whole.size - _TRAILER).to_pybytes()
        expected = _MAGIC + bytes.fromhex(locator.content_digest) + _digest(body)
        if trailer != expected:
            return None
        table = pa.ipc.open_file(pa.BufferReader(body)).read_all()
    except (OSError, ValueError, pa.ArrowException):
        return None
    return table if table.num_rows == locator.rows else None


def _digest(buffer: pa.Buffer) -> bytes:
    digest: bytes = hasher_for(buffer.size).update(memoryview(buffer)).digest()
    return digest
