"""A second backend, in memory: what the storage interface leaves to a backend, and nothing of a folder."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from fstore.errors import InvalidRequest, SourceChanged, StorageUnavailable, StoreMismatch
from fstore.model import Locator
from fstore.results.stored_tables import UnstorableResult, stored_form
from fstore.storage import layout
from fstore.storage.interface import ByteRange, Capabilities, Condition, Listing, Space, StagedResult, Stored
from fstore.storage.layout import SHARDS, FoundFile
from fstore.storage.open import Storage
from fstore.storage.packed.raw_parts import LastRead, part_of, raw_part
from fstore.storage.parquet import arrow_bytes
from fstore.storage.verify import (
    UNREADABLE,
    Fault,
    Pace,
    decoded,
    hashed,
    inspect_file,
    missing,
    raw_in,
    result_in,
    size_fault,
    verified_bytes,
    verified_table,
)


@dataclass
class Objects:
    """Names and bytes, each with the moment when it was put there; several stores may share them."""

    held: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    guard: threading.RLock = field(default_factory=threading.RLock)
    fault: str | None = None
    _last_ns: int = 0

    def now(self) -> int:
        """Return a moment later than every one before."""
        with self.guard:
            self._last_ns = max(self._last_ns + 1, time.time_ns())
            return self._last_ns

    def check(self) -> None:
        """Raise what the store answers while it is out of reach."""
        if self.fault is not None:
            raise StorageUnavailable("memory", self.fault)

    def put(self, path: str, data: bytes) -> None:
        """Put bytes under a name."""
        self.check()
        with self.guard:
            self.held[path] = data, self.now()

    def get(self, path: str) -> bytes | None:
        """Return the bytes of a name, None when there are none."""
        self.check()
        found = self.held.get(path)
        return None if found is None else found[0]

    def drop(self, path: str, *, unless_after_ns: int | None = None) -> bool:
        """Forget a name, unless it was put there after a moment."""
        self.check()
        with self.guard:
            found = self.held.get(path)
            if found is None or (unless_after_ns is not None and found[1] > unless_after_ns):
                return False
            del self.held[path]
            return True

    def listing(self, prefix: str) -> Listing:
        """List what begins with a prefix."""
        self.check()
        listing = Listing()
        with self.guard:
            held = sorted(self.held.items())
        for path, (data, at) in held:
            if path.startswith(prefix):
                name = path.rpartition("/")[2]
                if any(known.fullmatch(name) for known in (layout.ENTRY_NAME, layout.PACK_NAME, layout.STAGED_NAME)):
                    listing.files.append(FoundFile(path, len(data), at))
                else:
                    listing.foreign += 1
        return listing


CAPABILITIES = Capabilities(location="memory:", folder=None, clock_step_s=0.0)


class MemoryEntries:
    """Entries in memory."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.capabilities = CAPABILITIES

    def create(self, store_id: str) -> None:
        with self._objects.guard:
            if not self.identity():
                self._objects.put(layout.STORE_ID, store_id.encode())
        self.check_identity(store_id)

    def identity(self) -> str:
        return (self._objects.get(layout.STORE_ID) or b"").decode()

    def check_identity(self, store_id: str) -> None:
        if (found := self.identity()) != store_id:
            raise StoreMismatch("memory:", found, store_id)

    def publish(self, key: str, table: pa.Table, *, check: Callable[[pa.Table], None] = lambda _: None) -> Stored:
        sink = pa.BufferOutputStream()
        try:
            pa.parquet.write_table(stored_form(table), sink)
            back = decoded(sink.getvalue())
        except UNREADABLE as error:
            raise UnstorableResult(str(error)) from error
        check(back)
        return self.publish_bytes(key, sink.getvalue())

    def publish_bytes(self, key: str, data: pa.Buffer) -> Stored:
        path = layout.new_entry_path(key)
        self._objects.put(path, data.to_pybytes())
        return Stored(path, data.size, hashed(data).hexdigest())

    def publish_together(self, results: Sequence[tuple[str, pa.Buffer]]) -> list[Stored]:
        pack, paths, whole = layout.new_pack(results)
        self._objects.put(pack, whole.to_pybytes())
        return [
            Stored(path, data.size, hashed(data).hexdigest()) for path, (_, data) in zip(paths, results, strict=True)
        ]

    def read(self, found: Locator) -> pa.Table:
        return verified_table(found, pa.py_buffer(self._get(found)))

    def read_bytes(self, found: Locator) -> pa.Buffer:
        return verified_bytes(found, pa.py_buffer(self._get(found)))

    def read_ranges(self, found: Locator, ranges: Sequence[ByteRange]) -> list[pa.Buffer]:
        if any(at < 0 or length < 0 or at + length > found.file_size_bytes for at, length in ranges):
            raise ValueError("bytes beyond the entry")
        data = self._get(found)
        if (fault := size_fault(found, len(data))) is not None:
            raise fault.as_error()
        return [pa.py_buffer(data[at : at + length]) for at, length in ranges]

    def _get(self, found: Locator) -> bytes:
        data = self._peek(found)
        if data is None:
            raise missing(found).as_error()
        return data

    def _peek(self, found: Locator) -> bytes | None:
        packed = layout.packed_at(found.path)
        if packed is None:
            return self._objects.get(found.path)
        pack = self._objects.get(packed.path)
        return None if pack is None else pack[packed.offset : packed.offset + found.file_size_bytes]

    def inspect(self, found: Locator, pace: Pace) -> tuple[Fault | None, int]:
        data = self._peek(found)
        if data is None:
            return missing(found), 0
        return inspect_file(found, io.BytesIO(data), len(data), pace)

    def exists(self, path: str) -> bool:
        return self._objects.get(layout.file_of(path)) is not None

    def delete(self, path: str) -> bool:
        return layout.packed_at(path) is None and self._objects.drop(path)

    def discard(self, path: str) -> None:
        if self._objects.fault is None:
            self.delete(path)

    def quarantine(self, found: Locator) -> str | None:
        data = None if self._objects.fault else self._peek(found)
        if data is None:
            return None
        target = f"{layout.QUARANTINE}/{found.path.rpartition('/')[2]}"
        self._objects.put(target, data)
        self.delete(found.path)
        return target

    def list_shards(self, shards: Sequence[str] = SHARDS) -> Iterator[Listing]:
        for shard in shards:
            yield self._objects.listing(f"{layout.ENTRIES}/{shard}/")

    def list_packs(self) -> Iterator[Listing]:
        yield self._objects.listing(f"{layout.PACKS}/")

    def keys_in(self, pack: str) -> list[str] | None:
        data = self._objects.get(pack)
        return None if data is None else layout.keys_in_pack(pa.py_buffer(data))

    def list_quarantine(self) -> Listing:
        return self._objects.listing(f"{layout.QUARANTINE}/")

    def drop_unfinished(self, file: FoundFile) -> bool:
        return self._objects.drop(file.path, unless_after_ns=file.modified_ns)

    def now_ns(self) -> int:
        self._objects.check()
        return self._objects.now()

    def space(self) -> Space | None:
        return None

    def diagnose(self) -> Iterator[Condition]:
        if self._objects.fault:
            yield Condition("fault", self._objects.fault, "mend it")
        else:
            yield Condition("ok", "memory can be written")


