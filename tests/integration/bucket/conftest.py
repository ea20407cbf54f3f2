"""Stores in a bucket, under the names that tests of stores in a folder know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fstore.testing import Servers
from tests.conftest import House, build_house
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket, ObjectServer
from tests.support.bucket_paths import Behind, BucketShelf


@pytest.fixture
def behind(ministack: ObjectServer) -> Iterator[Behind]:
    """A new bucket, and a proxy before it."""
    with HttpProxy(ministack.address) as proxy:
        yield Behind.over(ministack, proxy)


@pytest.fixture
def house(servers: Servers, tmp_path: Path, behind: Behind) -> Iterator[House]:
    """A store in a bucket that no other test touches."""
    with ExitStack() as stack:
        built = build_house(servers, tmp_path, stack, **behind.settings)
        built.root = behind.root  # type: ignore[assignment]
        yield built


@pytest.fixture(scope="session")
def staffed(servers: Servers, ministack: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A store in a bucket with a worker of two processes, shared by all tests that leave it whole."""
    from fstore.stack import temporary_servers

    with temporary_servers() as running, HttpProxy(ministack.address) as proxy, ExitStack() as stack:
        behind = Behind.over(ministack, proxy)
        own = Servers(running.postgres_url, running.redis_url)
        built = build_house(own, tmp_path_factory.mktemp("staffed"), stack, **behind.settings)
        built.start()
        built.root = behind.root  # type: ignore[assignment]
        yield built


@pytest.fixture
def shelf(house: House, behind: Behind) -> BucketShelf:
    """A store in a bucket filled by hand."""
    return BucketShelf(house.store.resources, behind)


@pytest.fixture
def raw(radosgw: ObjectServer) -> Bucket:
    """A bucket of raw data, with versions, on a server that gives parts of them."""
    return radosgw.new_bucket(versioned=True)


@pytest.fixture
def proxy(radosgw: ObjectServer) -> Iterator[HttpProxy]:
    """What stands before that server."""
    with HttpProxy(radosgw.address) as proxy:
        yield proxy


@pytest.fixture
def reader(servers: Servers, tmp_path: Path, raw: Bucket, proxy: HttpProxy) -> Iterator[House]:
    """A store in a folder whose trainers and workers may read one prefix of that bucket."""
    with ExitStack() as stack:
        given = {
            **raw.settings(endpoint=proxy.endpoint),
            "data_roots": f"s3://{raw.name}/ticks",
            "scratch": str(tmp_path / "scratch"),
            "feature_modules": "tests.sample_features,tests.partitioned_features",
        }
        given.pop("path")
        yield build_house(servers, tmp_path, stack, **given)
