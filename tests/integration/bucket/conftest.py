"""Stores in a bucket, under the names that tests of stores in a folder know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fstore.testing import Servers
from tests.conftest import House, build_house
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import ObjectServer
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
