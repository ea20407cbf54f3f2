"""Entries in a folder: written beside their place, synced, read back, renamed; never changed again."""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa

from fstore.errors import StorageUnavailable
from fstore.model import Locator
from fstore.projection import Tail, add_digests, with_digests
from fstore.storage import layout
from fstore.storage.durable import (
    copy_aside,
    holds_pieces,
    make_folder,
    make_one_folder,
    read_part,
    read_whole,
    seal,
    translated,
    write_pieces,
)
from fstore.storage.file_system import sync_folder, unlink
from fstore.storage.folder.listing import inside, is_there, list_folder, remove, remove_unless_touched
from fstore.storage.folder.root import FolderRoot
from fstore.storage.interface import ByteRange, Listing, Stored
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

# Over NFS a fresh file may be unknown to this host for a moment, and a handle may go stale.
_NOT_YET_VISIBLE_WAITS_S = (0.02, 0.2, 0.8)

T = TypeVar("T")
W = TypeVar("W")
C = TypeVar("C")


class FolderEntries(FolderRoot):
    """The entries of a store whose root is a folder; see ``EntryStore`` for what each method promises."""

    def publish(self, key: str, table: pa.Table, *, check: Callable[[pa.Table], None] = lambda _: None) -> Stored:
        """Write to a temporary file in the target folder, fsync, read back, rename, fsync of the folder.

        The bytes are read back for the digest: what it vouches for is what lies on disk.
        """

        def checked(temporary: Path) -> pa.Buffer:
            with translated(temporary):
                data = read_whole(temporary)
            check_written(data, check)
            return data

        def write(temporary: Path) -> Tail | None:
            write_result(table, temporary)
            return add_digests(temporary) if temporary.stat().st_size > SMALL else None

        path = layout.new_entry_path(key)
        tail, data = self._place(path, write, checked)
        return _stored(path, data, tail)

    def publish_bytes(self, key: str, data: pa.Buffer) -> Stored:
        """Write the bytes the same way."""
        whole, tail = (data.size > SMALL and with_digests(data)) or (data, None)
        path = layout.new_entry_path(key)
        self._place_pieces(path, [memoryview(whole)])
        return _stored(path, whole, tail)

    def publish_together(self, results: Sequence[tuple[str, pa.Buffer]]) -> list[Stored]:
        """Write the bytes of all of them the same way, into one file."""
        pack, paths, pieces = layout.new_pack_in_pieces(results)
        self._place_pieces(pack, pieces)
        return [_stored(path, data, None) for path, (_, data) in zip(paths, results, strict=True)]

    def _place_pieces(self, path: str, pieces: Sequence[memoryview]) -> None:
        def same(temporary: Path) -> None:
            with translated(temporary):
                is_same = holds_pieces(temporary, pieces)
            if not is_same:
                raise StorageUnavailable(str(self._root), "a file does not hold what was just written to it")

        self._place(path, lambda temporary: write_pieces(temporary, pieces), same)

    def _place(self, path: str, write: Callable[[Path], W], check: Callable[[Path], C]) -> tuple[W, C]:
        """Bring a file into being, and return what writing it gave, and what reading it back did."""
        final = self._root / path
        folder = final.parent
        temporary = folder / f"{layout.TEMPORARY}{layout.new_token()}"
        with translated(folder):
            make_folder(folder)
        try:
            with translated(folder):
                written = write(temporary)
                seal(temporary)
            checked = check(temporary)
            with translated(folder):
                temporary.replace(final)
        except BaseException:
            with suppress(OSError):
                unlink(temporary, missing_ok=True)
            raise
        with translated(folder):
            sync_folder(folder)
        return written, checked

    def read(self, found: Locator) -> pa.Table:
        """Return an entry's table, every byte verified."""
        return verified_table(found, self._bytes(found))

    def read_bytes(self, found: Locator) -> pa.Buffer:
        """Return an entry's bytes, verified."""
        return verified_bytes(found, self._bytes(found))

    def _bytes(self, found: Locator) -> pa.Buffer:
        packed = layout.packed_at(found.path)
        if packed is None:
            return self._present(found, read_whole)
        return self._present(found, lambda path: read_part(path, packed.offset, found.file_size_bytes))

    def read_ranges(self, found: Locator, ranges: Sequence[ByteRange]) -> list[pa.Buffer]:
        """Return parts of an entry's bytes, unverified."""
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > found.file_size_bytes:
                raise ValueError(f"bytes {offset} to {offset + length} of {found.file_size_bytes}")

        packed = layout.packed_at(found.path)
        first = 0 if packed is None else packed.offset

        def read(path: Path) -> list[pa.Buffer]:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size - first
                if (
                    fault := size_fault(found, size if packed is None else min(size, found.file_size_bytes))
                ) is not None:
                    raise fault.as_error()
                return [pa.py_buffer(_part(file, first + offset, length)) for offset, length in ranges]

        return self._present(found, read)

    def inspect(self, found: Locator, pace: Pace) -> tuple[Fault | None, int]:
        """Read an entry to its last byte in bounded memory."""
        packed = layout.packed_at(found.path)
        path = self._root / layout.file_of(found.path)
        with translated(path):
            try:
                if packed is not None:
                    data = read_part(path, packed.offset, found.file_size_bytes)
                    return inspect_file(found, io.BytesIO(data), data.size, pace)
                with path.open("rb") as file:
                    return inspect_file(found, file, os.fstat(file.fileno()).st_size, pace)
            except FileNotFoundError:
                return missing(found), 0

    def _present(self, found: Locator, read: Callable[[Path], T]) -> T:
        """Read a file that a row names, waiting a moment for one that this host does not know of yet."""
        path = self._root / layout.file_of(found.path)
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
        return is_there(self._root, layout.file_of(path))

    def delete(self, path: str) -> bool:
        """Unlink a file; who has it open keeps its bytes."""
        return layout.packed_at(path) is None and remove(self._root, path)

    def discard(self, path: str) -> None:
        """Unlink a file if that is possible now."""
        with suppress(OSError):
            if layout.packed_at(path) is None:
                unlink(inside(self._root, path), missing_ok=True)

    def quarantine(self, found: Locator) -> str | None:
        """Rename the file into ``quarantine``; of a pack copy the bytes of this entry."""
        packed = layout.packed_at(found.path)
        source = self._root / found.path
        target = f"{layout.QUARANTINE}/{source.name}"
        try:
            with suppress(FileExistsError):
                make_one_folder(self._root / layout.QUARANTINE)
            if packed is not None:
                copy_aside(self._root / packed.path, packed.offset, found.file_size_bytes, self._root / target)
            else:
                source.replace(self._root / target)
        except OSError:
            return None
        return target

    def list_shards(self, shards: Sequence[str] = SHARDS) -> Iterator[Listing]:
        """List one folder of entries after the other."""
        for shard in shards:
            yield list_folder(self._root, f"{layout.ENTRIES}/{shard}", layout.ENTRY_NAME)

    def list_packs(self) -> Iterator[Listing]:
        """List one folder of packs after the other."""
        for group in layout.PACK_GROUPS:
            yield list_folder(self._root, f"{layout.PACKS}/{group}", layout.PACK_NAME)

    def keys_in(self, pack: str) -> list[str] | None:
        """Read a pack's end."""
        with translated(pack):
            try:
                return layout.keys_in_pack(read_whole(self._root / pack))
            except FileNotFoundError:
                return None

    def list_quarantine(self) -> Listing:
        """List ``quarantine``."""
        return list_folder(self._root, layout.QUARANTINE, layout.ENTRY_NAME, moved=True)

    def drop_unfinished(self, file: FoundFile) -> bool:
        """Remove an unfinished file unless it was written to since it was listed."""
        return remove_unless_touched(self._root, file)


def _stored(path: str, data: pa.Buffer, tail: Tail | None) -> Stored:
    said = (tail.bytes, tail.digest) if tail is not None else (None, None)
    return Stored(path, data.size, hashed(data).hexdigest(), *said)


def _part(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
