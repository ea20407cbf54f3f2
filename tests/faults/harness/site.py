"""A store on servers of its own, all of whose processes can be killed, stopped, frozen and started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import psycopg2
import redis

from fstore import FeatureStore
from fstore.stack import EmbeddedServers, temporary_servers
from tests import sample_features
from tests.conftest import House, Servers, build_house, run_sql, stop_group, with_database
from tests.faults.harness.calls import Asking, Calls
from tests.faults.harness.proxy import Proxy
from tests.pooler import Pooler, pooling
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(100)]})
SHORT = {"lease_seconds": "3", "lock_seconds": "3", "renew_seconds": "1"}


@dataclass
class Site(House):
    """A house whose every process a row may end; ``calls`` and ``marked`` feed the invariant check."""

    machine: EmbeddedServers
    redis_proxy: Proxy | None = None
    postgres_proxy: Proxy | None = None
    pooler: Pooler | None = None
    calls: Calls = field(default_factory=Calls)
    marked: dict[Path, int] = field(default_factory=dict)

    def worker(self, *, concurrency: int = 1, **more: Any) -> subprocess.Popen[bytes]:
        """Start a worker in a process group of its own and wait until it is ready."""
        return self.start(concurrency=concurrency, **more)

    def beat(self, name: str = "beat", **environment: str) -> subprocess.Popen[bytes]:
        """Start Beat; its schedule file is ``<folder>/<name>.schedule``, its log ``<folder>/<name>.log``."""
        arguments = ("-A", "beat.app", "beat", "-s", f"{name}.schedule", "--pidfile=", "--loglevel=INFO")
        return self.start_celery(name, *arguments, **environment)

    def store_of_its_own(self, **settings: object) -> FeatureStore:
        """Open another trainer's store, closed when the row ends."""
        store = self.open(**settings)
        self.stack.callback(store.close)
        return store

    def marks(self, name: str, *, most: int = 3) -> str:
        """Return a folder for the start marks of one key, of which the check allows ``most``."""
        folder = self.folder / "marks" / name
        self.marked[folder] = most
        return str(folder)

    def starts(self, name: str) -> list[int]:
        """Return the processes that started the computation with these marks, in order."""
        folder = self.folder / "marks" / name
        made = sorted(folder.iterdir(), key=lambda mark: int(mark.name.split("-")[1])) if folder.exists() else []
        return [int(mark.name.split("-")[0]) for mark in made]

    def started(self, name: str, *, count: int = 1, seconds: float = 30) -> list[int]:
        """Wait until the computation was started so often, and return by which processes."""
        eventually(lambda: len(self.starts(name)) >= count, seconds=seconds, what=f"{name} to start ({count})")
        return self.starts(name)

    def asking(
        self,
        config: dict[str, Any],
        function: Any = sample_features.slow,
        *,
        timeout: float = 60,
        store: FeatureStore | None = None,
        raw: Any = RAW,
    ) -> Asking:
        """Ask in a thread; the call is recorded."""
        return Asking(self.calls, store or self.store, "ROW", raw, config, function, timeout=timeout)

    def ask(
        self,
        config: dict[str, Any],
        function: Any = sample_features.slow,
        *,
        timeout: float = 60,
        store: FeatureStore | None = None,
    ) -> pd.DataFrame:
        """Ask here; the call is recorded."""
        return self.calls.ask(store or self.store, "ROW", RAW, config, function, timeout=timeout)

    def key(self, config: dict[str, Any], function: Any = sample_features.slow) -> str:
        """Return the key of what ``ask`` asks for."""
        return self.store._prepare("ROW", RAW, config, function).key

    def logs(self) -> str:
        """Return what all workers logged so far."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def machine_url(self) -> str:
        """Return the address of the site's database, past any proxy."""
        name = self.environment["FEATURE_STORE_POSTGRES_URL"].partition("?")[0].rpartition("/")[2]
        return with_database(self.machine.postgres_url, name)

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement on a connection of its own, past the product and any proxy."""
        return run_sql(self.machine_url(), statement)

    def waiting_backends(self) -> int:
        """Return how many sessions of Postgres wait for a lock."""
        ((count,),) = self.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return int(str(count))

    def is_publishing(self) -> bool:
        """Tell whether a publish holds the manifest's lock just now."""
        held = "SELECT 1 FROM pg_locks WHERE relation = 'manifest'::regclass AND mode = 'ExclusiveLock' AND granted"
        return bool(self.sql(held))

    @contextmanager
    def holding_the_manifest(self, *, as_publisher: bool = False) -> Iterator[Callable[[], bool]]:
        """Hold the manifest's lock, or a publisher's turn, in a session without time limits; yields whether somebody waits for it."""
        connection = psycopg2.connect(self.machine_url())
        hold = "LOCK TABLE manifest IN EXCLUSIVE MODE"
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM publish_turn FOR UPDATE" if as_publisher else hold)
            yield lambda: self.waiting_backends() > 0
            with suppress(psycopg2.Error):  # a row may have killed the server meanwhile
                connection.rollback()
        finally:
            connection.close()

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        """Lend a client of the real Redis, past any proxy."""
        client = redis.Redis.from_url(self.machine.redis_url, decode_responses=True)
        try:
            yield client
        finally:
            client.close()

    def kill_redis(self) -> None:
        """Kill Redis with SIGKILL."""
        self.machine.kill_redis()

    def start_redis(self, *, empty: bool = False) -> None:
        """Start Redis again, with what it had written down or with nothing."""
        if empty:
            data = self.machine.layout.root / "stack" / "redis"
            for file in data.iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        self.machine.start_redis()

    def kill_postgres(self) -> None:
        """Kill every process of Postgres with SIGKILL at once, as a crash of its host would."""
        everything = family(self.machine.postgres.pid)
        for process in everything:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.machine.kill_postgres()
        psutil.wait_procs(everything, timeout=10)

    def start_postgres(self) -> None:
        """Start Postgres again; it recovers from its log."""
        self.machine.start_postgres()


