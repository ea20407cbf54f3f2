"""A bucket keeps every promise of a storage backend, on each of the servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from fstore.errors import StorageUnavailable
from fstore.settings import gather_settings
from fstore.storage.open import Storage, open_storage
from fstore.testing.storage_suite import StorageSuite
from tests.faults.harness.http_faults import denied
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket, ObjectServer
from tests.waiting import eventually

PREFIX = "team/fstore"


@dataclass
class Behind:
    """What lies behind one store: its bucket, and the proxy on the way."""

    bucket: Bucket
    proxy: HttpProxy


class TestBucket(StorageSuite):
    """A bucket as a store, and what can be done to it from outside."""

    @pytest.fixture(autouse=True)
    def no_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is gone here stays gone."""
        monkeypatch.setattr("fstore.storage.bucket.entries._NOT_YET_VISIBLE_WAITS_S", ())

    @pytest.fixture
    def behind(self, object_server: ObjectServer) -> Iterator[Behind]:
        """Give a new bucket and a proxy before it."""
        with HttpProxy(object_server.address) as proxy:
            yield Behind(object_server.new_bucket(), proxy)

    @pytest.fixture
    def storage(self, behind: Behind) -> Iterator[Storage]:
        """Give a store in the new bucket."""
        self._behind = behind
        settings = gather_settings(behind.bucket.settings(PREFIX, behind.proxy.endpoint), environ={})
        storage = open_storage(settings)
        storage.entries.create("suite")
        yield storage

    def raw_get(self, storage: Storage, path: str) -> bytes | None:
        """Get the object past the proxy and with another client."""
        return self._behind.bucket.get(f"{PREFIX}/{path}")

    def raw_put(self, storage: Storage, path: str, data: bytes) -> None:
        """Put another object in its place."""
        self._behind.bucket.put(f"{PREFIX}/{path}", data)

    @contextmanager
    def unreachable(self, storage: Storage) -> Iterator[None]:
        """Have the server refuse every connection, and wait until it was tried again."""
        self._behind.proxy.stop()
        yield
        self._behind.proxy.start()
        eventually(lambda: _answers(storage), seconds=10, what="the store to be tried again")

    @contextmanager
    def forbidden(self, storage: Storage) -> Iterator[None]:
        """Have the server say no to everything."""
        self._behind.proxy.on(answer=denied())
        yield
        self._behind.proxy.forward()


def _answers(storage: Storage) -> bool:
    try:
        return storage.entries.identity() == "suite"
    except StorageUnavailable:
        return False
