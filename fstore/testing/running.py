"""A store with a Postgres, a Redis and a worker of its own, for as long as a ``with`` block lasts."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from fstore.bootstrap import Opening, open_resources, prepare
from fstore.features import load_feature_modules
from fstore.model import ObjectUrl
from fstore.postgres import Database
from fstore.runtime.systems import require_posix
from fstore.settings import Settings, gather_settings
from fstore.stack import EmbeddedServers, stack_settings, temporary_servers
from fstore.store import FeatureStore
from fstore.testing.celery_processes import celery_environment, start_celery, start_worker, stop_group

DEADLINES = {"request_timeout_s": 60}  # instead of a quarter of an hour, for which no test should hang


@dataclass(frozen=True, slots=True)
class Servers:
    """Where a Postgres and a Redis listen; the user of the URL may create databases."""

    postgres_url: str
    redis_url: str


@dataclass
class RunningStore:
    """What ``running_store`` lends: an open store, and what it takes to start more on it.

    ``environment`` holds the settings as ``FEATURE_STORE_*`` variables: with them in place
    ``fstore.connect()`` and the commands find this store. ``servers`` can be killed and started again
    when they are its own.
    """

    root: Path
    folder: Path
    environment: dict[str, str]
    settings: Settings
    store: FeatureStore
    servers: Servers | EmbeddedServers
    stack: ExitStack = field(repr=False)

    def open(self, **settings: Any) -> FeatureStore:
        """Open the store once more, as another process would; ``settings`` replace this store's."""
        known = {name.removeprefix("FEATURE_STORE_").lower(): value for name, value in self.environment.items()}
        given = {**known, **settings}
        opened = open_resources(gather_settings(given, environ={}), role="trainer")
        return FeatureStore.over(opened, Opening.of({**given, "path": opened.settings.path}, None))

    def child_environment(self, **environment: str) -> dict[str, str]:
        """Return the whole environment of a process that shall find this store, and import what this one can."""
        return {**celery_environment(self.settings), **self.environment, **environment}

    def start_worker(
        self, *arguments: str, concurrency: int = 2, queues: str | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start another worker and wait until it takes messages; it is killed when the block ends.

        ``arguments`` are more of ``celery worker``, ``environment`` variables of this worker alone. Its log is
        ``<folder>/worker-*.log``.
        """
        given = self.child_environment(**environment)
        process = start_worker(given, self.folder, *arguments, concurrency=concurrency, queues=queues)
        self.stack.callback(stop_group, process)
        return process

    def start_celery(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start another Celery command, as Beat or Flower; it is killed when the block ends.

        Its log is ``<folder>/<name>.log``.
        """
        process = start_celery(arguments, self.child_environment(**environment), self.folder / f"{name}.log")
        self.stack.callback(stop_group, process)
        return process


@contextmanager
def running_store(
    feature_modules: Sequence[str] = (),
    *,
    concurrency: int = 2,
    folder: Path | None = None,
    servers: Servers | EmbeddedServers | None = None,
    postgres_settings: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[RunningStore]:
    """Lend a running store with nothing in it; all of it ends with the block, or with this process.

    ``feature_modules`` are what its workers import: found where this process finds
    them. ``concurrency`` is the number of worker processes; with 0 no worker is started.
    ``settings`` are those of ``fstore.connect``; the environment's are left aside, so that no test
    touches a store that it was not given. ``folder`` takes files and logs (default: one that is removed
    at the end). With ``servers`` that run already the store gets a new database on them instead of
    servers of its own; their Redis must be empty. Starting takes some five seconds, and at
    most two minutes.

    Raises ``ConfigurationError`` when a feature module, a setting, a server or the worker is at fault.
    """
    require_posix("a running store for tests ('fstore.testing')")
    with ExitStack() as stack:
        load_feature_modules(feature_modules)
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="fstore-testing-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder = folder.absolute()  # workers run in it
        folder.mkdir(parents=True, exist_ok=True)
        if servers is None:
            servers = stack.enter_context(temporary_servers(postgres_settings=postgres_settings))
            database = servers.postgres_url
        else:
            database = stack.enter_context(_new_database(servers.postgres_url))
        given = {
            "feature_modules": list(feature_modules),
            "data_roots": [folder],
            **DEADLINES,
            "path": folder / "store",
        }
        if ObjectUrl.is_url(settings.get("path")):  # nothing of this host's own store is touched
            given |= {"stack_path": folder / "store", "local_cache": "off"}
        given |= {**settings, "postgres_url": database, "redis_url": servers.redis_url}
        chosen = gather_settings(given, environ={})
        prepare(chosen)
        store = stack.enter_context(FeatureStore.over(open_resources(chosen, role="trainer")))
        running = RunningStore(
            chosen.stack_folder, folder, stack_settings(celery_environment(chosen)), chosen, store, servers, stack
        )
        if concurrency:
            running.start_worker(concurrency=concurrency)
        yield running


@contextmanager
def _new_database(url: str) -> Iterator[str]:
    """Create a database on a server that runs already, lend its URL, and drop it whoever still uses it."""
    name = f"fstore_{uuid4().hex[:12]}"
    _execute(url, f"CREATE DATABASE {name}")
    try:
        yield with_database(url, name)
    finally:
        _execute(url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    head, mark, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{mark}{query}"


def _execute(url: str, statement: str) -> None:
    database = Database(url, application_name="fstore/testing", pool_size=1)
    try:
        with database.session() as session:
            session.maintain(statement, seconds=30)
    finally:
        database.close()
