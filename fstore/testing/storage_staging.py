"""The promises of a ``StagingArea``."""

from __future__ import annotations

import pytest
from blake3 import blake3

from fstore.errors import InvalidRequest, SourceChanged, SourceNotAllowed
from fstore.storage import STAGED_NAME, FoundFile, LastRead, Storage, key_of
from fstore.testing.storage_backend import KEY, ROUNDS, Backend, publish, some_table, together

LEAD_OUTSIDE = [
    "../outside",
    "/etc/hostname",
    "staging/results/../../../outside",
    f"staging/results/../../../{KEY}.a.parquet",
]
NOT_STAGED = [
    "STORE_ID", "", ".", "staging", "staging/raw", "{entry}", "staging/../{entry}", "staging/results/../../{entry}",
    "/{entry}", "staging/raw/.tmp-0", f"staging/raw/{KEY}.arrow", f"staging/raw/zz/{KEY}.arrow", "staging/results/.tmp-aside-0",
    f"staging/results/{KEY}.parquet", f"staging/results/{KEY}.a.parquet/", f"staging/results/{KEY}.a.parquet\n", "stack.json", "a\0b",
]  # fmt: skip


class StagingTests(Backend):
    """What is staged is shared by its content, whole, and there for as long as somebody relies on it."""

    def test_raw_data_are_staged_once(self, storage: Storage) -> None:
        """Who comes second finds and reserves what lies there."""
        assert storage.staging.reserve(KEY) is None
        path = storage.staging.write(KEY, some_table())

        assert storage.staging.reserve(KEY) == path
        assert storage.staging.exists(path)
        assert storage.staging.read(path).equals(some_table())
        assert key_of(path) == KEY
        assert STAGED_NAME.fullmatch(path.rpartition("/")[2])

    def test_raw_data_are_staged_together(self, storage: Storage) -> None:
        """Few files, each told by its digest, found by its path and dropped as a whole by its age."""
        tables = {f"{number:x}" * 64: some_table(2 * number + 2) for number in range(5)}
        paths = storage.staging.write_together(iter(tables.items()))

        (file,) = [file for listing in storage.staging.list_staged() for file in listing.files]
        last = LastRead()
        for path, (digest, table) in zip(paths, tables.items(), strict=True):
            assert key_of(path) == digest
            assert storage.staging.exists(path)
            assert storage.staging.read(path).equals(table)
            assert storage.staging.read(path, last=last).equals(table)
            assert storage.staging.reserve(digest) is None
        storage.staging.discard(paths[0])
        assert storage.staging.exists(paths[0])
        storage.staging.drop_unless_reserved(file)
        for path in paths:
            assert not storage.staging.exists(path)
            with pytest.raises(SourceChanged):
                storage.staging.read(path)

    def test_staged_raw_data_that_are_gone_or_damaged_have_changed(self, storage: Storage) -> None:
        """The trainer stages them anew."""
        path = storage.staging.write(KEY, some_table())
        self.raw_put(storage, path, b"rot")
        with pytest.raises(SourceChanged):
            storage.staging.read(path)
        storage.staging.discard(path)
        storage.staging.discard(path)
        with pytest.raises(SourceChanged):
            storage.staging.read(path)
        assert not storage.staging.exists(path)
        assert storage.staging.reserve(KEY) is None

    def test_a_result_is_staged_and_read_by_its_digest(self, storage: Storage) -> None:
        """The bytes are those that can be published as they are; others are refused."""
        path = storage.staging.write_result(KEY, some_table())
        staged = storage.staging.read_result(path)
        assert staged.table.equals(some_table())
        assert staged.digest == blake3(staged.data.to_pybytes()).hexdigest()
        assert storage.staging.read_result(path, digest=staged.digest).data.equals(staged.data)

        self.raw_put(storage, path, staged.data.to_pybytes()[:-1] + b"?")
        with pytest.raises(InvalidRequest):
            storage.staging.read_result(path, digest=staged.digest)
        storage.staging.discard(path)
        with pytest.raises(InvalidRequest):
            storage.staging.read_result(path)

    @pytest.mark.parametrize("path", [*LEAD_OUTSIDE, *NOT_STAGED])
    def test_only_what_is_staged_is_touched(self, storage: Storage, path: str) -> None:
        """Paths come from messages and job rows: whatever else they name stays as it is.

        In the store or outside.
        """
        identity = storage.entries.identity()
        entry = publish(storage.entries, some_table()).path
        named = path.format(entry=entry)
        for act in (
            storage.staging.read, storage.staging.read_result, storage.staging.exists, storage.staging.discard,
        ):  # fmt: skip
            with pytest.raises((SourceNotAllowed, InvalidRequest)):
                act(named)
        assert storage.entries.identity() == identity
        assert storage.entries.exists(entry)

    def test_raw_data_are_no_result_and_a_result_no_raw_data(self, storage: Storage) -> None:
        """Each is read as what it was staged for."""
        with pytest.raises(InvalidRequest):
            storage.staging.read_result(storage.staging.write(KEY, some_table()))
        with pytest.raises(SourceNotAllowed):
            storage.staging.read(storage.staging.write_result(KEY, some_table()))

    def test_only_staged_results_are_results(self, storage: Storage) -> None:
        """An entry's path is none, though it lies in the store."""
        with pytest.raises(InvalidRequest):
            storage.staging.read_result(publish(storage.entries, some_table()).path)

    def test_everything_staged_is_listed(self, storage: Storage) -> None:
        """Raw data and results, with sizes and ages by the store's clock."""
        before = self.next_moment(storage)
        paths = {storage.staging.write(KEY, some_table()), storage.staging.write_result(KEY, some_table())}

        found = [file for listing in storage.staging.list_staged() for file in listing.files]

        assert {file.path for file in found} == paths
        for file in found:
            assert file.size_bytes == len(self.raw_get(storage, file.path) or b"")
            assert file.modified_ns >= before - self.step_ns(storage)

    def test_what_was_reserved_since_is_not_dropped(self, storage: Storage) -> None:
        """A list is old by the time somebody acts on it."""
        path = storage.staging.write(KEY, some_table())
        (listed,) = [file for listing in storage.staging.list_staged() for file in listing.files]
        self.next_moment(storage)
        reserved = storage.staging.reserve(KEY) or storage.staging.write(KEY, some_table())

        storage.staging.drop_unless_reserved(listed)
        assert storage.staging.read(reserved).equals(some_table())

        newer = [file for listing in storage.staging.list_staged() for file in listing.files if file.path == reserved]
        assert storage.staging.drop_unless_reserved(newer[0])
        assert not storage.staging.exists(reserved)
        assert not storage.staging.exists(path)
        assert not storage.staging.drop_unless_reserved(newer[0])

    def test_who_reserves_while_it_is_dropped_keeps_it_or_knows(self, storage: Storage) -> None:
        """Once both are done, what was promised to a trainer is there."""
        for _ in range(ROUNDS):
            storage.staging.write(KEY, some_table())
            listed = [file for listing in storage.staging.list_staged() for file in listing.files]
            self.next_moment(storage)
            promised: list[str] = []

            def reserve(promised: list[str] = promised) -> None:
                promised.append(storage.staging.reserve(KEY) or storage.staging.write(KEY, some_table()))

            def drop(listed: list[FoundFile] = listed) -> None:
                for file in listed:
                    storage.staging.drop_unless_reserved(file)

            together(reserve, drop)
            assert storage.staging.read(promised[0]).equals(some_table())
            storage.staging.discard(promised[0])
