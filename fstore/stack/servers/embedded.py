"""Postgres and Redis of one folder, started, stopped and killed on demand."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import filelock

from fstore.errors import ConfigurationError
from fstore.settings import Settings, gather_settings
from fstore.stack.choices import Choices, load_choices, save_choices
from fstore.stack.layout import Layout, Places, remove_runtime, settle
from fstore.stack.processes.children import Child
from fstore.stack.servers import postgres
from fstore.stack.servers.binaries import find_postgres, find_redis, reachable
from fstore.stack.servers.ports import choose_port
from fstore.stack.servers.postgres import PostgresServer
from fstore.stack.servers.redis_server import RedisServer


class FolderTaken(ConfigurationError):
    """Another process runs servers in the folder."""


class EmbeddedServers:
    """Runs a real Postgres and a real Redis in a folder for as long as the ``with`` block lasts.

    Both die with this process, even when it is killed (Linux); the data stay in
    the folder for the next time. One process at a time owns a folder.
    ``settings`` say which programs to run; ``postgres_settings`` override server
    settings, for tests that need it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Settings | None = None,
        postgres_settings: Mapping[str, str] | None = None,
        say: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.layout = Layout(Path(folder).expanduser().resolve())
        self._cancelled = cancelled
        self._chosen = settings
        self._postgres_settings = dict(postgres_settings or {})
        self._say = say or (lambda _: None)
        self._lock: filelock.BaseFileLock | None = None
        self._places: Places | None = None
        self.choices = Choices()
        self._postgres: PostgresServer | None = None
        self._redis: RedisServer | None = None
        self.children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        try:
            self.claim()
            self.prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def postgres_url(self) -> str:
        """The database, e.g. ``postgresql://fstore:...@/fstore?host=/tmp/fstore-1a2b&port=5432``."""
        if self._postgres is None:
            raise ConfigurationError(
                ["the embedded servers are not started: use 'with EmbeddedServers(folder) as servers:'"]
            )
        return self._postgres.url

    @property
    def redis_url(self) -> str:
        """The Redis, e.g. ``redis://:...@127.0.0.1:15432/0``."""
        if self._redis is None:
            raise ConfigurationError(
                ["the embedded servers are not started: use 'with EmbeddedServers(folder) as servers:'"]
            )
        return self._redis.url

    @property
    def postgres(self) -> Child:
        """The Postgres process."""
        return self.children[postgres.NAME]

    @property
    def redis(self) -> Child:
        """The Redis process."""
        return self.children["redis"]

    def claim(self) -> None:
        """Take the folder; an error when another process runs servers in it."""
        self.layout.create()
        lock = filelock.FileLock(self.layout.lock, timeout=0, thread_local=False, mode=0o600)
        try:
            lock.acquire()
        except filelock.Timeout as exc:
            raise FolderTaken(
                [f"another process runs the servers of {self.layout.root}; see 'fstore status', or choose another root"]
            ) from exc
        self._lock = lock

    def prepare(self) -> None:
        """Find programs, places and ports, and create the database's folder when it is new; starts nothing."""
        chosen = self._chosen or gather_settings({"path": self.layout.root})
        self.choices = load_choices(self.layout.choices)
        places, self.choices = settle(self.layout, self.choices)
        save_choices(self.layout.choices, self.choices)
        self._places, account = places, places.account
        found = find_postgres(override=chosen.pg_bindir, data_major=postgres.data_major(places.postgres_data))
        program = reachable(found.bindir / "postgres", found.bindir.parent, account, places.cache)
        self._postgres = PostgresServer(
            replace(found, bindir=program.parent),
            places.postgres_data,
            places.runtime,
            self.choices.postgres_password,
            account,
        )
        if self._postgres.initialise():
            self._say(f"created a Postgres {found.major} database in {places.postgres_data}")
        program = find_redis(override=chosen.redis_server)
        program = reachable(program, program.parent, account, places.cache)
        self._redis = RedisServer(program, places.redis_data, 0, self.choices.redis_password, account)
        self.children = {
            postgres.NAME: Child(self._postgres.spec(self.layout.log(postgres.NAME), self._postgres_settings)),
        }
        self._place_redis()

    def start(self) -> None:
        """Start both and wait until they answer."""
        atexit.register(
            self.close
        )  # where no parent-death signal exists, at least an orderly exit leaves nothing behind
        self.postgres.start()
        self.redis.start()
        self.start_postgres()
        self.start_redis()

    def start_postgres(self) -> None:
        """Start Postgres if it does not run, wait until it answers."""
        if self.postgres.has_ended():
            self.postgres.start()
        self.postgres.wait_ready(self._cancelled)
        if self._postgres is not None:
            self._postgres.ensure_database()

    def start_redis(self) -> None:
        """Start Redis if it does not run, wait until it answers; data that it cannot load are set aside."""
        if self.redis.has_ended():
            self.redis.start()
        try:
            self.redis.wait_ready(self._cancelled)
        except ConfigurationError:
            self.redis.kill()
            if "Address already in use" in self.redis.log_since_start():
                self._place_redis()  # somebody was faster between the choice and the start
            self.redis.spec.mend(self.redis)
            self.redis.start()
            self.redis.wait_ready(self._cancelled)

    def stop_postgres(self) -> None:
        """Stop Postgres in order."""
        self.postgres.stop()

    def stop_redis(self) -> None:
        """Stop Redis in order."""
        self.redis.stop()

    def kill_postgres(self) -> None:
        """Kill Postgres the hard way, as a fault would."""
        self.postgres.kill()

    def kill_redis(self) -> None:
        """Kill Redis the hard way, as a fault would."""
        self.redis.kill()

    def close(self, *, within: float | None = None) -> None:
        """Stop what runs, kill what still does after ``within`` seconds, give the folder back.

        Calling it twice is harmless.
        """
        atexit.unregister(self.close)
        for child in self.children.values():
            child.ask_to_stop()
        for child in self.children.values():
            if child.phase != "stopped":
                child.finish(within=child.spec.stop_grace if within is None else within)
        if self._places is not None:
            remove_runtime(self._places.runtime)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _place_redis(self) -> None:
        """Choose the port and build the child for it."""
        if self._redis is None:
            return
        port = choose_port(self.layout.root, preferred=self.choices.redis_port)
        self.choices = replace(self.choices, redis_port=port)
        save_choices(self.layout.choices, self.choices)
        self._redis = replace(self._redis, port=port)
        self.children["redis"] = Child(self._redis.spec(self.layout.log("redis"), self._say))


@contextmanager
def temporary_servers(*, postgres_settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedServers]:
    """Run both servers in a short folder of their own that is removed afterwards; made for tests.

    Test runners give out private folders, which the account that root's servers
    run as could not enter.
    """
    folder = Path(tempfile.mkdtemp(prefix="fstore-"))
    folder.chmod(0o711)
    try:
        with EmbeddedServers(folder, postgres_settings=postgres_settings) as servers:
            yield servers
    finally:
        shutil.rmtree(folder, ignore_errors=True)