class MemoryStaging:
    """A staging area in memory, whose names are never used twice."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.capabilities = CAPABILITIES

    def reserve(self, digest: str) -> str | None:
        prefix = f"{layout.STAGED_RAW}/{layout.shard_of(digest)}/{digest}."
        with self._objects.guard:
            if self._objects.fault is not None:
                return None
            for file in self._objects.listing(prefix).files:
                self._objects.put(file.path, self._objects.held[file.path][0])
                return file.path
        return None

    def write(self, digest: str, table: pa.Table) -> str:
        path = f"{layout.STAGED_RAW}/{layout.shard_of(digest)}/{digest}.{layout.new_token()}.arrow"
        self._objects.put(path, arrow_bytes(table.combine_chunks()).to_pybytes())
        return path

    def write_together(self, raw: Iterable[tuple[str, pa.Table]]) -> list[str]:
        path, paths, pieces = layout.new_raw_parts([(digest, arrow_bytes(table)) for digest, table in raw])
        self._objects.put(path, b"".join(pieces))
        return paths

    def read(self, path: str, *, last: LastRead | None = None) -> pa.Table:
        layout.check_staged_raw(path)
        if (part := layout.raw_part_at(path)) is not None:
            return raw_part(path, part, lambda file: part_of(self._read(file)), last)
        return raw_in(path, self._read(path))

    def _read(self, path: str) -> pa.Buffer:
        data = self._objects.get(path)
        if data is None:
            raise SourceChanged(path, "the staged copy is gone")
        return pa.py_buffer(data)

    def write_result(self, key: str, table: pa.Table) -> str:
        sink = pa.BufferOutputStream()
        pa.parquet.write_table(stored_form(table), sink, write_page_checksum=True)
        path = layout.new_result_path(key)
        self._objects.put(path, sink.getvalue().to_pybytes())
        return path

    def read_result(self, path: str, *, digest: str | None = None) -> StagedResult:
        layout.check_staged_result(path)
        data = self._objects.get(path)
        if data is None:
            raise InvalidRequest("staged_path", "is not a staged result")
        held = pa.py_buffer(data)
        found = hashed(held).hexdigest()
        if digest not in (None, found):
            raise InvalidRequest("staged_path", "holds other bytes than were staged")
        try:
            return StagedResult(result_in(held, None)[0], held, found)
        except UNREADABLE as error:
            raise InvalidRequest("staged_path", str(error)) from error

    def exists(self, path: str) -> bool:
        layout.check_staged(path)
        return self._objects.get(layout.staged_file_of(path)) is not None

    def discard(self, path: str) -> None:
        layout.check_staged(path)
        if self._objects.fault is None and layout.raw_part_at(path) is None:
            self._objects.drop(path)

    def list_staged(self) -> Iterator[Listing]:
        for folder in (layout.STAGED_RESULTS, layout.STAGED_RAW):
            yield self._objects.listing(f"{folder}/")

    def drop_unless_reserved(self, file: FoundFile) -> bool:
        return self._objects.drop(file.path, unless_after_ns=file.modified_ns)


def memory_storage(objects: Objects | None = None) -> Storage:
    """Open a store in memory."""
    objects = objects or Objects()
    return Storage(MemoryEntries(objects), MemoryStaging(objects))
