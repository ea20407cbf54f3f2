"""The promises of an ``EntryStore`` that concern whole files.

Identity, publishing, deletion, listings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from fstore.errors import EntryCorrupt, StoreMismatch
from fstore.model import Locator
from fstore.results import UnstorableResult
from fstore.storage import ENTRY_NAME, SHARDS, Storage, key_of, shard_of
from fstore.testing.storage_backend import KEY, ROUNDS, Backend, paths_in, publish, some_table, together


class EntryTests(Backend):
    """Entries are whole or absent, never change, and are found where they are looked for."""

    def test_a_store_keeps_its_first_id(self, storage: Storage) -> None:
        """Creating it again changes nothing, with another id is refused."""
        storage.entries.create("suite")
        with pytest.raises(StoreMismatch):
            storage.entries.create("another")
        assert storage.entries.identity() == "suite"
        with pytest.raises(StoreMismatch):
            storage.entries.check_identity("another")

    @pytest.mark.parametrize("rows", [0, 100, 200_000])
    def test_what_is_published_is_read(self, storage: Storage, rows: int) -> None:
        """Table, bytes and digest are one, and the size is the row's."""
        found = publish(storage.entries, some_table(rows))

        assert storage.entries.read(found).equals(some_table(rows))
        data = storage.entries.read_bytes(found).to_pybytes()
        assert (len(data), blake3(data).hexdigest()) == (found.file_size_bytes, found.content_digest)
        assert self.raw_get(storage, found.path) == data
        assert storage.entries.exists(found.path)

    def test_bytes_are_published_as_they_are(self, storage: Storage) -> None:
        """A file that was checked before is not written anew."""
        sink = pa.BufferOutputStream()
        pq.write_table(some_table(), sink)
        stored = storage.entries.publish_bytes(KEY, sink.getvalue())

        assert self.raw_get(storage, stored.path) == sink.getvalue().to_pybytes()

    def test_a_name_is_never_used_again(self, storage: Storage) -> None:
        """The same result twice makes two files, each named by its key in the key's shard."""
        first, second = (publish(storage.entries, some_table()) for _ in range(2))
        storage.entries.delete(first.path)
        third = publish(storage.entries, some_table())

        assert len({first.path, second.path, third.path}) == 3
        for found in (first, second, third):
            folder, _, name = found.path.rpartition("/")
            assert folder.rpartition("/")[2] == shard_of(KEY)
            assert ENTRY_NAME.fullmatch(name)
            assert key_of(found.path) == KEY

    def test_what_is_refused_by_its_check_leaves_nothing(self, storage: Storage) -> None:
        """The check sees what a reader would get; its error is the caller's, and no file has a name."""
        seen = []

        def refuse(back: pa.Table) -> None:
            seen.append((back, paths_in(storage.entries)))
            raise KeyError("refused")

        with pytest.raises(KeyError):
            storage.entries.publish(KEY, some_table(), check=refuse)

        assert seen[0][0].equals(some_table())
        assert seen[0][1] == []
        assert [(li.files, li.temporary) for li in storage.entries.list_shards() if li.files or li.temporary] == []

    def test_what_cannot_be_stored_leaves_nothing(self, storage: Storage) -> None:
        """A table that Parquet cannot hold is refused by name."""
        with pytest.raises(UnstorableResult):
            storage.entries.publish(KEY, pa.table({"union": _union()}))

        assert [li for li in storage.entries.list_shards() if li.files or li.temporary] == []

    def test_files_are_whole_or_absent(self, storage: Storage) -> None:
        """Whoever lists while others publish never finds a part of a file."""
        done = threading.Event()
        found: list[Locator] = []

        def write() -> None:
            try:
                found.extend(publish(storage.entries, some_table(20_000)) for _ in range(ROUNDS))
            finally:
                done.set()

        def look() -> None:
            while not done.is_set():
                for listing in storage.entries.list_shards((shard_of(KEY),)):
                    for file in listing.files:
                        data = self.raw_get(storage, file.path)
                        assert data is not None
                        assert len(data) == file.size_bytes
                        assert pq.ParquetFile(pa.BufferReader(data)).read().num_rows == 20_000

        together(write, look, look)
        assert sorted(paths_in(storage.entries)) == sorted(locator.path for locator in found)

    def test_many_may_publish_one_key(self, storage: Storage) -> None:
        """Each has a file of its own, and every one of them is right."""
        found: list[Locator] = []
        tables = [some_table(100, name) for name in "abcdef"]

        def act(table: pa.Table) -> Callable[[], None]:
            return lambda: found.append(publish(storage.entries, table))

        together(*map(act, tables))
        names = {storage.entries.read(locator).column_names[0] for locator in found}
        assert names == set("abcdef")

    def test_who_reads_while_others_delete_has_all_or_nothing(self, storage: Storage) -> None:
        """The whole table or the news that it is gone, never a part, never another."""
        tables = {name: some_table(20_000, name) for name in "ab"}

        def race() -> None:
            found = {name: publish(storage.entries, table) for name, table in tables.items()}

            def read() -> None:
                for name, locator in [*found.items()] * 3:
                    try:
                        assert storage.entries.read(locator).equals(tables[name])
                    except EntryCorrupt as error:
                        assert error.fault.startswith("missing")

            def delete() -> None:
                for locator in found.values():
                    storage.entries.delete(locator.path)

            together(read, read, delete)

        for _ in range(5):
            race()

    def test_quarantine_takes_one_entry(self, storage: Storage) -> None:
        """It is no longer where it was, its bytes are kept, its neighbours stay.

        It is listed from then on.
        """
        wrong, neighbour = (publish(storage.entries, some_table()) for _ in range(2))
        self.raw_put(storage, wrong.path, b"rot")
        before = self.next_moment(storage)

        moved = storage.entries.quarantine(wrong)

        assert moved is not None
        assert self.raw_get(storage, moved) == b"rot"
        assert paths_in(storage.entries) == [neighbour.path]
        assert storage.entries.read(neighbour).equals(some_table())
        (listed,) = storage.entries.list_quarantine().files
        assert (listed.path, listed.size_bytes, listed.modified_ns >= before - self.step_ns(storage)) == (
            moved,
            3,
            True,
        )
        assert storage.entries.delete(moved)
        assert storage.entries.list_quarantine().files == []

    def test_listings_go_shard_by_shard(self, storage: Storage) -> None:
        """In the order of the shards, each file once in its own, sizes and ages by the store's clock."""
        keys = [f"{shard}{blake3(shard.encode()).hexdigest()[2:]}" for shard in ("00", "7f", "80", "ff")]
        before = self.next_moment(storage)
        found = {locator.path: locator for locator in (publish(storage.entries, some_table(), key) for key in keys)}
        after = self.next_moment(storage)

        listings = list(storage.entries.list_shards())
        some = list(storage.entries.list_shards(("80", "01")))

        assert len(listings) == len(SHARDS)
        for shard, listing in zip(SHARDS, listings, strict=True):
            assert (listing.temporary, listing.foreign) == ([], 0)
            for file in listing.files:
                assert shard_of(key_of(file.path)) == shard
                assert file.size_bytes == found.pop(file.path).file_size_bytes
                assert before - self.step_ns(storage) <= file.modified_ns <= after
        assert found == {}
        assert [[key_of(file.path) for file in listing.files] for listing in some] == [[keys[2]], []]

    def test_what_fstore_did_not_make_is_counted_only(self, storage: Storage) -> None:
        """A stranger's file is never listed for removal."""
        path = publish(storage.entries, some_table()).path
        self.raw_put(storage, f"{path.rpartition('/')[0]}/notes.txt", b"mine")
        (listing,) = storage.entries.list_shards((shard_of(KEY),))

        assert ([file.path for file in listing.files], listing.foreign) == ([path], 1)

    def test_the_clock_goes_on(self, storage: Storage) -> None:
        """Two readings are in order, and nothing is left of them."""
        first = storage.entries.now_ns()
        assert storage.entries.now_ns() >= first
        assert [file for listing in storage.staging.list_staged() for file in listing.temporary] == []

    def test_a_store_in_order_is_diagnosed_as_such(self, storage: Storage) -> None:
        """An operator reads what is well, too."""
        found = list(storage.entries.diagnose())
        assert found
        assert all(condition.advice for condition in found if condition.severity != "ok")
        assert "fault" not in {condition.severity for condition in found}


def _union() -> pa.Array:
    return pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
