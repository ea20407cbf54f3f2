"""Entries in a folder: written beside their place, synced, read back, renamed; never changed again."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa

from fstore.errors import StorageUnavailable, StoreMismatch
from fstore.model import Locator
from fstore.projection import Tail, add_digests, with_digests
from fstore.storage import layout
from fstore.storage.durable import make_folder, make_one_folder, read_whole, seal, translated, write_durably
from fstore.storage.file_system import sync_folder, unlink, user
from fstore.storage.folder.listing import inside, is_there, list_folder, remove, remove_unless_touched, time_of
from fstore.storage.interface import ByteRange, Capabilities, Condition, Listing, Space, Stored
from fstore.storage.layout import SHARDS, FoundFile
from fstore.storage.parquet import SMALL, write_result
from fstore.storage.verify import (
    Fault,
    Pace,
    check_written,
    hashed,
    inspect_file,
    missing,
    size_fault,
    verified_bytes,
    verified_table,
)

CLOCK_STEP_S = 0.02  # the kernel's ticks, by which file systems that do not ask a server keep time
# Over NFS a fresh file may be unknown to this host for a moment, and a handle may go stale.
_NOT_YET_VISIBLE_WAITS_S = (0.02, 0.2, 0.8)

T = TypeVar("T")


class FolderEntries:
    """The entries of a store whose root is a folder; see ``EntryStore`` for what each method promises."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.capabilities = Capabilities(location=str(root), folder=root, clock_step_s=CLOCK_STEP_S)

    def create(self, store_id: str) -> None:
        """Make the folders and write the id, unless they are there."""
        root = self._root
        with translated(root):
            for folder in (layout.ENTRIES, layout.STAGED_RAW, layout.STAGED_RESULTS, layout.QUARANTINE):
                make_folder(root / folder)
            entries = root / layout.ENTRIES
            for shard in SHARDS:  # all at once, so that no publish has to make one durable first
                with suppress(FileExistsError):
                    make_one_folder(entries / shard)
            sync_folder(entries)
            marker = root / layout.STORE_ID
            if not marker.exists():
                mine = marker.with_name(f"{layout.TEMPORARY}{uuid.uuid4().hex}")
                write_durably(mine, store_id.encode())
                with suppress(FileExistsError):  # two that start at once: the first one's word counts
                    os.link(mine, marker)
                unlink(mine)
                sync_folder(root)
        self.check_identity(store_id)

    def identity(self) -> str:
        """Return the store's id, empty when it has none."""
        try:
            return (self._root / layout.STORE_ID).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StorageUnavailable(str(self._root), str(error)) from error

    def check_identity(self, store_id: str) -> None:
        """Make sure that the store has this id."""
        if (found := self.identity()) != store_id:
            raise StoreMismatch(str(self._root), found, store_id)

    def publish(self, key: str, table: pa.Table, *, check: Callable[[pa.Table], None] = lambda _: None) -> Stored:
        """Write to a temporary file in the target folder, fsync, read back, rename, fsync of the folder.

        The bytes are read back for the digest: what it vouches for is what lies on disk.
        """

        def checked(data: pa.Buffer) -> None:
            check_written(data, check)

        def write(temporary: Path) -> Tail | None:
            write_result(table, temporary)
            return add_digests(temporary) if temporary.stat().st_size > SMALL else None

        return self._publish(key, write, checked)

    def publish_bytes(self, key: str, data: pa.Buffer) -> Stored:
        """Write the bytes the same way."""

        whole, tail = (data.size > SMALL and with_digests(data)) or (data, None)

        def write(temporary: Path) -> Tail | None:
            with temporary.open("wb") as file:
                file.write(memoryview(whole))
            return tail

        def same(back: pa.Buffer) -> None:
            if not back.equals(whole):
                raise StorageUnavailable(str(self._root), "a file does not hold what was just written to it")

        return self._publish(key, write, same)

    def _publish(self, key: str, write: Callable[[Path], Tail | None], check: Callable[[pa.Buffer], None]) -> Stored:
        path = layout.new_entry_path(key)
        final = self._root / path
        folder = final.parent
        temporary = folder / f"{layout.TEMPORARY}{layout.new_token()}"
        with translated(folder):
            make_folder(folder)
        try:
            with translated(folder):
                tail = write(temporary)
                seal(temporary)
                data = read_whole(temporary)
            check(data)
            said = (tail.bytes, tail.digest) if tail is not None else (None, None)
            stored = Stored(path, data.size, hashed(data).hexdigest(), *said)
            with translated(folder):
                temporary.replace(final)
        except BaseException:
            with suppress(OSError):
                unlink(temporary, missing_ok=True)
            raise
        with translated(folder):
            sync_folder(folder)
        return stored

    def read(self, found: Locator) -> pa.Table:
        """Return an entry's table, every byte verified."""
        return verified_table(found, self._present(found, read_whole))

    def read_bytes(self, found: Locator) -> pa.Buffer:
        """Return an entry's bytes, verified."""
        return verified_bytes(found, self._present(found, read_whole))

    def read_ranges(self, found: Locator, ranges: Sequence[ByteRange]) -> list[pa.Buffer]:
        """Return parts of an entry's bytes, unverified."""
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > found.file_size_bytes:
                raise ValueError(f"bytes {offset} to {offset + length} of {found.file_size_bytes}")

        def read(path: Path) -> list[pa.Buffer]:
            with path.open("rb") as file:
                if (fault := size_fault(found, os.fstat(file.fileno()).st_size)) is not None:
                    raise fault.as_error()
                return [pa.py_buffer(_part(file, wanted)) for wanted in ranges]

        return self._present(found, read)

    def inspect(self, found: Locator, pace: Pace) -> tuple[Fault | None, int]:
        """Read an entry to its last byte in bounded memory."""
        path = self._root / found.path
        with translated(path):
            try:
                with path.open("rb") as file:
                    return inspect_file(found, file, os.fstat(file.fileno()).st_size, pace)
            except FileNotFoundError:
                return missing(found), 0

    def _present(self, found: Locator, read: Callable[[Path], T]) -> T:
        """Read a file that a row names, waiting a moment for one that this host does not know of yet."""
        path = self._root / found.path
        cause: OSError
        for wait_s in (*_NOT_YET_VISIBLE_WAITS_S, None):
            try:
                return read(path)
            except FileNotFoundError as error:
                fault, cause = missing(found), error
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise StorageUnavailable(str(path), str(error)) from error
                fault, cause = missing(found, "stale handle"), error
            if wait_s is not None:
                time.sleep(wait_s)
        raise fault.as_error() from cause

    def exists(self, path: str) -> bool:
        """Return whether a file is there now."""
        return is_there(self._root, path)

    def delete(self, path: str) -> bool:
        """Unlink a file; who has it open keeps its bytes."""
        return remove(self._root, path)

    def discard(self, path: str) -> None:
        """Unlink a file if that is possible now."""
        with suppress(OSError):
            unlink(inside(self._root, path), missing_ok=True)

    def quarantine(self, found: Locator) -> str | None:
        """Rename the file into ``quarantine``."""
        source = self._root / found.path
        target = f"{layout.QUARANTINE}/{source.name}"
        try:
            with suppress(FileExistsError):
                make_one_folder(self._root / layout.QUARANTINE)
            source.replace(self._root / target)
        except OSError:
            return None
        return target

    def list_shards(self, shards: Sequence[str] = SHARDS) -> Iterator[Listing]:
        """List one folder of entries after the other."""
        for shard in shards:
            yield list_folder(self._root, f"{layout.ENTRIES}/{shard}", layout.ENTRY_NAME)

    def list_quarantine(self) -> Listing:
        """List ``quarantine``."""
        return list_folder(self._root, layout.QUARANTINE, layout.ENTRY_NAME, moved=True)

    def drop_unfinished(self, file: FoundFile) -> bool:
        """Remove an unfinished file unless it was written to since it was listed."""
        return remove_unless_touched(self._root, file)

    def now_ns(self) -> int:
        """Return the time of the folder's file system."""
        return time_of(self._root)

    def space(self) -> Space | None:
        """Return the room on the folder's disk."""
        try:
            found = shutil.disk_usage(self._root)
        except OSError:
            return None
        return Space(found.free, found.total)

    def diagnose(self) -> Iterator[Condition]:
        """Tell whether the folder is there and who may write in it."""
        root = self._root
        try:
            self.now_ns()
            mode = root.stat().st_mode
        except (OSError, StorageUnavailable) as error:
            if not os.path.exists(root):  # noqa: PTH110 never raises
                advice = "run 'fstore migrate', or 'fstore up' for a local stack"
                yield Condition("fault", f"{root} does not exist", advice)
            else:
                yield Condition("fault", str(error), f"give this user the right to write in {root}")
            return
        if mode & 0o002 and os.name == "posix":  # elsewhere the mode says nothing of others
            yield Condition("warning", f"everybody may write in {root}", f"chmod o-w {root}")
        else:
            yield Condition("ok", f"{root} can be written by {user()}")


def _part(file: BinaryIO, wanted: ByteRange) -> bytes:
    offset, length = wanted
    file.seek(offset)
    return file.read(length)
