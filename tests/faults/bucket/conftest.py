"""Stores in a bucket behind the object store's fault proxy, on each of the servers where a row says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fstore.s3 import S3Client, buckets_of
from fstore.settings import Settings, gather_settings
from fstore.storage import EntryStore, StagingArea, open_storage
from tests.faults.harness.http_proxy import HttpProxy
from tests.faults.harness.site import Site, open_site
from tests.object_servers import Bucket, ObjectServer
from tests.support.bucket_paths import PREFIX, Behind

SECRET_PARTS = ("test-secret-that-no-output-may-show", "secretive")


@dataclass
class Shelved:
    """The files of a store in a bucket, without database and broker, and a way to look behind them."""

    bucket: Bucket
    proxy: HttpProxy
    settings: Settings
    entries: EntryStore
    staging: StagingArea

    @property
    def client(self) -> S3Client:
        """The product's client of the bucket."""
        return buckets_of(self.settings).client(self.bucket.name)

    def keys(self, below: str = "entries/") -> list[str]:
        """List what lies there, seen directly."""
        return self.bucket.keys(f"{PREFIX}/{below}")


@pytest.fixture
def make_shelved(tmp_path: Path) -> Iterator[Callable[..., Shelved]]:
    """A way to open a store's files on a server; ``settings`` are those of a store."""
    with ExitStack() as stack:

        def make(server: ObjectServer, bucket: Bucket | None = None, **settings: object) -> Shelved:
            bucket = bucket or server.new_bucket()
            proxy = stack.enter_context(HttpProxy(server.address))
            given = {
                **bucket.settings(PREFIX, proxy.endpoint),
                "object_timeout_s": 10,
                "object_part_bytes": 5 << 20,
                "local_cache": "off",
                **settings,
            }
            chosen = gather_settings(given, environ={})
            storage = open_storage(chosen)
            made = Shelved(bucket, proxy, chosen, storage.entries, storage.staging)
            stack.callback(buckets_of(chosen).close)
            if not made.entries.identity():
                made.entries.create("rows")
            return made

        yield make


@pytest.fixture
def shelved(make_shelved: Callable[..., Shelved], object_server: ObjectServer) -> Shelved:
    """A store's files on each of the servers in turn."""
    return make_shelved(object_server)


@dataclass
class BucketSite(Site):
    """A site whose root is a bucket, seen through ``root`` as if it were a folder."""

    behind: Behind | None = None

    @property
    def proxy(self) -> HttpProxy:
        """What lies between the store and its bucket."""
        assert self.behind is not None
        return self.behind.proxy


@pytest.fixture
def make_bucket_site(tmp_path: Path) -> Iterator[Callable[..., BucketSite]]:
    """A way to open a site over a server; all of it ends with the row."""
    with ExitStack() as stack:

        def make(server: ObjectServer, **settings: str) -> BucketSite:
            proxy = stack.enter_context(HttpProxy(server.address))
            behind = Behind.over(server, proxy)
            site = open_site(tmp_path, stack, **{**behind.settings, "object_timeout_s": "3", **settings})
            site.root = behind.root  # type: ignore[assignment]
            return BucketSite(**vars(site), behind=behind)

        yield make
