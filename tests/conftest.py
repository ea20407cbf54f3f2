"""Real servers for every test: one Postgres and one Redis a run, a database and a folder of its own for each test."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
import redis

from fstore import FeatureStore, bootstrap
from fstore.settings.schema import Settings
from fstore.stack import temporary_servers
from tests.waiting import eventually

REPOSITORY = Path(__file__).parent.parent


@dataclass(frozen=True)
class Servers:
    """Where the run's Postgres and Redis listen."""

    postgres_url: str
    redis_url: str


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A real Postgres and a real Redis for the whole run."""
    with temporary_servers() as running:
        yield Servers(running.postgres_url, running.redis_url)


@pytest.fixture(scope="session")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A store with servers and a worker of two processes of its own, shared by all tests that leave it whole."""
    with temporary_servers() as running, ExitStack() as stack:
        servers = Servers(running.postgres_url, running.redis_url)
        house = build_house(servers, tmp_path_factory.mktemp("staffed"), stack)
        house.start()
        yield house


@dataclass
class House:
    """One store of its own: settings, an open store, and a way to start workers on it."""

    root: Path
    environment: dict[str, str]
    settings: Settings
    store: FeatureStore
    start: Callable[..., subprocess.Popen[bytes]]

    def open(self, **settings: object) -> FeatureStore:
        """Open another store on the same servers and folder."""
        given = {
            "postgres_url": self.environment["FEATURE_STORE_POSTGRES_URL"],
            "redis_url": self.environment["FEATURE_STORE_REDIS_URL"],
        }
        known = {
            name.removeprefix("FEATURE_STORE_").lower(): value
            for name, value in self.environment.items()
            if name.startswith("FEATURE_STORE_")
        }
        return FeatureStore(self.root, **{**known, **given, **settings})


@pytest.fixture
def house(servers: Servers, tmp_path: Path) -> Iterator[House]:
    """A store on a database, a Redis and a folder that no other test touches."""
    with ExitStack() as stack:
        yield build_house(servers, tmp_path, stack)


def build_house(servers: Servers, folder: Path, stack: ExitStack, **settings: str) -> House:
    """Make a store with a new database and an empty Redis; ``settings`` are ``FEATURE_STORE_*`` names in lower case."""
    name = f"fstore_{uuid.uuid4().hex[:12]}"
    run_sql(servers.postgres_url, f"CREATE DATABASE {name}")
    root = folder / "store"
    redis.Redis.from_url(servers.redis_url).flushall()
    environment = {
        "FEATURE_STORE_PATH": str(root),
        "FEATURE_STORE_POSTGRES_URL": with_database(servers.postgres_url, name),
        "FEATURE_STORE_REDIS_URL": servers.redis_url,
        "FEATURE_STORE_FEATURE_MODULES": "fstore.intraday,tests.sample_features",
        "FEATURE_STORE_DATA_ROOTS": str(folder),
        **{f"FEATURE_STORE_{key.upper()}": value for key, value in settings.items()},
    }
    chosen = bootstrap.load_settings(
        {key.removeprefix("FEATURE_STORE_").lower(): value for key, value in environment.items()}
    )
    bootstrap.prepare(chosen)
    store = FeatureStore.over(bootstrap.open_resources(chosen, role="trainer"))
    stack.callback(run_sql, servers.postgres_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    stack.callback(store.close)

    def start(
        *, concurrency: int = 2, queues: str = "fstore.compute,fstore.write,fstore.upkeep", **more: str
    ) -> subprocess.Popen[bytes]:
        process = start_worker({**environment, **more}, folder, concurrency=concurrency, queues=queues)
        stack.callback(stop_group, process)
        return process

    return House(root, environment, chosen, store, start)


def start_worker(
    environment: dict[str, str], folder: Path, *, concurrency: int, queues: str
) -> subprocess.Popen[bytes]:
    """Start a Celery worker as people start it, and wait until it is ready."""
    beating = folder / f"worker-{uuid.uuid4().hex[:8]}.heartbeat"
    log = folder / f"{beating.stem}.log"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FEATURE_STORE_", "CELERY_"))}
    path = os.pathsep.join([str(REPOSITORY), inherited.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", queues, "-c", str(concurrency),
             "-n", f"{beating.stem}@%h", "--loglevel", "INFO"],
            env={**inherited, **environment, "PYTHONPATH": path, "FEATURE_STORE_HEARTBEAT_FILE": str(beating)},
            cwd=folder, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip

    def is_ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the worker ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        return beating.exists()

    eventually(is_ready, seconds=60, what="the worker to be ready")
    return process


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait(10)


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


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    head, _, query = url.partition("?")
    base = head.rsplit("/", 1)[0]
    return f"{base}/{name}" + (f"?{query}" if query else "")