def open_site(
    folder: Path,
    stack: ExitStack,
    *,
    behind: tuple[str, ...] = (),
    postgres_settings: Mapping[str, str] | None = None,
    pool_size: int = 2,
    **settings: str,
) -> Site:
    """Start servers of their own and make a store on them; ``settings`` are ``FEATURE_STORE_*`` names in lower case.

    ``behind`` names servers ("redis", "postgres") that trainers and workers reach
    through a proxy, ``site.redis_proxy`` and ``site.postgres_proxy``; "pooler" puts
    PgBouncer with ``pool_size`` server connections before Postgres, ``site.pooler``.
    """
    machine = stack.enter_context(temporary_servers(postgres_settings=postgres_settings))
    urls = {"postgres": machine.postgres_url, "redis": machine.redis_url}
    proxies = {name: stack.enter_context(Proxy.before(urls[name])) for name in behind if name in urls}
    pooler = stack.enter_context(pooling(urls["postgres"], pool_size=pool_size)) if "pooler" in behind else None
    urls |= {name: proxy.url for name, proxy in proxies.items()}
    if pooler is not None:
        urls["postgres"] = pooler.url(urls["postgres"])
    house = build_house(Servers(urls["postgres"], urls["redis"]), folder, stack, **settings)
    stack.callback(machine.start_redis)  # whatever a row did to them: what ends with the row needs both
    stack.callback(machine.start_postgres)
    return Site(
        **vars(house), machine=machine, pooler=pooler,
        redis_proxy=proxies.get("redis"), postgres_proxy=proxies.get("postgres"),
    )  # fmt: skip


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Stop processes and all below them without closing a socket, and let them go on afterwards."""
    everybody = [process for pid in pids for process in family(pid)]
    for process in everybody:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in everybody:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker and its children with SIGKILL."""
    stop_group(process)
