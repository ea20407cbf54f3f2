"""Celery's way to Redis, with a guard at the door: what is sent is signed, what is received is judged before Celery sees it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

from kombu.connection import resolve_aliases  # type: ignore[attr-defined]
from kombu.transport import TRANSPORT_ALIASES, redis

from fstore.broker import envelope
from fstore.broker.delivered import Delivered
from fstore.broker.envelope import Refused
from fstore.broker.signing import KeyRing

log = logging.getLogger("fstore.wire")

OPTION = "fstore_guard"
_PREFIX = "fstore-"
QUIET_S = 1.0  # a flood of messages must not become a flood of lines


@dataclass(frozen=True, slots=True)
class Guard:
    """What a process signs and judges messages with; ``refused`` is told of every message that was dropped.

    ``tls`` is the part of the address that says whom to trust. Celery shares
    connections between applications whose options look the same, and would not look
    at that part itself.
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
    """Signs what is published, and survives what is no JSON and what comes too late."""

    QoS = Delivered

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **options: Any) -> Any:
        """Send a message with its signature; an older one, as of a task that is tried again, is replaced."""
        ring = _guard_of(self.connection).ring
        if ring is not None:
            signature = envelope.signed(message, exchange, ring, now=time.time())
            if signature is not None:
                message["headers"] = {**message["headers"], envelope.SIGNATURE: signature}
        return super().basic_publish(message, exchange, routing_key, **options)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except (JSONDecodeError, UnicodeDecodeError, RecursionError):
            _guard_of(self.connection).drop("tasks", "it is not JSON, or is nested too deep")
            return True

    def _receive_one(self, client: Any) -> Any:
        try:
            return super()._receive_one(client)  # type: ignore[misc]
        except RecursionError:
            _guard_of(self.connection).drop("broadcasts", "it is nested too deep")
            return None


class Transport(redis.Transport):
    """Delivers only what the guard lets through; what it drops is gone from Redis already."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        guard = _guard_of(self)
        try:
            envelope.check(message, queue or "", guard.ring, now=time.time())
        except Refused as reason:
            guard.drop(queue or "none", str(reason))
            return
        super()._deliver(message, queue)


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
