"""The suite of promises asks nothing that only a folder could do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fstore.storage.open import Storage
from fstore.testing.storage_suite import StorageSuite
from tests.memory_storage import MemoryEntries, Objects, memory_storage


def objects_of(storage: Storage) -> Objects:
    assert isinstance(storage.entries, MemoryEntries)
    return storage.entries._objects


class TestMemory(StorageSuite):
    """A store in memory."""

    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        """Give an empty store."""
        storage = memory_storage()
        storage.entries.create("suite")
        yield storage

    def raw_get(self, storage: Storage, path: str) -> bytes | None:
        """Look into memory."""
        found = objects_of(storage).held.get(path)
        return None if found is None else found[0]

    def raw_put(self, storage: Storage, path: str, data: bytes) -> None:
        """Change memory."""
        objects_of(storage).put(path, data)

    @contextmanager
    def unreachable(self, storage: Storage) -> Iterator[None]:
        """Answer nothing."""
        objects_of(storage).fault = "no answer"
        yield
        objects_of(storage).fault = None

    @contextmanager
    def forbidden(self, storage: Storage) -> Iterator[None]:
        """Refuse everything."""
        objects_of(storage).fault = "forbidden"
        yield
        objects_of(storage).fault = None
