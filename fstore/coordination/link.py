"""The one door to Redis: bounded calls, translated errors, and a pause after a failure.

redis-py multiplies its timeouts by its own retries, and its default connection
would make a trainer wait four seconds for a closed port. Here a call may fail
over a stale connection once, waits at most ``timeout_s``, and after a failure the
next calls fail at once for a moment: Redis is only fast, so nobody queues for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from fstore.errors import BrokerUnavailable
from fstore.runtime import deadline
from fstore.runtime.fork_safety import loading

PREFIX = "fstore:"  # of every key and channel, Celery's among them
PAUSE_AFTER_FAILURE_S = 1.0
CLOSED_MEANWHILE = (ValueError, AttributeError)  # what redis-py says when another thread closed the connection in use
MOST_UNANSWERED = 5  # pings, of which one a second is sent to a link that has been silent for long
MEANINGFUL_WAIT_S = 0.5  # a caller in a greater hurry says nothing about the server

if TYPE_CHECKING:
    import redis
    from redis.retry import Retry

T = TypeVar("T")


class RedisLink:
    """Connections to one Redis; safe to share between threads and across forks.

    redis-py's pools are keyed by pid. The driver is loaded by whoever calls first: a hit is answered before anybody
    needs it.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._down_until = 0.0
        self._made: redis.Redis | None = None

    def call(self, action: str, command: Callable[[redis.Redis], T]) -> T:
        """Run ``command`` on a client; raises ``BrokerUnavailable`` when Redis does not answer in time."""
        if time.monotonic() < self._down_until:
            raise BrokerUnavailable(action, "did not answer a moment ago")
        client = self._client()
        import redis  # noqa: PLC0415 see above

        # A call that is nearly due keeps half of its time to do without Redis.
        seconds = deadline.remaining(4 * self._timeout_s) / 2
        try:
            if seconds < 2 * self._timeout_s:  # a timeout and a retry over a stale connection would take too long
                return deadline.bounded(lambda: command(client), seconds)
            return command(client)
        except deadline.Overdue as error:
            if seconds >= MEANINGFUL_WAIT_S:
                self._down_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            raise BrokerUnavailable(action, f"no answer within {seconds:.1f} s") from error
        except (redis.ConnectionError, redis.TimeoutError, OSError, *CLOSED_MEANWHILE) as error:
            self._down_until = time.monotonic() + PAUSE_AFTER_FAILURE_S
            raise BrokerUnavailable(action, str(error) or type(error).__name__) from error
        except redis.RedisError as error:  # out of memory, no permission, loading, read-only replica
            raise BrokerUnavailable(action, str(error) or type(error).__name__) from error

    def talk(self, action: str, talk: Callable[[Wire], T]) -> T:
        """Run ``talk`` on one connection, as ``call`` does, once more where that turns out stale.

        Commands sent together are one message each way, and cost a third of what the driver's own calls do.
        """
        return self.call(action, lambda client: _on_one_connection(client, talk))

    def subscriber(self) -> Subscriber:
        """Open a connection of its own for pub/sub."""
        return Subscriber(self._connect(_once()))

    def is_up(self) -> bool:
        """Return whether Redis answers now."""
        try:
            return bool(self.call("ping", lambda client: client.ping()))
        except BrokerUnavailable:
            return False

    def close(self) -> None:
        """Close every pooled connection."""
        if self._made is not None:
            self._made.close()

    def _client(self) -> redis.Redis:
        if self._made is None:
            with loading():
                self._made = (
                    self._connect()
                )  # of two threads' one is dropped before it connects: no lock, a fork may come
        return self._made

    def _connect(self, retry: Retry | None = None) -> redis.Redis:
        import redis  # noqa: PLC0415 see RedisLink
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        return redis.Redis.from_url(
            self._url,
            decode_responses=True,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            socket_keepalive=True,
            health_check_interval=25,
            retry=retry or Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )


