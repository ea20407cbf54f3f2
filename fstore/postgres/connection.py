"""One connection to Postgres, waited on with a deadline of the client's own.

It is in psycopg2's asynchronous mode and waited on with ``poll``, or ``select`` where there
is none: libpq itself waits
without a limit, so a server that is stopped but keeps its sockets open would hold a
trainer for ever.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from fstore.errors import ConfigurationError, FeatureStoreError, ManifestBusy, ManifestUnavailable, NotPermitted
from fstore.postgres.queries import Row
from fstore.runtime import deadline

Params = Mapping[str, Any] | Sequence[Any] | None

# A lock wait must outlast deadlock_timeout (1 s), or a running autovacuum, which
# Postgres cancels only then, makes every publish fail (measured: 500 ms fails, 3 s succeeds).
SESSION_SETTINGS = {
    "lock_timeout": "3s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "timezone": "UTC",
    "client_connection_check_interval": "1s",  # of use only where the server sees the client itself
}
# Not as startup options, which poolers refuse or forget. Where the server process has another number than the one that
# the connection was told of, a pooler stands between: what is set for the session there falls to whoever comes next.
_GREETING = "SELECT pg_backend_pid() <> %(pid)s, " + ", ".join(
    f"set_config('{name}', '{value}', pg_backend_pid() <> %(pid)s)" for name, value in SESSION_SETTINGS.items()
)
_PREFACE = "".join(
    f"SET LOCAL {name} = '{value}'; "
    for name, value in SESSION_SETTINGS.items()
    if name != "client_connection_check_interval"
)
STATEMENT_DEADLINE_S = 12.0  # just above statement_timeout: the server's own word is the better one


_PLACE = re.compile(r"%\((\w+)\)s")
# No such prepared statement; one whose rows, or whose arguments, have other types by now.
_FORGOTTEN = {"26000", "0A000", "42883"}


class ServerConnection(pg.connection):
    """A connection that knows whether it leads to one server process.

    Or through a pooler to another for each transaction.
    """

    is_pooled = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._prepared: (
            dict[str, str] | None
        ) = {}  # by statement, how it is run from now on; empty after its first time
        self._names = 0

    def repeated(self, sql: str) -> str:
        """Return how a statement is run that comes often: prepared the second time, and then by its name.

        What the server makes of it then stays there; a statement that runs once is not worth it. Behind a
        pooler the next one may reach a server that knows no name.
        """
        if self._prepared is None or self.is_pooled:
            return sql
        known = self._prepared.get(sql)
        if known is None:
            self._prepared[sql] = ""
            return sql
        if known:
            return known
        names = list(dict.fromkeys(_PLACE.findall(sql)))
        self._names += 1  # a name is used once: whether one was made whose answer was lost, nobody knows
        name = f"fstore_{self._names}"
        run = f"EXECUTE {name}({', '.join(f'%({each})s' for each in names)})" if names else f"EXECUTE {name}"
        numbered = _PLACE.sub(lambda place: f"${names.index(place[1]) + 1}", sql)
        self._prepared[sql] = ""
        return f"PREPARE {name} AS {numbered}; {run}"

    def note_prepared(self, sql: str, ran: str) -> None:
        """Note that a statement was run in this way, and that its name can be used from now on."""
        if self._prepared is not None and ran.startswith("PREPARE "):
            self._prepared[sql] = ran.rpartition("; ")[2]

    def prepare_no_more(self) -> None:
        """Run statements as they are from now on: somebody made the server forget."""
        self._prepared = None


class Session:
    """One connection, for as long as the ``with`` block lasts."""

    def __init__(self, connection: pg.connection) -> None:
        self._connection = connection

    @property
    def is_pooled(self) -> bool:
        """Tell whether a pooler stands between: nothing then lasts from one transaction to the next."""
        return getattr(self._connection, "is_pooled", False)

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
        """Send a statement and return at once.

        Call the result for the rows, before anything else is sent here. Behind a pooler the rows are fetched first:
        an answer that nobody reads holds a server connection.
        """
        receive = _send(self._connection, sql, params, seconds)
        if not self.is_pooled:
            return receive
        rows = receive()
        return lambda: rows

    def maintain(self, sql: str, *, seconds: float) -> None:
        """Run a statement that must be in no transaction, as VACUUM.

        Behind a pooler the server sets it no limit.
        """
        if self.is_pooled:
            _send(self._connection, sql, None, seconds + 5, in_transaction=False)()
            return
        try:
            self.query(f"SET statement_timeout = {round(seconds * 1000)}")
            self.query(sql, seconds=seconds + 5)
        finally:
            self.query(f"SET statement_timeout = '{SESSION_SETTINGS['statement_timeout']}'")


def open_connection(url: str, *, application_name: str, seconds: float) -> ServerConnection:
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
        connection_factory=ServerConnection,
    )
    ends_at = time.monotonic() + seconds
    try:
        _wait(connection, seconds, "connecting")
        cursor = connection.cursor()
        cursor.execute(_GREETING, {"pid": connection.get_backend_pid()})
        _wait(connection, max(0.0, ends_at - time.monotonic()), "connecting")
        connection.is_pooled = cursor.fetchall()[0][0]
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


def execute_repeated(connection: pg.connection, sql: str, params: Params) -> list[Row]:
    """Run a statement that only reads and comes often, prepared from its second time on.

    A server process then need not parse and plan it again; raises what ``execute`` raises.
    """
    if not isinstance(connection, ServerConnection):
        return execute(connection, sql, params)
    run = connection.repeated(sql)
    try:
        rows = _send(connection, run, params, STATEMENT_DEADLINE_S)()
    except FeatureStoreError as error:
        if run is sql or getattr(error.__cause__, "pgcode", None) not in _FORGOTTEN:
            raise
        connection.prepare_no_more()
        return execute(connection, sql, params)
    connection.note_prepared(sql, run)
    return rows


def _send(
    connection: pg.connection, sql: str, params: Params, seconds: float, *, in_transaction: bool = True
) -> Callable[[], list[Row]]:
    if in_transaction and getattr(connection, "is_pooled", False):
        sql = _PREFACE + sql  # one message is one transaction, which stays on one server process
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
    """Tell whether an idle connection has something to read.

    The server's last word, or the end of the stream.
    """
    return _is_ready(connection.fileno(), 0.0, to_read=True)


def _wait(connection: pg.connection, seconds: float, action: str) -> None:
    ends_at = time.monotonic() + seconds
    while True:
        state = connection.poll()
        if state == pg.POLL_OK:
            return
        left = ends_at - time.monotonic()
        if left <= 0 or not _is_ready(connection.fileno(), left, to_read=state == pg.POLL_READ):
            raise ManifestUnavailable(action, f"no answer within {seconds:.1f} s")


def _is_ready(socket: int, seconds: float, *, to_read: bool) -> bool:
    """Wait so long until a socket can be read from, or written to; or until its other end is gone."""
    if not hasattr(select, "poll"):  # on Windows, where select takes a socket of any number
        wanted = [socket]
        return any(select.select(wanted if to_read else (), () if to_read else wanted, wanted, seconds))
    poller = select.poll()
    poller.register(socket, select.POLLIN if to_read else select.POLLOUT)
    return bool(poller.poll(seconds * 1000))


_BUSY = {"55P03", "40P01", "40001", "57014"}  # lock timeout, deadlock, serialisation, our statement timeout
_GONE = {"57P01", "57P02", "57P03", "53300"}  # terminated, crashed, starting up, too many connections
_NO_SCHEMA = {"42P01", "42703", "42883", "3F000"}
_DENIED = "42501"


def translated(error: psycopg2.Error, action: str) -> FeatureStoreError:
    """Turn a driver's error into the one to raise; the message keeps the server's own words."""
    code = error.pgcode
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if code in _BUSY:
        return ManifestBusy(action, text)
    if code == _DENIED:
        return NotPermitted(action, text)
    if code in _NO_SCHEMA:
        return ConfigurationError([f"the database has no fstore tables of this version ({text}); run 'fstore migrate'"])
    if code in _GONE or (
        code is None and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError | psycopg2.DatabaseError)
    ):
        return ManifestUnavailable(action, text)
    if isinstance(error, psycopg2.OperationalError):
        return ManifestUnavailable(action, text)
    return FeatureStoreError(f"Postgres refused a statement: {text} (SQLSTATE {code})")
