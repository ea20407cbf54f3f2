"""The stand benchmarks run on: a running store with a local tier to turn on, and workers that know a task that does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from celery import Celery

from fstore import FeatureStore
from fstore.broker import celery_config
from fstore.settings import Settings
from fstore.stack import EmbeddedServers, temporary_servers
from fstore.testing import RunningStore, Servers, running_store

BENCH = Path(__file__).parent.parent
FEATURES, TASKS, NOOP = "harness.features", "harness.bare_tasks", "bench.noop"
TIER_BYTES = 4 << 30


@dataclass
class Stand(RunningStore):
    """One running store."""

    def trainer(self, *, tier: bool = False) -> FeatureStore:
        """Open the store as a trainer does, with or without a local tier."""
        return self.open(**local_tier(self.folder, wanted=tier))

    def worker(self, *, concurrency: int = 2) -> subprocess.Popen[bytes]:
        """Start a worker that also knows the task that does nothing, and wait until it is ready."""
        return self.start_worker("-I", TASKS, "--loglevel", "WARNING", concurrency=concurrency)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run statements of a benchmark's own in this store's database."""
        return run_sql(self.environment["FEATURE_STORE_POSTGRES_URL"], sql)


def local_tier(folder: Path, *, wanted: bool) -> dict[str, Any]:
    """Return the settings of a store with, or without, a local tier."""
    return {"local_cache": folder / "tier", "local_cache_max_bytes": TIER_BYTES} if wanted else {"local_cache": None}


def open_in_part(*, tier: bool = False) -> FeatureStore:
    """Open the store that a part of a benchmark finds in its environment."""
    return FeatureStore(**local_tier(Path(os.environ["FEATURE_STORE_DATA_ROOTS"]), wanted=tier))


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and all it forked have taken so far."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    living = [child.cpu_times() for child in process.children()]
    ended = own.children_user + own.children_system
    return float(ended + sum(times.user + times.system for times in [own, *living]))


def celery_client(settings: Settings) -> Celery:
    """Return a bare Celery client of the same broker; ``send_task(NOOP)`` is what ``noop.delay()`` sends."""
    app = Celery("bench-client", set_as_current=False)
    app.conf.update(celery_config(settings))
    return app


@contextmanager
def stand() -> Iterator[Stand]:
    """Set up a store, and take everything down afterwards."""
    with temporary_servers() as servers, stands(servers, 1) as (place,):
        yield place


@contextmanager
def stands(servers: EmbeddedServers, count: int, *, folder: Path | None = None) -> Iterator[list[Stand]]:
    """Set up stores that share the servers, each with a database, a Redis database and a folder of its own."""
    below = Path(tempfile.mkdtemp(prefix="fstore-bench-", dir=folder))
    try:
        with ExitStack() as stack:
            yield [one_stand(servers, below / str(number), number, stack) for number in range(count)]
    finally:
        shutil.rmtree(below, ignore_errors=True)


def one_stand(servers: EmbeddedServers, folder: Path, number: int, stack: ExitStack, **settings: Any) -> Stand:
    """Set up one store, with settings of a benchmark's choice."""
    folder.mkdir()
    urls = Servers(servers.postgres_url, f"{servers.redis_url.rpartition('/')[0]}/{number}")
    # What a batch of thousands takes is the figure, not a fault.
    lent = running_store([FEATURES], concurrency=0, folder=folder, servers=urls, request_timeout_s=900, **settings)
    return Stand(**vars(stack.enter_context(lent)))


def run_sql(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run statements of a benchmark's own on a connection of their own, outside any transaction."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()
