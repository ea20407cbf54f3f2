"""Entries in a bucket: put under names that were never used, read verified, found again by listing."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
from blake3 import blake3

from fstore.errors import EntryCorrupt, StorageUnavailable
from fstore.model import Locator
from fstore.projection import Tail, add_digests, with_digests
from fstore.s3 import Fetched, ObjectChanged, ObjectFacts, ObjectMissing
from fstore.storage import layout
from fstore.storage.bucket.listing import list_prefix, list_shards, unfinished_of
from fstore.storage.bucket.packs import copy_aside, list_packs, packed_bytes
from fstore.storage.bucket.ranges import read_parts
from fstore.storage.bucket.root import BucketRoot
from fstore.storage.durable import translated
from fstore.storage.hashing import hasher_for
from fstore.storage.interface import ByteRange, Listing, Stored
from fstore.storage.layout import SHARDS, FoundFile
from fstore.storage.parquet import SMALL, result_bytes, write_result
from fstore.storage.verify import (
    Fault,
    FaultKind,
    Pace,
    check_written,
    hashed,
    inspect_file,
    missing,
    size_fault,
    verified_bytes,
    verified_table,
)

# A new name is readable once it was acknowledged, of the weakest stores too.
_NOT_YET_VISIBLE_WAITS_S = (0.02, 0.2, 0.8)
_SCRATCH_FROM = 16 << 20

T = TypeVar("T")


class BucketEntries(BucketRoot):
    """The entries of a store whose root is a bucket; see ``EntryStore`` for what each method promises."""

    def publish(self, key: str, table: pa.Table, *, check: Callable[[pa.Table], None] = lambda _: None) -> Stored:
        """Encode, check by decoding the very bytes that are sent, put."""
        tails: list[Tail | None] = []

        def to_file(table: pa.Table, path: Path) -> None:
            write_result(table, path)
            tails.append(add_digests(path))

        with self._place.encoded(table, result_bytes, to_file) as data:
            whole, tail = (data, tails[0]) if tails else _with_digests(data)
            check_written(whole, check)
            return self._put(key, whole, tail)

    def publish_bytes(self, key: str, data: pa.Buffer) -> Stored:
        """Put bytes under a new name; an acknowledged one is durable."""
        return self._put(key, *_with_digests(data))

    def _put(self, key: str, data: pa.Buffer, tail: Tail | None) -> Stored:
        said = (tail.bytes, tail.digest) if tail is not None else (None, None)
        stored = Stored(layout.new_entry_path(key), data.size, hashed(data).hexdigest(), *said)
        self._send(stored.path, data)
        return stored

    def publish_together(self, results: Sequence[tuple[str, pa.Buffer]]) -> list[Stored]:
        """Put all of them by one request."""
        pack, paths, whole = layout.new_pack(results)
        self._send(pack, whole)
        return [
            Stored(path, data.size, hashed(data).hexdigest()) for path, (_, data) in zip(paths, results, strict=True)
        ]

    def _send(self, path: str, data: pa.Buffer) -> None:
        self._place.send(path, data)
        if self._place.read_back:
            self._compare(path, data)

    def _compare(self, path: str, data: pa.Buffer) -> None:
        """Read a file that was just put, where the store checks no signature of what it was sent."""
        try:
            found = self._place.fetch(path, data.size, fresh=True).data
        except ObjectMissing as error:
            raise StorageUnavailable(self._place.location, "a file that was just put is not there") from error
        if not found.equals(data):
            self.discard(path)
            raise StorageUnavailable(self._place.location, "a file does not hold what was just put into it")

    def read(self, found: Locator) -> pa.Table:
        """Return an entry's table, by one request unless it is large."""
        return self._verified(found, verified_table)

    def read_bytes(self, found: Locator) -> pa.Buffer:
        """Return an entry's bytes."""
        return self._verified(found, verified_bytes)

    def _verified(self, found: Locator, judge: Callable[[Locator, pa.Buffer, blake3], T]) -> T:
        """Read and judge; once more over a new connection, for it may have been the wire."""
        try:
            return judge(found, *self._bytes(found, fresh=False))
        except EntryCorrupt as error:
            if error.fault.startswith(FaultKind.MISSING):
                raise
        return judge(found, *self._bytes(found, fresh=True))

    def _bytes(self, found: Locator, *, fresh: bool) -> tuple[pa.Buffer, blake3]:
        """Return an entry's bytes, and the hasher that saw them arrive: others were on their way meanwhile."""
        if (packed := layout.packed_at(found.path)) is not None:
            part = self._present(found, lambda: packed_bytes(self._place, packed, found.file_size_bytes, fresh=fresh))
            return part, hashed(part)
        size = found.file_size_bytes

        def read() -> tuple[Fetched, blake3]:
            hasher = blake3() if size <= _SCRATCH_FROM else hasher_for(size)
            return self._place.fetch(found.path, size, fresh=fresh, sink=hasher.update), hasher

        fetched, hasher = self._present(found, read)
        if (fault := size_fault(found, fetched.facts.size_bytes)) is not None:
            raise fault.as_error()
        return fetched.data, hasher

    def _present(self, found: Locator, read: Callable[[], T]) -> T:
        """Read a file that a row names; only what the store says is missing is, and not at once."""
        for wait_s in _NOT_YET_VISIBLE_WAITS_S:
            with suppress(ObjectMissing):
                return read()
            time.sleep(wait_s)
        try:
            return read()
        except ObjectMissing as error:
            raise missing(found).as_error() from error

    def read_ranges(self, found: Locator, ranges: Sequence[ByteRange]) -> list[pa.Buffer]:
        """Return parts of an entry's bytes, unverified, neighbours by one request."""
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > found.file_size_bytes:
                raise ValueError(f"bytes {offset} to {offset + length} of {found.file_size_bytes}")
        if not ranges:
            return []

        packed = layout.packed_at(found.path)
        if packed is not None:
            ranges = [ByteRange(packed.offset + offset, length) for offset, length in ranges]

        def read() -> tuple[list[pa.Buffer], ObjectFacts]:
            try:
                return read_parts(self._client, self._place.key(layout.file_of(found.path)), ranges)
            except ObjectChanged as error:
                raise StorageUnavailable(self._place.location, f"{found.path}: {error.reason}") from error

        parts, facts = self._present(found, read)
        size = facts.size_bytes
        if packed is not None:
            size = min(size - packed.offset, found.file_size_bytes)
        if (fault := size_fault(found, size)) is not None:
            raise fault.as_error()
        return parts

    def inspect(self, found: Locator, pace: Pace) -> tuple[Fault | None, int]:
        """Read an entry by one request, through a file without a name if it is large."""
        fault, read = self._inspect(found, pace, fresh=False)
        if fault is None or fault.kind is FaultKind.MISSING:
            return fault, read
        again, read_again = self._inspect(found, pace, fresh=True)
        return again, read + read_again

    def _inspect(self, found: Locator, pace: Pace, *, fresh: bool) -> tuple[Fault | None, int]:
        if (packed := layout.packed_at(found.path)) is not None:
            try:
                data = packed_bytes(self._place, packed, found.file_size_bytes, fresh=fresh)
            except ObjectMissing:
                return missing(found), 0
            return inspect_file(found, io.BytesIO(data), data.size, pace)
        with self._scratch(found.file_size_bytes) as file:

            def take(piece: memoryview) -> None:
                file.write(piece)
                pace.took(len(piece))

            key = self._place.key(found.path)
            try:
                facts = self._client.stream(key, take, expected_bytes=found.file_size_bytes, fresh=fresh)
            except ObjectMissing:
                return missing(found), 0
            except ObjectChanged as error:
                raise StorageUnavailable(self._place.location, f"{found.path}: {error.reason}") from error
            if (fault := size_fault(found, facts.size_bytes)) is not None:
                return fault, 0
            file.seek(0)
            return inspect_file(found, file, facts.size_bytes, Pace(None))

    def _scratch(self, size_bytes: int) -> BinaryIO:
        if size_bytes <= _SCRATCH_FROM:
            return io.BytesIO()
        with translated(self._place.scratch or tempfile.gettempdir()):
            return tempfile.TemporaryFile(dir=self._place.scratch)

    def exists(self, path: str) -> bool:
        """Return whether the store shows a file under that name."""
        try:
            self._client.head(self._place.key(layout.file_of(path)))
        except ObjectMissing:
            return False
        return True

    def delete(self, path: str) -> bool:
        """Delete a file; the store does not tell whether there was one."""
        if layout.packed_at(path) is not None:
            return False
        self._client.delete(self._place.key(path))
        return True

    def discard(self, path: str) -> None:
        """Delete a file if that is possible now."""
        with suppress(StorageUnavailable):
            self.delete(path)

    def quarantine(self, found: Locator) -> str | None:
        """Copy the file into ``quarantine`` and delete it.

        Where it cannot be copied it stays, and its row hides it.
        """
        target = f"{layout.QUARANTINE}/{found.path.rpartition('/')[2]}"
        if (packed := layout.packed_at(found.path)) is not None:
            return copy_aside(self._place, packed, found.file_size_bytes, target)
        source_key, target_key = self._place.key(found.path), self._place.key(target)
        try:
            lies_there = self._client.head(source_key)
            self._client.copy(source_key, target_key, pin=lies_there)
            if self._client.head(target_key).size_bytes != lies_there.size_bytes:
                return None
            self._client.delete(source_key)
        except (StorageUnavailable, ObjectMissing, ObjectChanged):
            return None
        return target

    def list_shards(self, shards: Sequence[str] = SHARDS) -> Iterator[Listing]:
        """List by first digit of the key, 16 streams at once where all are asked for."""
        return list_shards(self._place, shards)

    def list_packs(self) -> Iterator[Listing]:
        """List one group of packs after the other."""
        return list_packs(self._place)

    def keys_in(self, pack: str) -> list[str] | None:
        """Read a pack."""
        try:
            return layout.keys_in_pack(self._place.fetch(pack).data)
        except ObjectMissing:
            return None

    def list_quarantine(self) -> Listing:
        """List ``quarantine``; a copy is as old as its copying."""
        return list_prefix(self._place, f"{layout.QUARANTINE}/", layout.ENTRY_NAME)

    def drop_unfinished(self, file: FoundFile) -> bool:
        """Give an upload up.

        Its parts cannot be asked whether their writer still lives: only its age can tell.
        """
        if (unfinished := unfinished_of(file)) is not None:
            return self._client.abort_upload(self._place.key(unfinished.path), unfinished.upload_id)
        try:
            if self._client.head(self._place.key(file.path)).modified_ns > file.modified_ns:
                return False
        except ObjectMissing:
            return False
        return self.delete(file.path)


def _with_digests(data: pa.Buffer) -> tuple[pa.Buffer, Tail | None]:
    """Return the bytes of a file with digests of its chunks, by which parts of a large one are verified."""
    return (data.size > SMALL and with_digests(data)) or (data, None)
