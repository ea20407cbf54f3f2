"""A store in a bucket behind a proxy that misbehaves by request, on each of the servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from blake3 import blake3

from fstore.model import Locator
from fstore.s3 import buckets_of
from fstore.settings import Settings, gather_settings
from fstore.storage import EntryStore
from fstore.storage.open import Storage, open_storage
from fstore.testing import Servers
from tests.conftest import House, build_house
from tests.faults.harness.http_proxy import HttpProxy
from tests.faults.harness.site import Site, open_site
from tests.object_servers import ObjectServer
from tests.support.bucket_paths import Behind, BucketShelf

TIMEOUT_S = 5.0


@dataclass
class Depot:
    """A store in a bucket, and what lies behind it."""

    behind: Behind
    settings: Settings
    storage: Storage

    @property
    def entries(self) -> EntryStore:
        return self.storage.entries

    @property
    def proxy(self) -> HttpProxy:
        return self.behind.proxy

    @property
    def counts(self) -> Any:
        """What the client counted."""
        return buckets_of(self.settings).client(self.behind.bucket.name).counts

    def publish(self, rows: int = 1000, name: str = "one") -> Locator:
        """Publish numbers that do not compress."""
        table = numbers(rows, name)
        stored = self.entries.publish(key_of(name), table)
        return Locator(key_of(name), stored.path, rows, stored.file_size_bytes, stored.content_digest)

    def objects(self) -> list[str]:
        """List what the bucket holds besides the store's id, by path."""
        return [
            str(path.relative_to(self.behind.root)) for path in self.behind.root.rglob("*") if path.name != "STORE_ID"
        ]


def close_breaker(depot: Depot) -> None:
    """Let the next act find out for itself, as one a while later would."""
    buckets_of(depot.settings).client(depot.behind.bucket.name)._requests._breaker.succeeded()


def key_of(name: str) -> str:
    return blake3(name.encode()).hexdigest()


def numbers(rows: int, name: str = "one") -> pa.Table:
    """Return numbers that have no pattern; the same ones for a name."""
    digest = blake3(name.encode()).digest(length=8 * rows)
    return pa.table({"x": pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(digest)])})


@pytest.fixture
def behind(object_server: ObjectServer) -> Iterator[Behind]:
    """A new bucket, and a proxy before it, on each of the servers."""
    with HttpProxy(object_server.address) as proxy:
        yield Behind.over(object_server, proxy)


@pytest.fixture
def make_depot(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Depot]:
    """A way to make a store in the bucket, with settings of the row's choice."""
    monkeypatch.setattr("fstore.storage.bucket.entries._NOT_YET_VISIBLE_WAITS_S", ())

    def make(**settings: Any) -> Depot:
        chosen = gather_settings({**behind.settings, "object_timeout_s": TIMEOUT_S, **settings}, environ={})
        storage = open_storage(chosen)
        storage.entries.create("depot")
        return Depot(behind, chosen, storage)

    return make


@pytest.fixture
def depot(make_depot: Callable[..., Depot]) -> Depot:
    """A store in the bucket."""
    return make_depot()


@pytest.fixture
def house(servers: Servers, tmp_path: Path, behind: Behind) -> Iterator[House]:
    """A store in the bucket with database and Redis."""
    with ExitStack() as stack:
        built = build_house(servers, tmp_path, stack, **behind.settings)
        built.root = behind.root  # type: ignore[assignment]
        yield built


@pytest.fixture
def shelf(house: House, behind: Behind) -> BucketShelf:
    """The same, filled by hand."""
    return BucketShelf(house.store.resources, behind)


@pytest.fixture
def make_object_site(tmp_path: Path, behind: Behind) -> Iterator[Callable[..., Site]]:
    """A way to open a site in the bucket, whose processes may be killed."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Site:
            made = open_site(tmp_path, stack, **{**behind.settings, **settings})
            made.root = behind.root  # type: ignore[assignment]
            return made

        yield make
