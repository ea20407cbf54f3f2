"""Real servers for every test: one Postgres and one Redis a run, a database and a folder of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
import redis

from fstore.stack import temporary_servers
from fstore.testing import RunningStore, Servers, running_store, stop_group, with_database
from tests.object_servers import bucket, make_bucket, ministack, object_server, radosgw
from tests.pooler import SIZE, pooling

__all__ = [
    "REPOSITORY",
    "House",
    "Servers",
    "bucket",
    "build_house",
    "make_bucket",
    "ministack",
    "object_server",
    "radosgw",
    "run_sql",
    "stop_group",
    "with_database",
]  # what tests import

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A real Postgres and a real Redis for the whole run."""
    with temporary_servers() as running, _before(running.postgres_url) as postgres_url:
        yield Servers(postgres_url, running.redis_url)


@pytest.fixture(scope="session")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A store with servers and a worker of two processes of its own, shared by all tests that leave it whole."""
    with temporary_servers() as running, _before(running.postgres_url) as postgres_url, ExitStack() as stack:
        servers = Servers(postgres_url, running.redis_url)
        house = build_house(servers, tmp_path_factory.mktemp("staffed"), stack)
        house.start()
        yield house


@contextmanager
def _before(postgres_url: str) -> Iterator[str]:
    """Put a pooler of so many server connections before Postgres if ``FSTORE_TEST_POOLER`` says so; see test_pooler.py."""
    if not SIZE:
        yield postgres_url
        return
    with pooling(postgres_url, pool_size=SIZE) as pooler:
        yield pooler.url(postgres_url)


@dataclass
class House(RunningStore):
    """One store of its own: settings, an open store, and ways to start workers on it."""

    start = RunningStore.start_worker


@pytest.fixture
def house(servers: Servers, tmp_path: Path) -> Iterator[House]:
    """A store on a database, a Redis and a folder that no other test touches."""
    with ExitStack() as stack:
        yield build_house(servers, tmp_path, stack)


def build_house(servers: Servers, folder: Path, stack: ExitStack, **settings: str) -> House:
    """Make a store with a new database and an empty Redis; ``settings`` are ``FEATURE_STORE_*`` names in lower case."""
    redis.Redis.from_url(servers.redis_url).flushall()
    modules = settings.pop("feature_modules", "fstore.intraday,tests.sample_features").split(",")
    lent = running_store(modules, concurrency=0, servers=servers, folder=folder, **settings)
    return House(**vars(stack.enter_context(lent)))


def run_sql(url: str, sql: str) -> list[tuple[object, ...]]:
    """Run a statement on a connection of its own, outside any transaction."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()
