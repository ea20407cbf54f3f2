"""The promises of an ``EntryStore`` that concern entries which share a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from fstore.errors import EntryCorrupt, StorageUnavailable
from fstore.model import Locator
from fstore.storage import ENTRY_NAME, ByteRange, EntryStore, Pace, Storage, file_of, key_of, packed_at
from fstore.testing.storage_backend import Backend, fault_of, paths_in, publish, some_table


def _bytes_of(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue()


def _publish_together(entries: EntryStore, tables: Sequence[pa.Table]) -> list[Locator]:
    keys = [blake3(b"%d" % number).hexdigest() for number in range(len(tables))]
    data = [_bytes_of(table) for table in tables]
    stored = entries.publish_together(list(zip(keys, data, strict=True)))
    return [
        Locator(key, one.path, table.num_rows, one.file_size_bytes, one.content_digest)
        for key, one, table in zip(keys, stored, tables, strict=True)
    ]


def _packs_in(entries: EntryStore) -> list[str]:
    return [file.path for listing in entries.list_packs() for file in listing.files]


class PackTests(Backend):
    """Entries that share a file are read, found wrong and put aside each by itself."""

    @pytest.fixture
    def tables(self) -> Iterator[list[pa.Table]]:
        """Give tables of different content."""
        yield [some_table(100, f"x{number}") for number in range(5)]

    def test_what_is_published_together_is_read_one_by_one(self, storage: Storage, tables: list[pa.Table]) -> None:
        """In one file that no listing of single entries shows.

        Each is under a path of its own that tells its key.
        """
        found = _publish_together(storage.entries, tables)

        (pack,) = _packs_in(storage.entries)
        assert {file_of(one.path) for one in found} == {pack}
        assert paths_in(storage.entries) == []
        assert len({one.path.rpartition("/")[2] for one in found}) == len(found)
        assert storage.entries.keys_in(pack) == [one.key for one in found]
        for one, table in zip(found, tables, strict=True):
            assert key_of(one.path) == one.key
            assert ENTRY_NAME.fullmatch(one.path.rpartition("/")[2])
            assert storage.entries.read(one).equals(table)
            assert storage.entries.read_bytes(one).equals(_bytes_of(table))
            assert storage.entries.exists(one.path)
            assert storage.entries.inspect(one, Pace(None))[0] is None
            whole = _bytes_of(table)
            wanted = [ByteRange(0, 4), ByteRange(one.file_size_bytes - 4, 4)]
            assert storage.entries.read_ranges(one, wanted) == [whole.slice(0, 4), whole.slice(whole.size - 4, 4)]
            with pytest.raises(ValueError, match="bytes"):
                storage.entries.read_ranges(one, [ByteRange(1, one.file_size_bytes)])

    def test_nobody_gets_the_bytes_of_a_neighbour(self, storage: Storage, tables: list[pa.Table]) -> None:
        """Whatever offset and length a row says, others' bytes are refused.

        By reads and sweeps alike.
        """
        found = _publish_together(storage.entries, tables)
        one, other = found[1], found[3]
        at = packed_at(one.path)
        assert at is not None
        for offset in (0, at.offset - 1, at.offset + 1, 10**9):
            path = one.path.replace(f"-{at.offset}.parquet", f"-{offset}.parquet")
            assert packed_at(path) == (at.path, offset)
            self._refused(storage.entries, replace(one, path=path))
        for length in (one.file_size_bytes - 1, one.file_size_bytes + 1, 10**9):
            self._refused(storage.entries, replace(one, file_size_bytes=length))
        self._refused(storage.entries, replace(one, path=other.path, file_size_bytes=other.file_size_bytes))

    def _refused(self, entries: EntryStore, wrong: Locator) -> None:
        for read in (entries.read, entries.read_bytes):
            with pytest.raises(EntryCorrupt):
                read(wrong)
        fault, _ = entries.inspect(wrong, Pace(None))
        assert fault is not None

    def test_a_rotten_entry_is_put_aside_alone(self, storage: Storage, tables: list[pa.Table]) -> None:
        """Its bytes are kept for a look, its neighbours are read as before."""
        found = _publish_together(storage.entries, tables)
        wrong = found[2]
        at = packed_at(wrong.path)
        assert at is not None
        held = bytearray(self.raw_get(storage, at.path) or b"")
        held[at.offset + 10] ^= 1
        self.raw_put(storage, at.path, bytes(held))

        assert fault_of(lambda: storage.entries.read(wrong)) == "digest"
        moved = storage.entries.quarantine(wrong)

        assert moved is not None
        assert self.raw_get(storage, moved) == bytes(held[at.offset : at.offset + wrong.file_size_bytes])
        assert [file.path for file in storage.entries.list_quarantine().files] == [moved]
        assert self.raw_get(storage, at.path) == bytes(held)
        for one, table in zip(found, tables, strict=True):
            if one is not wrong:
                assert storage.entries.read(one).equals(table)

    def test_a_pack_goes_as_a_whole(self, storage: Storage, tables: list[pa.Table]) -> None:
        """No single entry takes it along; when it is gone each of them is missing."""
        found = _publish_together(storage.entries, tables)
        (pack,) = _packs_in(storage.entries)
        for one in found:
            assert not storage.entries.delete(one.path)
            storage.entries.discard(one.path)
        assert all(storage.entries.read(one).equals(table) for one, table in zip(found, tables, strict=True))

        assert storage.entries.delete(pack)
        assert _packs_in(storage.entries) == []
        assert storage.entries.keys_in(pack) is None
        for one in found:
            assert not storage.entries.exists(one.path)
            assert fault_of(lambda one=one: storage.entries.read(one)) == "missing"  # type: ignore[misc]
            assert storage.entries.quarantine(one) is None

    def test_a_pack_that_was_cut_short_keeps_what_it_has(self, storage: Storage, tables: list[pa.Table]) -> None:
        """Entries before the cut are right, the others wrong by their size; it no longer says what it holds."""
        found = _publish_together(storage.entries, tables)
        at = packed_at(found[3].path)
        assert at is not None
        self.raw_put(storage, at.path, (self.raw_get(storage, at.path) or b"")[: at.offset + 5])

        assert storage.entries.read(found[2]).equals(tables[2])
        assert [fault_of(lambda one=one: storage.entries.read(one)) for one in found[3:]] == ["size", "size"]  # type: ignore[misc]
        assert fault_of(lambda: storage.entries.read_ranges(found[3], [ByteRange(0, 4)])) == "size"
        assert storage.entries.keys_in(at.path) == []

    def test_an_outage_says_nothing_about_packs(self, storage: Storage, tables: list[pa.Table]) -> None:
        """Neither missing nor wrong."""
        one = _publish_together(storage.entries, tables)[1]
        with self.unreachable(storage):
            for act in (
                lambda: storage.entries.read(one),
                lambda: storage.entries.inspect(one, Pace(None)),
                lambda: storage.entries.keys_in(file_of(one.path)),
                lambda: storage.entries.publish_together([(one.key, _bytes_of(tables[0]))]),
            ):
                with pytest.raises(StorageUnavailable):
                    act()
            assert storage.entries.quarantine(one) is None
        assert storage.entries.read(one).equals(tables[1])

    def test_single_entries_are_as_they_were(self, storage: Storage, tables: list[pa.Table]) -> None:
        """They lie beside packs, each in a file of its own."""
        single = publish(storage.entries, tables[0])
        _publish_together(storage.entries, tables)
        assert paths_in(storage.entries) == [single.path] == [file_of(single.path)]
