"""One connection to Postgres, waited on with a deadline of the client's own.

It is in psycopg2's asynchronous mode and waited on with ``poll``: libpq itself waits
without a limit, so a server that is stopped but keeps its sockets open would hold a
trainer for ever.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from fstore.errors import ManifestUnavailable
from fstore.postgres.queries import Row
from fstore.postgres.sqlstate import translated
from fstore.runtime import deadline

Params = Mapping[str, Any] | Sequence[Any] | None

# A lock wait must outlast deadlock_timeout (1 s), or a running autovacuum, which
# Postgres cancels only then, makes every publish fail (measured: 500 ms fails, 3 s succeeds).
SESSION_OPTIONS = " ".join(
    f"-c {option}"
    for option in (
        "lock_timeout=3s",
        "statement_timeout=10s",
        "idle_in_transaction_session_timeout=5s",
        "client_connection_check_interval=1s",
        "timezone=UTC",
    )
)
STATEMENT_DEADLINE_S = 12.0  # just above statement_timeout: the server's own word is the better one


class Session:
    """One connection, for as long as the ``with`` block lasts."""

    def __init__(self, connection: pg.connection) -> None:
        self._connection = connection

    def query(
        self,
        sql: str,
        params: Params = None,
        *,
        seconds: float = STATEMENT_DEADLINE_S,
    ) -> list[Row]:
        """Run a statement on this connection and return its rows."""
        return execute(self._connection, sql, params, seconds)

    def ask(
        self,
        sql: str,
        params: Params = None,
        *,
        seconds: float = STATEMENT_DEADLINE_S,
    ) -> Callable[[], list[Row]]:
        """Send a statement and return at once; call the result for the rows, before anything else is sent here."""
        return _send(self._connection, sql, params, seconds)


def open_connection(url: str, *, application_name: str, seconds: float) -> pg.connection:
    """Connect within ``seconds``; raises psycopg2's error or ``ManifestUnavailable``."""
    connection = psycopg2.connect(
        url,
        async_=True,
        connect_timeout=max(2, round(seconds)),
        keepalives=1,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        application_name=application_name,
        options=SESSION_OPTIONS,
    )
    try:
        _wait(connection, seconds, "connecting")
    except BaseException:
        connection.close()
        raise
    return connection


def execute(
    connection: pg.connection,
    sql: str,
    params: Params,
    seconds: float = STATEMENT_DEADLINE_S,
) -> list[Row]:
    """Run a statement on a connection and return its rows; raises fstore's errors."""
    return _send(connection, sql, params, seconds)()


def _send(connection: pg.connection, sql: str, params: Params, seconds: float) -> Callable[[], list[Row]]:
    try:
        cursor = connection.cursor()
        cursor.execute(sql, params)
    except psycopg2.Error as error:
        raise translated(error, "running a statement") from error

    def receive() -> list[Row]:
        try:
            _wait(connection, deadline.remaining(seconds), "waiting for an answer")
            rows: list[Row] = cursor.fetchall() if cursor.description is not None else []
            cursor.close()
            return rows
        except psycopg2.Error as error:
            raise translated(error, "running a statement") from error

    return receive


def has_news(connection: pg.connection) -> bool:
    """Tell whether an idle connection has something to read: the server's last word, or the end of the stream."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def _wait(connection: pg.connection, seconds: float, action: str) -> None:
    ends_at = time.monotonic() + seconds
    poller = select.poll()
    while True:
        state = connection.poll()
        if state == pg.POLL_OK:
            return
        poller.register(connection.fileno(), select.POLLIN if state == pg.POLL_READ else select.POLLOUT)
        left = ends_at - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            raise ManifestUnavailable(action, f"no answer within {seconds:.1f} s")
        poller.unregister(connection.fileno())
