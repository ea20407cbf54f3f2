"""The one door to Redis: bounded calls, translated errors, and a pause after a failure.

redis-py multiplies its timeouts by its own retries, and its default connection
would make a trainer wait four seconds for a closed port. Here a call may fail
over a stale connection once, waits at most ``timeout_s``, and after a failure the
next calls fail at once for a moment: Redis is only fast, so nobody queues for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from fstore.errors import BrokerUnavailable
from fstore.runtime import deadline
from fstore.runtime.fork_safety import loading

PREFIX = "fstore:"  # of every key and channel, Celery's among them
PAUSE_AFTER_FAILURE_S = 1.0
TRIES_WHILE_CHANGED = 3
CLOSED_MEANWHILE = (ValueError, AttributeError)  # what redis-py says when another thread closed the connection in use
MOST_UNANSWERED = 5  # pings, of which one a second is sent to a link that has been silent for long
MEANINGFUL_WAIT_S = 0.5  # a caller in a greater hurry says nothing about the server

if TYPE_CHECKING:
    import redis
    from redis.retry import Retry

T = TypeVar("T")


class RedisLink:
    """Connections to one Redis; safe to share between threads and across forks (redis-py pools are keyed by pid).

    The driver is loaded by whoever calls first: a hit is answered before anybody needs it.
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

    def call_if_held(self, action: str, name: str, token: str, command: Callable[[Any], object]) -> bool:
        """Run ``command`` on a pipeline only if the key ``name`` holds ``token``, atomically; return what it returned.

        A plain DEL or PEXPIRE after a pause would hit the next holder's lock. It is no
        script, so that trainers need no right to run code in Redis.
        """

        def attempt(client: redis.Redis) -> bool:
            from redis import WatchError  # noqa: PLC0415 see RedisLink

            with client.pipeline(transaction=True) as pipe:
                pipe.watch(name)  # type: ignore[no-untyped-call]
                if pipe.get(name) != token:
                    return False
                pipe.multi()
                command(pipe)
                try:
                    return bool(pipe.execute()[0])
                except WatchError:
                    return False

        return self.call(action, attempt)

    def delete_if_held(self, action: str, tokens: Mapping[str, str]) -> bool:
        """Delete those of many keys that hold their token, atomically; False when somebody changed one meanwhile."""

        def attempt(client: redis.Redis) -> bool:
            from redis import WatchError  # noqa: PLC0415 see RedisLink

            names = list(tokens)
            with client.pipeline(transaction=True) as pipe:
                for _ in range(TRIES_WHILE_CHANGED):
                    pipe.watch(*names)  # type: ignore[no-untyped-call]
                    mine = [name for name, token in zip(names, pipe.mget(names), strict=True) if token == tokens[name]]
                    pipe.multi()
                    for name in mine:
                        pipe.delete(name)
                    with suppress(WatchError):
                        pipe.execute()
                        return True
                return False

        return self.call(action, attempt) if tokens else True

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


def ask_raw(client: redis.Redis, *command: str) -> Any:
    """Run a command and return its answer undecoded, or the server's error about what the key holds; others are raised."""
    import redis  # noqa: PLC0415 see RedisLink

    try:
        return client.execute_command(*command, NEVER_DECODE=True)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        if any(about in str(error) for about in _ABOUT_THE_VALUE):
            return error
        raise


_ABOUT_THE_VALUE = ("WRONGTYPE", "is not an integer", "would overflow")


@cache
def _once() -> Retry:
    from redis.backoff import NoBackoff  # noqa: PLC0415 see RedisLink
    from redis.retry import Retry  # noqa: PLC0415

    class Once(Retry):
        """Tries nothing again. Even without retries redis-py connects anew after a failure, in whichever thread met it."""

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
