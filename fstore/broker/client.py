"""Sends tasks by name. The library never imports the workers, and never waits on a Celery result."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

# Celery and kombu load these at the first send, for a third of a second: not while a dedup lock is held.
import celery.app.amqp  # noqa: F401
import kombu.transport.redis
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from fstore.broker.configuration import (
    GET_OR_COMPUTE,
    GET_OR_COMPUTE_MANY,
    PING,
    PUBLISH,
    QUEUES,
    SOCKET_TIMEOUT_S,
    celery_config,
    compute_queue,
    time_limits,
)
from fstore.broker.messages import ComputeRequest, PublishRequest, short_repr, short_repr_many
from fstore.errors import BrokerUnavailable
from fstore.runtime import deadline, tracing
from fstore.runtime.fork_safety import forget_in_children
from fstore.settings import Settings

# What Redis refuses, for example because this user may not do it, reaches us as the driver's error.
_UNAVAILABLE: tuple[type[Exception], ...] = (
    OperationalError,
    OSError,
    RuntimeError,  # the backend raises a bare one
    *kombu.transport.redis.Transport.channel_errors,
)
SEND_WITHIN_S = 4 * SOCKET_TIMEOUT_S  # the longest a publish to a frozen Redis was seen to take, doubled


class Broker:
    """The trainer's side of Celery; a send fails within seconds when Redis is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Celery | None = None
        self._parents_app: Celery | None = None
        self._guard = threading.Lock()
        forget_in_children(self)
        if settings.redis_url is not None:
            # Built now rather than at the first send, which happens while others wait for its dedup lock.
            app = self._client()
            _ = app.amqp.producer_pool, app.amqp.router, app.backend

    def forget_after_fork(self) -> None:
        """Leave the parent's connections alone; the next message opens new ones."""
        self._guard = threading.Lock()
        self._app, self._parents_app = None, self._app  # kept: its sockets are not this process's to close

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
        self._send(PUBLISH, {"request": request.wire()}, shown)

    def send_ping(self, token: str, queue: str, *, expires_s: float) -> None:
        """Ask any worker of a queue to announce ``token``; raises ``BrokerUnavailable``."""
        self._send(PING, {"token": token}, repr({"token": token[:12]}), queue=queue, expires=expires_s)

    def busy_workers(self, *, timeout_s: float = 2.0) -> dict[str, int]:
        """Return how many tasks each worker runs, of those that answer in time; raises ``BrokerUnavailable``."""
        try:
            answers = self._client().control.inspect(timeout=timeout_s).active() or {}
        except _UNAVAILABLE as error:
            raise BrokerUnavailable("asking for workers", str(error) or type(error).__name__) from error
        return {worker: len(tasks) for worker, tasks in answers.items()}

    def workers_by_queue(self, *, timeout_s: float = 2.0) -> dict[str, list[str]]:
        """Ask all workers which queues they serve, and return those that answer in time, by queue; raises ``BrokerUnavailable``."""
        try:
            # Nobody at all is more often a busy host than a dead one: asked once more, with patience.
            control = self._client().control
            patience = (timeout_s, 3 * timeout_s)
            answers = next(filter(None, (control.inspect(timeout=s).active_queues() for s in patience)), {})
        except _UNAVAILABLE as error:
            raise BrokerUnavailable("asking for workers", str(error) or type(error).__name__) from error
        found: dict[str, list[str]] = {queue: [] for queue in QUEUES}
        for worker, queues in sorted(answers.items()):
            for queue in queues:
                found.setdefault(queue["name"], []).append(worker)
        return found

    def close(self) -> None:
        """Close the connections."""
        with self._guard:
            app, self._app = self._app, None
        if app is not None:
            app.close()

    def _send(
        self, task: str, arguments: Mapping[str, Any], shown: str, *, queue: str | None = None, **options: Any
    ) -> None:
        trace = tracing.headers()
        where = {} if queue is None else {"queue": Queue(queue)}  # Celery knows by name what every worker has

        def send() -> None:
            self._client().send_task(
                task,
                kwargs=dict(arguments),
                kwargsrepr=shown,
                argsrepr="()",
                headers=trace,
                ignore_result=True,
                retry=False,
                **{"expires": self._settings.visibility_timeout_s, **where, **options},
            )

        # Celery's own timeouts add up; a call that is nearly due keeps half of its time to do without a worker.
        seconds = deadline.remaining(4 * SEND_WITHIN_S) / 2
        try:
            if seconds < SEND_WITHIN_S:
                deadline.bounded(send, seconds)
            else:
                send()
        except deadline.Overdue as error:
            raise BrokerUnavailable(f"sending {task}", f"no answer within {seconds:.1f} s") from error
        except _UNAVAILABLE as error:
            raise BrokerUnavailable(f"sending {task}", str(error) or type(error).__name__) from error

    def _client(self) -> Celery:
        with self._guard:
            if self._app is None:
                self._app = Celery("fstore-client", set_as_current=False)
                self._app.conf.update(celery_config(self._settings))
                self._app.conf.update(task_ignore_result=True, task_publish_retry=False, worker_send_task_events=False)
                self._app.conf.update(result_backend="disabled://")  # nobody here waits on a Celery result
            return self._app
