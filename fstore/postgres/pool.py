"""The one door to Postgres: pooled connections and translated errors.

Statements are tried again where that is harmless. Every statement is its own
transaction; several statements in one string are one transaction too, which is how a
publish takes a single round trip.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg2
import psycopg2.extensions as pg

from fstore.errors import FeatureStoreError, ManifestBusy, ManifestUnavailable, NotPermitted
from fstore.postgres.connection import Params, Session, execute, execute_repeated, has_news, open_connection, translated
from fstore.postgres.queries import Row
from fstore.runtime import deadline
from fstore.runtime.fork_safety import run_in_children

IDLE_PING_S = 30.0
OVERFLOW = 10
SLOT_WAIT_S = 5.0
PAUSE_AFTER_FAILURE_S = 1.0  # after a failed connect others fail at once: nobody queues for a dead server

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0  # between tries: at random up to this, which doubles from try to try

_ANSWERED = (ManifestBusy, NotPermitted)  # the server's own word, so the connection is fine


class _Idle(NamedTuple):
    connection: pg.connection
    since: float


class _Shelf:
    """Connections that nobody uses now, the last used on top.

    Without a lock, for a fork may come any time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[_Idle] = []
        self._is_closed = self._is_parents = False

    def take(self) -> _Idle | None:
        """Take one that the server has not closed: after a restart all idle ones are dead at once."""
        while self._idle:
            try:
                idle = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if not has_news(idle.connection):
                return idle
            idle.connection.close()
        return None

    def give(self, connection: pg.connection) -> None:
        """Take a healthy one back; the shelf it came from may be closed, or the parent's, by now."""
        if self._is_parents or (not self._is_closed and len(self._idle) < self._most):
            self._idle.append(_Idle(connection, time.monotonic()))
            if self._is_closed and not self._is_parents:  # meanwhile
                self.close()
        else:
            connection.close()

    def drop(self, connection: pg.connection) -> None:
        """Close one that is of no use any more; a parent's is only set aside, for its socket is the parent's."""
        if self._is_parents:
            self._idle.append(_Idle(connection, 0.0))
        else:
            connection.close()

    def close(self) -> None:
        """Close what lies here, and later what comes back."""
        self._is_closed = True
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().connection.close()

    def leave_to_parent(self) -> None:
        """Never close what lies here, nor what comes back.

        It is to be kept, for a connection that is collected says goodbye too.
        """
        self._is_parents = True
        _orphaned.append(self)


class Database:
    """A pool of connections to one Postgres.

    Safe to share between threads, and after a fork: a child drops the parent's
    connections without closing them and opens its own.
    """

    def __init__(self, url: str, *, application_name: str, connect_timeout_s: float = 3.0, pool_size: int = 10) -> None:
        self._url = url
        self._application_name = application_name
        self._connect_timeout_s = connect_timeout_s
        self._down_until, self._down_why = 0.0, ""
        self._pool_size, self._most = pool_size, pool_size + OVERFLOW
        self._slots = threading.BoundedSemaphore(self._most)
        self._shelf = _Shelf(pool_size)
        _alive.add(self)

    def query(self, sql: str, params: Params = None, *, repeated: bool = False) -> list[Row]:
        """Run a statement and return its rows; a connection that was dropped meanwhile is replaced once.

        Only for statements that may run twice. ``repeated`` says of one that only reads that it comes often.
        """
        run = execute_repeated if repeated else execute
        try:
            return self._run(sql, params, run)
        except ManifestUnavailable as error:
            if isinstance(error, _ANSWERED) or deadline.is_due():
                raise
            # Where one pooled connection is dead the others are too, though their sockets may not say so yet.
            stale, self._shelf = self._shelf, _Shelf(self._pool_size)
            stale.close()
            return self._run(sql, params, run)

    def transact(
        self,
        sql: str,
        params: Params = None,
        *,
        tries: int = 5,
        total_s: float = 18.0,
    ) -> list[Row]:
        """Run a statement that competes for locks, and return its rows.

        It is run at most ``tries`` times within ``total_s``. It may have been committed and run again, when only
        the answer was lost: the statement must be written so that the second run is harmless.
        """
        began = time.monotonic()
        for tried in range(1, tries + 1):
            try:
                return self._run(sql, params)
            except ManifestUnavailable as error:
                late = deadline.is_due() or time.monotonic() - began >= total_s
                if isinstance(error, NotPermitted) or late or tried == tries:
                    raise
            time.sleep(random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (tried - 1))))  # noqa: S311 no secret
        raise AssertionError("a statement is tried at least once")

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Lend one connection for several statements, as VACUUM and answers that are fetched later need."""
        with self._lent() as connection:
            yield Session(connection)

    def close(self) -> None:
        """Close every pooled connection."""
        self._shelf.close()

    def forget_after_fork(self) -> None:
        """Leave the parent's connections alone and start an empty pool; called in a forked child."""
        self._shelf.leave_to_parent()
        self._shelf = _Shelf(self._pool_size)
        self._slots = threading.BoundedSemaphore(self._most)

    def _run(
        self, sql: str, params: Params, run: Callable[[pg.connection, str, Params], list[Row]] = execute
    ) -> list[Row]:
        with self._lent() as connection:
            return run(connection, sql, params)

    @contextmanager
    def _lent(self) -> Iterator[pg.connection]:
        slots = self._slots
        if not slots.acquire(timeout=deadline.remaining(SLOT_WAIT_S)):
            raise ManifestUnavailable("waiting for a free connection", "all pooled connections are busy")
        try:
            with self._checked_out() as connection:
                yield connection
        finally:
            slots.release()

    @contextmanager
    def _checked_out(self) -> Iterator[pg.connection]:
        shelf = self._shelf
        try:
            connection, since = shelf.take() or _Idle(self._connect(), time.monotonic())
        except psycopg2.Error as error:
            raise translated(error, f"connecting to {self._place}") from error
        healthy = False
        try:
            if time.monotonic() - since > IDLE_PING_S:
                execute(connection, "SELECT 1", None)
            yield connection
            healthy = True
        except FeatureStoreError as error:
            healthy = not isinstance(error, ManifestUnavailable) or isinstance(error, _ANSWERED)
            raise
        finally:
            if healthy and not connection.closed and not connection.isexecuting():
                shelf.give(connection)
            else:
                shelf.drop(connection)

    @property
    def _place(self) -> str:
        """Say which server is meant, for errors: never user, password or options."""
        try:
            server = pg.parse_dsn(self._url)
        except psycopg2.Error:
            return "an address that cannot be read"
        return f"{server.get('host', 'localhost')}:{server.get('port', 5432)}"

    def _connect(self) -> pg.connection:
        if time.monotonic() < self._down_until:
            raise ManifestUnavailable(f"connecting to {self._place}", self._down_why)
        seconds = deadline.remaining(self._connect_timeout_s)
        try:
            return open_connection(self._url, application_name=self._application_name, seconds=seconds)
        except (psycopg2.OperationalError, ManifestUnavailable) as error:
            if seconds >= self._connect_timeout_s:  # a caller in a hurry says nothing about the server
                self._down_why = " ".join(map(str, error.args[-1:])).strip().partition("\n")[0]
                self._down_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            raise


_alive: weakref.WeakSet[Database] = weakref.WeakSet()
_orphaned: list[_Shelf] = []


def _after_fork_in_child() -> None:
    for database in list(_alive):
        database.forget_after_fork()


run_in_children(_after_fork_in_child)