class Wire:
    """One connection, for as long as a talk lasts; answers are bytes, numbers, lists of them, or None."""

    def __init__(self, connection: Any, server_error: type[Exception]) -> None:
        self._connection = connection
        self._server_error = server_error

    def exchange(self, *commands: Sequence[str]) -> list[Any]:
        """Send commands at once and return the answer to each.

        Raises the server's first error once all are read.
        """
        answers = self.ask(*commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def ask(self, *commands: Sequence[str]) -> list[Any]:
        """Do so, with an error of the server in the place of the answer."""
        self._connection.send_packed_command([b"".join(map(_packed, commands))])
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(self._connection.read_response(disable_decoding=True))
            except self._server_error as error:
                answers.append(error)
        return answers


def _packed(command: Sequence[str]) -> bytes:
    parts = [part.encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def _on_one_connection(client: redis.Redis, talk: Callable[[Wire], T]) -> T:
    import redis  # noqa: PLC0415 see RedisLink

    pool: Any = client.connection_pool
    named = ("",) if redis.__version__.startswith("5.2.") else ()  # which took the name of a command there
    for is_last in (False, True):
        connection = pool.get_connection(*named)
        try:
            return talk(Wire(connection, redis.ResponseError))
        except BaseException as error:
            connection.disconnect()  # what is not read yet must not be taken for the next one's answer
            if is_last or not isinstance(error, redis.ConnectionError):
                raise
        finally:
            pool.release(connection)
    raise AssertionError("a talk is held at least once")


def is_about_the_value(error: object) -> bool:
    """Tell the server's error about what a key holds from all others."""
    return isinstance(error, Exception) and any(about in str(error) for about in _ABOUT_THE_VALUE)


def ask_raw(client: redis.Redis, *command: str) -> Any:
    """Run a command and return its answer undecoded.

    An error of the server about what the key holds is returned too; others are raised.
    """
    import redis  # noqa: PLC0415 see RedisLink

    try:
        return client.execute_command(*command, NEVER_DECODE=True)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        if is_about_the_value(error):
            return error
        raise


_ABOUT_THE_VALUE = ("WRONGTYPE", "is not an integer", "would overflow", "no such key")


@cache
def _once() -> Retry:
    from redis.backoff import NoBackoff  # noqa: PLC0415 see RedisLink
    from redis.retry import Retry  # noqa: PLC0415

    class Once(Retry):
        """Tries nothing again.

        Even without retries redis-py connects anew after a failure, in whichever thread met it.
        """

        def __init__(self) -> None:
            super().__init__(NoBackoff(), 0)

        def call_with_retry(self, do: Callable[[], T], *_: object, **__: object) -> T:
            """Do it, and let whatever goes wrong be seen."""
            return do()

    return Once()


class Subscriber:
    """One pub/sub connection, used by a single reading thread; other threads may add and drop channels.

    It is never connected anew: two threads that met its end would both do so, one
    socket would stay open unread, and the answers on the other out of step. Whoever
    meets a failure ends it, and the reading thread opens another.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.is_open = False  # set by the reading thread, which alone connects: that may take as long as a timeout
        self._client = client
        self._pubsub = client.pubsub(ignore_subscribe_messages=False)  # type: ignore[no-untyped-call]
        self._guard = threading.Lock()
        self._lost = ""

    def subscribe(self, *channels: str) -> None:
        """Listen to more channels."""
        with self._guard:
            self._translated(lambda: self._pubsub.subscribe(*channels))

    def unsubscribe(self, *channels: str) -> None:
        """Listen to these channels no longer."""
        with self._guard:
            self._translated(lambda: self._pubsub.unsubscribe(*channels))

    def next(self, timeout_s: float) -> tuple[str, str] | None:
        """Wait for a message, and return its kind (``message``, ``subscribe``, ...) and channel."""
        message = self._translated(lambda: self._next(timeout_s))
        return (str(message["type"]), str(message["channel"])) if message else None

    def close(self) -> None:
        """Close the connection."""
        with self._guard:
            self._lost = self._lost or "was closed"
            self._pubsub.close()
            self._client.close()

    def _next(self, timeout_s: float) -> Any:
        if self._pubsub.health_check_response_counter > MOST_UNANSWERED:  # which redis-py counts and never looks at
            raise TimeoutError(f"no answer to {MOST_UNANSWERED} pings")
        return self._pubsub.get_message(timeout=timeout_s)

    def _translated(self, command: Callable[[], T]) -> T:
        if self._lost:
            raise BrokerUnavailable("listening for results", self._lost)
        try:
            return command()
        except BaseException as error:  # redis-py's own book-keeping, too, is not made for two threads
            self.is_open, self._lost = False, str(error) or type(error).__name__
            if isinstance(error, Exception):
                raise BrokerUnavailable("listening for results", self._lost) from error
            raise
