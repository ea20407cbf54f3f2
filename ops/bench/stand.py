"""The stand benchmarks run on: a real Postgres and Redis, workers as people start them, everything below one folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from celery import Celery

from fstore import FeatureStore, bootstrap
from fstore.broker.configuration import celery_config
from fstore.settings.schema import Settings
from fstore.stack import EmbeddedServers, temporary_servers

HERE = Path(__file__).parent
QUEUES = "fstore.compute,fstore.write,fstore.upkeep"
NOOP = "bench.noop"
TIER_BYTES = 4 << 30


@dataclass(frozen=True)
class Stand:
    """One running store."""

    folder: Path
    environment: dict[str, str]
    settings: Settings
    stack: ExitStack

    def open(self, *, tier: bool = False) -> FeatureStore:
        """Open the store as a trainer does, with or without a local tier."""
        return FeatureStore(
            self.settings.path,
            postgres_url=self.environment["FEATURE_STORE_POSTGRES_URL"],
            redis_url=self.environment["FEATURE_STORE_REDIS_URL"],
            feature_modules=["bench_features"],
            **local_tier(self.folder, wanted=tier),
        )

    def worker(self, *, concurrency: int = 2) -> subprocess.Popen[bytes]:
        """Start a worker that also knows the task that does nothing, and wait until it is ready."""
        beat = self.folder / f"worker-{time.monotonic_ns()}"
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-I", "bare_tasks", "-Q", QUEUES,
                 "-c", str(concurrency), "-n", f"{beat.name}@%h", "--loglevel", "WARNING"],
                env={**os.environ, **self.environment, "FEATURE_STORE_HEARTBEAT_FILE": str(beat)},
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.stack.callback(stop, process)
        ends_at = time.monotonic() + 60
        while not beat.exists():
            if process.poll() is not None or time.monotonic() > ends_at:
                raise SystemExit(f"the worker did not start:\n{(self.folder / 'worker.log').read_text()[-2000:]}")
            time.sleep(0.05)
        return process

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run statements of a benchmark's own in this store's database."""
        return run_sql(self.environment["FEATURE_STORE_POSTGRES_URL"], sql)


def stop(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all it started; its number is its own until it was waited for."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


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
def stands(servers: EmbeddedServers, count: int) -> Iterator[list[Stand]]:
    """Set up stores that share the servers, each with a database, a Redis database and a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fstore-bench-"))
    try:
        with ExitStack() as stack:
            yield [one_stand(servers, folder / str(number), number, stack) for number in range(count)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def one_stand(servers: EmbeddedServers, folder: Path, number: int, stack: ExitStack) -> Stand:
    """Set up one store."""
    folder.mkdir()
    postgres_url, redis_url = servers.postgres_url, servers.redis_url
    if number:
        head, _, query = postgres_url.partition("?")
        run_sql(postgres_url, f"CREATE DATABASE bench_{number}")
        postgres_url = f"{head.rpartition('/')[0]}/bench_{number}?{query}"
        redis_url = f"{redis_url.rpartition('/')[0]}/{number}"
    environment = {
        "FEATURE_STORE_PATH": str(folder / "store"),
        "FEATURE_STORE_POSTGRES_URL": postgres_url,
        "FEATURE_STORE_REDIS_URL": redis_url,
        "FEATURE_STORE_FEATURE_MODULES": "bench_features",
        "FEATURE_STORE_DATA_ROOTS": str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), str(HERE.parent.parent), os.environ.get("PYTHONPATH")])),
    }
    settings = bootstrap.load_settings(
        {
            "path": folder / "store",
            "postgres_url": postgres_url,
            "redis_url": redis_url,
            "feature_modules": ["bench_features"],
        }
    )
    bootstrap.prepare(settings)
    return Stand(folder, environment, settings, stack)


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
