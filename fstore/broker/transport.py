"""Celery's way to Redis, with a guard at the door.

What is sent is signed, what is received is judged before Celery sees it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any, TypeVar, cast

from kombu.connection import resolve_aliases  # type: ignore[attr-defined]
from kombu.transport import TRANSPORT_ALIASES, redis

from fstore.broker import envelope
from fstore.broker.delivered import Delivered
from fstore.broker.envelope import Refused
from fstore.broker.redis_clock import RedisClock, delivered, moved
from fstore.broker.signing import SIGNATURE, KeyRing, signed
from fstore.broker.spoiled_keys import mended

log = logging.getLogger("fstore.wire")

T = TypeVar("T")

OPTION = "fstore_guard"
_PREFIX = "fstore-"
QUIET_S = 1.0  # a flood of messages must not become a flood of lines


@dataclass(frozen=True, slots=True)
class Guard:
    """What a process signs and judges messages with.

    ``refused`` is told of every message that was dropped. ``tls`` is the part of the address that says whom to
    trust. Celery shares connections between applications whose options look the same, and would not look at that
    part itself.
    """

    ring: KeyRing | None = None
    refused: Callable[[], None] | None = None
    tls: str = ""

    def __json__(self) -> str:
        """Return what ``celery inspect stats`` shows of it among the options of the transport.

        An answer that cannot be encoded makes Celery reset the control channel, and a worker
        that then listens to a silent socket takes tasks only every few seconds.
        """
        return "signed" if self.ring is not None else "unsigned"

    def drop(self, queue: str, reason: str) -> None:
        """Count a message that is not delivered, and say why, at most once a second for each reason."""
        if self.refused is not None:
            self.refused()
        if _is_news(reason):
            log.warning("message dropped: %s (queue %s); nothing was computed", reason, queue)


class Channel(redis.Channel):
    """Signs what is published, and survives what is no message.

    As it does what is of the wrong kind, and what comes too late.
    """

    QoS = Delivered

    def time_ahead_s(self) -> float:
        """Return how far Redis' clock is ahead of this host's."""
        return cast(Transport, self.connection).clock.ahead_s(self._redis_time)

    def _redis_time(self) -> float:
        seconds, microseconds = self._create_client().time()
        return float(seconds + microseconds / 1e6)

    def drop(self, place: str, reason: str) -> None:
        """Count what is not delivered, and say why."""
        _guard_of(self.connection).drop(place, reason)

    def kept_queues(self) -> Iterable[str]:
        """Return the queues whose messages are kept until they are acknowledged."""
        return self.active_queues

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **options: Any) -> Any:
        """Send a message, its times by Redis' clock, with its signature.

        An older one, as of a task that is tried again, is replaced.
        """
        ring, ahead_s = _guard_of(self.connection).ring, self.time_ahead_s()
        if ahead_s:
            message["headers"] = moved(message["headers"], ahead_s)
        if ring is not None:
            signature = signed(message, exchange, ring, now=time.time() + ahead_s)
            if signature is not None:
                message["headers"] = {**message["headers"], SIGNATURE: signature}
        return super().basic_publish(message, exchange, routing_key, **options)

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """Return what is bound to an exchange, as far as it can be read."""
        key = self.keyprefix_queue % exchange

        def read() -> Any:
            with self.conn_or_acquire() as client:
                return client.smembers(key)

        members = [str(value, "utf-8", "replace") for value in self._mended(read, exchanges=[exchange])]
        split = [member.split(self.sep) for member in members]
        return [(parts[0], parts[1], parts[2]) for parts in split if len(parts) == 3]

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)  # type: ignore[misc]
        client.set_response_callback("BRPOP", _judged_pair)
        client.set_response_callback("RPOP", _judged)
        return client

    def _brpop_read(self, **options: Any) -> Any:
        queues = self.active_queues
        try:
            return self._mended(lambda: super(Channel, self)._brpop_read(**options), queues=queues, again=False)  # type: ignore[misc]
        except (JSONDecodeError, UnicodeDecodeError, RecursionError):
            self.drop("tasks", "it is not JSON, or is nested too deep")
        except Refused as reason:
            self.drop("tasks", str(reason))
        return True

    def _handle_message(self, client: Any, r: Any) -> Any:
        found = super()._handle_message(client, r)  # type: ignore[misc]
        try:
            if isinstance(found["data"], bytes | str):
                envelope.check_length(found["data"])
        except Refused as reason:
            self.drop("broadcasts", str(reason))
            found["data"] = None
        return found

    def _receive_one(self, client: Any) -> Any:
        try:
            return super()._receive_one(client)  # type: ignore[misc]
        except RecursionError:
            self.drop("broadcasts", "it is nested too deep")
            return None

    def _restore(self, message: Any, leftmost: bool = False) -> Any:
        return cast(Delivered, self.qos).restore_by_tag(message.delivery_tag, leftmost=leftmost)

    def _size(self, queue: str) -> Any:
        return self._mended(lambda: super(Channel, self)._size(queue), queues=[queue])

    def _get(self, queue: str, *rest: Any) -> Any:
        return self._mended(lambda: super(Channel, self)._get(queue, *rest), queues=[queue])

    def _put(self, queue: str, message: Any, **options: Any) -> Any:
        return self._mended(lambda: super(Channel, self)._put(queue, message, **options), queues=[queue])

    def _purge(self, queue: str) -> Any:
        return self._mended(lambda: super(Channel, self)._purge(queue), queues=[queue])

    def _queue_bind(self, exchange: str, *rest: Any) -> Any:
        return self._mended(lambda: super(Channel, self)._queue_bind(exchange, *rest), exchanges=[exchange])  # type: ignore[misc]

    def _mended(self, act: Callable[[], T], **where: Any) -> T | Any:
        return mended(self, act, drop=self.drop, **where)


class Transport(redis.Transport):
    """Delivers only what the guard lets through; what it drops is gone from Redis already."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.clock = RedisClock()

    def _deliver(self, message: Any, queue: str | None) -> None:
        guard, ahead_s = _guard_of(self), self._time_ahead_s()
        try:
            envelope.check(message, queue or "", guard.ring, now=time.time() + ahead_s)
        except Refused as reason:
            guard.drop(queue or "none", str(reason))
            return
        super()._deliver(delivered(message, ahead_s), queue)

    def _time_ahead_s(self) -> float:
        channel = next((channel for channel in self.channels or () if channel), None)
        return cast(Channel, channel).time_ahead_s() if channel is not None else 0.0


def _judged(answer: bytes | None) -> bytes | None:
    """Let through what is short enough to be decoded; raises ``Refused``."""
    if isinstance(answer, bytes | str):
        envelope.check_length(answer)
    return answer


def _judged_pair(answer: Any) -> tuple[Any, ...] | None:
    if not answer:
        return None
    _judged(answer[1])
    return tuple(answer)


def transport_name(url: str) -> str:
    """Return the name under which Celery finds the guarded transport for a Redis address."""
    return _PREFIX + url.partition(":")[0]


def _guard_of(transport: Any) -> Guard:
    return transport.client.transport_options.get(OPTION) or Guard()


for _scheme in ("redis", "rediss"):
    TRANSPORT_ALIASES[_PREFIX + _scheme] = "fstore.broker.transport:Transport"
    resolve_aliases[_PREFIX + _scheme] = _scheme  # how an address is shown

_last_said: dict[str, float] = {}
_guard = threading.Lock()


def _is_news(reason: str) -> bool:
    now = time.monotonic()
    with _guard:
        if now - _last_said.get(reason, -QUIET_S) < QUIET_S:
            return False
        _last_said[reason] = now
        return True
