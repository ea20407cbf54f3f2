"""The promises of a backend about what is missing, wrong, or out of reach.

Three things that nobody may confuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from blake3 import blake3

from fstore.errors import StorageUnavailable
from fstore.storage import ByteRange, FaultKind, Pace, Storage, shard_of
from fstore.testing.storage_backend import KEY, OTHER, Backend, fault_of, publish, some_table


class VerdictTests(Backend):
    """Reads, parts and sweeps judge the same bytes alike, and an outage is no verdict."""

    @pytest.mark.parametrize(
        ("damage", "kind"),
        [
            (lambda data: bytes([data[0] ^ 1]) + data[1:], FaultKind.DIGEST),
            (lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 128]) + data[len(data) // 2 + 1 :], FaultKind.DIGEST),
            (lambda data: data[:-1] + bytes([data[-1] ^ 1]), FaultKind.DIGEST),
            (lambda data: data[:-1], FaultKind.SIZE),
            (lambda data: data + b"\0", FaultKind.SIZE),
            (lambda _: b"", FaultKind.SIZE),
            (lambda data: bytes(len(data)), FaultKind.DIGEST),
        ],
        ids=["first bit", "bit in the middle", "last bit", "cut", "longer", "empty", "zeros"],
    )  # fmt: skip
    def test_damage_is_found_by_every_reader(
        self, storage: Storage, damage: Callable[[bytes], bytes], kind: FaultKind
    ) -> None:
        """A read, a read of bytes and a sweep say the same of the same bytes."""
        found = publish(storage.entries, some_table())
        data = self.raw_get(storage, found.path)
        assert data is not None
        self.raw_put(storage, found.path, damage(data))

        fault, _ = storage.entries.inspect(found, Pace(None))
        assert fault is not None
        assert {
            fault_of(lambda: storage.entries.read(found)),
            fault_of(lambda: storage.entries.read_bytes(found)),
            str(fault.kind),
        } == {str(kind)}

    @pytest.mark.parametrize("content", [b"no Parquet", b"PAR1 but no more PAR1", b""])
    def test_bytes_that_are_no_result_are_unreadable(self, storage: Storage, content: bytes) -> None:
        """They are what the row says, and still no reader can make a table of them; the sweep says so too."""
        found = publish(storage.entries, some_table())
        self.raw_put(storage, found.path, content)
        found = replace(found, file_size_bytes=len(content), content_digest=blake3(content).hexdigest())

        fault, _ = storage.entries.inspect(found, Pace(None))
        assert fault is not None
        assert fault_of(lambda: storage.entries.read(found)) == str(fault.kind) == "unreadable"

    def test_another_number_of_rows_is_a_fault(self, storage: Storage) -> None:
        """The row's number counts, for reads and sweeps alike."""
        found = replace(publish(storage.entries, some_table(100)), rows=99)

        fault, _ = storage.entries.inspect(found, Pace(None))
        assert fault is not None
        assert fault_of(lambda: storage.entries.read(found)) == str(fault.kind) == "unreadable"

    def test_a_right_entry_has_no_fault(self, storage: Storage) -> None:
        """A sweep tells how much it read."""
        found = publish(storage.entries, some_table())

        assert storage.entries.inspect(found, Pace(None)) == (None, found.file_size_bytes)

    def test_what_is_gone_is_missing(self, storage: Storage) -> None:
        """For reads, ranges and sweeps; a second deletion finds nothing to do."""
        found = publish(storage.entries, some_table())
        assert storage.entries.delete(found.path)
        storage.entries.delete(found.path)
        storage.entries.discard(found.path)

        fault, read = storage.entries.inspect(found, Pace(None))
        assert fault is not None
        assert read == 0
        assert {
            fault_of(lambda: storage.entries.read(found)),
            fault_of(lambda: storage.entries.read_ranges(found, [ByteRange(0, 1)])),
            str(fault.kind),
        } == {"missing"}
        assert not storage.entries.exists(found.path)
        assert storage.entries.quarantine(found) is None

    @pytest.mark.parametrize("state", ["unreachable", "forbidden"])
    def test_an_outage_is_no_fault_of_an_entry(self, storage: Storage, state: str) -> None:
        """Whoever cannot reach the store, or may not, is told that, never that something is missing or wrong."""
        entries, staging = storage
        found = publish(entries, some_table())
        raw = staging.write(KEY, some_table())
        result = staging.write_result(KEY, some_table())
        (listing,) = entries.list_shards((shard_of(KEY),))
        acts: list[Callable[[], object]] = [
            lambda: entries.publish(OTHER, some_table()),
            lambda: entries.read(found),
            lambda: entries.read_bytes(found),
            lambda: entries.read_ranges(found, [ByteRange(0, 1)]),
            lambda: entries.inspect(found, Pace(None)),
            lambda: entries.exists(found.path),
            lambda: entries.delete(found.path),
            lambda: list(entries.list_shards((shard_of(KEY),))),
            lambda: entries.drop_unfinished(listing.files[0]),
            lambda: staging.write(OTHER, some_table()),
            lambda: staging.read(raw),
            lambda: staging.write_result(OTHER, some_table()),
            lambda: staging.read_result(result),
            lambda: staging.exists(raw),
            lambda: list(staging.list_staged()),
        ]
        with self.unreachable(storage) if state == "unreachable" else self.forbidden(storage):
            for act in acts:
                with pytest.raises(StorageUnavailable):
                    act()
            entries.discard(found.path)
            staging.discard(raw)
            assert staging.reserve(KEY) is None
            assert entries.quarantine(found) is None
            entries.space()
            list(entries.diagnose())

        assert entries.read(found).equals(some_table())
        assert staging.read(raw).equals(some_table())
        assert staging.read_result(result).table.equals(some_table())

    def test_parts_are_those_bytes(self, storage: Storage) -> None:
        """In the order asked for, also none, also overlapping; beyond the entry nothing is given."""
        found = publish(storage.entries, some_table(20_000))
        data = storage.entries.read_bytes(found).to_pybytes()
        size = len(data)
        ranges = [ByteRange(size - 8, 8), ByteRange(0, 4), ByteRange(2, 100), ByteRange(7, 0), ByteRange(0, size)]

        parts = storage.entries.read_ranges(found, ranges)

        assert [part.to_pybytes() for part in parts] == [data[at : at + length] for at, length in ranges]
        assert storage.entries.read_ranges(found, []) == []
        for beyond in (ByteRange(size, 1), ByteRange(0, size + 1), ByteRange(-1, 2)):
            with pytest.raises(ValueError, match="bytes"):
                storage.entries.read_ranges(found, [beyond])

    def test_parts_of_another_size_are_a_fault(self, storage: Storage) -> None:
        """Nobody is given bytes of a file that cannot be the entry's."""
        found = publish(storage.entries, some_table())
        self.raw_put(storage, found.path, b"PAR1")

        assert fault_of(lambda: storage.entries.read_ranges(found, [ByteRange(0, 4)])) == "size"
