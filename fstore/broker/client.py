"""Sends tasks by name, without Celery.

The library never imports the workers, and never waits on a Celery result.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from fstore.broker.redis_clock import RedisClock
from fstore.broker.signing import KeyRing
from fstore.broker.tasks import (
    GET_OR_COMPUTE,
    GET_OR_COMPUTE_MANY,
    PING,
    PUBLISH,
    WRITE_QUEUE,
    compute_queue,
    task_message,
    time_limits,
)
from fstore.runtime import tracing
from fstore.runtime.fork_safety import forget_in_children
from fstore.settings import Settings

if TYPE_CHECKING:
    from fstore.broker.control import Control
    from fstore.broker.messages import ComputeRequest, PublishRequest


class Outbox(Protocol):
    """Where messages are put for workers; every method may raise ``BrokerUnavailable``."""

    def push(self, action: str, name: str, text: str) -> None: ...

    def now(self) -> float: ...


class Broker:
    """The trainer's side of Celery; a send fails within seconds when Redis is away."""

    def __init__(self, settings: Settings, outbox: Outbox) -> None:
        self._settings = settings
        self._outbox = outbox
        self._ring = KeyRing.of(settings.signing_key.get_secret_value()) if settings.signing_key else None
        self._clock = RedisClock()
        self._control: Control | None = None
        self._parents_control: Control | None = None
        forget_in_children(self)

    def forget_after_fork(self) -> None:
        """Leave the parent's connections alone; whoever asks for workers opens new ones."""
        self._control, self._parents_control = None, self._control  # kept: its sockets are not this process's to close

    def send_compute(self, request: ComputeRequest) -> None:
        """Ask a worker to compute; raises ``BrokerUnavailable``."""
        shown = short_repr(request.symbol, request.feature, request.key)
        limits = time_limits(self._settings, request.time_limit_s)
        self._send(GET_OR_COMPUTE, {"request": request.wire()}, shown, queue=compute_queue(request.queue), **limits)

    def send_compute_many(self, requests: Sequence[ComputeRequest]) -> None:
        """Ask one worker to compute several, one after the other; raises ``BrokerUnavailable``.

        All are of one queue, and none has a time limit of its own, which is a message's.
        """
        if len(requests) == 1:
            self.send_compute(requests[0])
            return
        shown = short_repr_many([request.symbol for request in requests], requests[0].feature)
        arguments = {"requests": [request.wire() for request in requests]}
        self._send(GET_OR_COMPUTE_MANY, arguments, shown, queue=compute_queue(requests[0].queue))

    def send_publish(self, request: PublishRequest) -> None:
        """Ask a worker to publish a staged result; raises ``BrokerUnavailable``."""
        shown = short_repr(request.symbol, request.feature, request.key)
        self._send(PUBLISH, {"request": request.wire()}, shown, queue=WRITE_QUEUE)

    def send_ping(self, token: str, queue: str, *, expires_s: float) -> None:
        """Ask any worker of a queue to announce ``token``; raises ``BrokerUnavailable``."""
        self._send(PING, {"token": token}, repr({"token": token[:12]}), queue=queue, expires_s=expires_s)

    def busy_workers(self, wanted: Iterable[str] = (), *, timeout_s: float = 2.0) -> dict[str, int]:
        """Return how many tasks each worker runs, of those that answer in time; raises ``BrokerUnavailable``.

        Where one of the ``wanted`` workers does not answer, all are asked once more, for three times as long.
        """
        return self._commands().busy_workers(frozenset(wanted), timeout_s=timeout_s)

    def workers_by_queue(self, wanted: Iterable[str] = (), *, timeout_s: float = 2.0) -> dict[str, list[str]]:
        """Ask all workers which queues they serve, and return those that answer in time, by queue.

        Raises ``BrokerUnavailable``. Where nobody answers, or nobody for one of the ``wanted`` queues, all are
        asked once more, for three times as long.
        """
        return self._commands().workers_by_queue(frozenset(wanted), timeout_s=timeout_s)

    def close(self) -> None:
        """Close the connections."""
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def _commands(self) -> Control:
        if self._control is None:
            from fstore.broker.control import Control  # noqa: PLC0415 loads Celery, for a third of a second

            self._control = Control(self._settings)
        return self._control

    def _send(
        self,
        task: str,
        arguments: Mapping[str, Any],
        shown: str,
        *,
        queue: str,
        expires_s: float | None = None,
        **limits: float,
    ) -> None:
        text = task_message(
            task,
            arguments,
            queue=queue,
            shown=shown,
            now=time.time() + self._clock.ahead_s(self._outbox.now),
            expires_s=self._settings.visibility_timeout_s if expires_s is None else expires_s,
            ring=self._ring,
            headers=tracing.headers(),
            **limits,
        )
        self._outbox.push(f"sending {task}", queue, text)


def short_repr(symbol: str, feature: str, key: str | None) -> str:
    """Return the literal dict that Flower shows and finds, for example by ``kwargs:symbol=AAPL``."""
    return repr({"symbol": symbol[:64], "feature": feature[:128], "key": (key or "")[:12]})


def short_repr_many(symbols: Sequence[str], feature: str) -> str:
    """Return the same for several requests in one task; ``key`` tells how many they are."""
    shown = sorted(set(symbols))
    some = ",".join(symbol[:64] for symbol in shown[:3]) + (",..." if len(shown) > 3 else "")
    return repr({"symbol": some, "feature": feature[:128], "key": f"{len(symbols)} keys"})
