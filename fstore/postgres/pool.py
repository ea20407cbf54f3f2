"""The one door to Postgres: pooled connections and translated errors.

Statements are tried again where that is harmless. Every statement is its own
transaction; several statements in one string are one transaction too, which is how a
publish takes a single round trip.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg2
import psycopg2.extensions as pg
import tenacity
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from fstore.errors import FeatureStoreError, ManifestBusy, ManifestUnavailable, NotPermitted
from fstore.postgres.connection import Params, Session, execute, has_news, open_connection, translated
from fstore.postgres.queries import Row
from fstore.runtime import deadline
from fstore.runtime.fork_safety import run_in_children

IDLE_PING_S = 30.0
OVERFLOW = 10
SLOT_WAIT_S = 5.0
PAUSE_AFTER_FAILURE_S = 1.0  # after a failed connect others fail at once: nobody queues for a dead server

_ANSWERED = (ManifestBusy, NotPermitted)  # the server's own word, so the connection is fine


class Database:
    """A pool of connections to one Postgres.

    Safe to share between threads, and after a fork: a child drops the parent's
    connections without closing them and opens its own.
    """

    def __init__(self, url: str, *, application_name: str, connect_timeout_s: float = 3.0, pool_size: int = 10) -> None:
        self._url = url
        self._application_name = application_name
        self._connect_timeout_s = connect_timeout_s
        self._last_used: weakref.WeakKeyDictionary[pg.connection, float] = weakref.WeakKeyDictionary()
        self._down_until, self._down_why = 0.0, ""
        self._most = pool_size + OVERFLOW
        self._slots = threading.BoundedSemaphore(self._most)  # waits as long as the call may; the pool itself cannot
        self._pool = QueuePool(
            cast(Any, self._connect), pool_size=pool_size, max_overflow=OVERFLOW, reset_on_return=None
        )
        _alive.add(self)

    def query(self, sql: str, params: Params = None) -> list[Row]:
        """Run a statement and return its rows; a connection that was dropped meanwhile is replaced once.

        Only for statements that may run twice.
        """
        try:
            return self._run(sql, params)
        except ManifestUnavailable as error:
            if isinstance(error, _ANSWERED) or deadline.is_due():
                raise
            # Where one pooled connection is dead the others are too, though their sockets may not say so yet.
            stale, self._pool = self._pool, self._pool.recreate()
            stale.dispose()
            return self._run(sql, params)

    def transact(
        self,
        sql: str,
        params: Params = None,
        *,
        tries: int = 5,
        total_s: float = 18.0,
    ) -> list[Row]:
        """Run a statement that competes for locks, at most ``tries`` times within ``total_s``, and return its rows.

        It may have been committed and run again, when only the answer was lost: the
        statement must be written so that the second run is harmless.
        """
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(tries) | tenacity.stop_after_delay(total_s),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2),
            retry=tenacity.retry_if_exception(
                lambda error: (
                    isinstance(error, ManifestUnavailable)
                    and not isinstance(error, NotPermitted)
                    and not deadline.is_due()
                )
            ),
            reraise=True,
        )
        return retrying(self._run, sql, params)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Lend one connection for several statements, as VACUUM and answers that are fetched later need."""
        with self._lent() as connection:
            yield Session(connection)

    def close(self) -> None:
        """Close every pooled connection."""
        self._pool.dispose()

    def forget_after_fork(self) -> None:
        """Leave the parent's connections alone and start an empty pool; called in a forked child."""
        self._last_used = weakref.WeakKeyDictionary()
        _orphaned.append(self._pool)  # its sockets belong to the parent: never collected, never closed here
        self._pool = self._pool.recreate()
        self._slots = threading.BoundedSemaphore(self._most)

    def _run(self, sql: str, params: Params) -> list[Row]:
        with self._lent() as connection:
            return execute(connection, sql, params)

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
        try:
            lent = self._alive()
        except psycopg2.Error as error:
            raise translated(error, "connecting") from error
        connection: pg.connection = lent.dbapi_connection  # type: ignore[assignment]
        healthy = False
        try:
            if time.monotonic() - self._last_used.get(connection, time.monotonic()) > IDLE_PING_S:
                execute(connection, "SELECT 1", None)
            yield connection
            healthy = True
        except FeatureStoreError as error:
            healthy = not isinstance(error, ManifestUnavailable) or isinstance(error, _ANSWERED)
            raise
        finally:
            if healthy and not connection.closed and not connection.isexecuting():
                self._last_used[connection] = time.monotonic()
            else:
                lent.invalidate()
            lent.close()

    def _alive(self) -> PoolProxiedConnection:
        """Take a connection the server has not closed: after a restart all idle ones of the pool are dead at once."""
        while True:
            lent: PoolProxiedConnection = self._pool.connect()
            connection = cast(pg.connection, lent.dbapi_connection)
            if connection not in self._last_used or not has_news(connection):
                return lent
            lent.invalidate()
            lent.close()

    def _connect(self) -> pg.connection:
        if time.monotonic() < self._down_until:
            raise ManifestUnavailable("connecting", self._down_why)
        seconds = deadline.remaining(self._connect_timeout_s)
        try:
            return open_connection(self._url, application_name=self._application_name, seconds=seconds)
        except (psycopg2.OperationalError, ManifestUnavailable) as error:
            if seconds >= self._connect_timeout_s:  # a caller in a hurry says nothing about the server
                self._down_why = " ".join(map(str, error.args[-1:])).strip().partition("\n")[0]
                self._down_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            raise


_alive: weakref.WeakSet[Database] = weakref.WeakSet()
_orphaned: list[QueuePool] = []


def _after_fork_in_child() -> None:
    for database in list(_alive):
        database.forget_after_fork()


run_in_children(_after_fork_in_child)
