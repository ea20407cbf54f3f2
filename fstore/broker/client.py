"""Sends tasks by name. The library never imports the workers, and never waits on a Celery result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# Celery and kombu load these at the first send, for a third of a second: not while a dedup lock is held.
import celery.app.amqp  # noqa: F401
import kombu.transport.redis  # noqa: F401
from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from fstore.broker.messages import ComputeRequest, PublishRequest, short_repr, short_repr_many
from fstore.broker.signing import KeyRing
from fstore.broker.transport import OPTION, Guard, transport_name
from fstore.errors import BrokerUnavailable, ConfigurationError
from fstore.runtime import deadline, tracing
from fstore.runtime.fork_safety import forget_in_children
from fstore.settings.schema import Settings

GET_OR_COMPUTE = "fstore.get_or_compute"
GET_OR_COMPUTE_MANY = "fstore.get_or_compute_many"
PUBLISH = "fstore.publish"
COLLECT_GARBAGE = "fstore.collect_garbage"
SWEEP_INTEGRITY = "fstore.sweep_integrity"
RECONCILE_JOBS = "fstore.reconcile_jobs"
FLUSH_USAGE = "fstore.flush_usage"

COMPUTE_QUEUE = "fstore.compute"
WRITE_QUEUE = "fstore.write"
UPKEEP_QUEUE = "fstore.upkeep"
QUEUES = (COMPUTE_QUEUE, WRITE_QUEUE, UPKEEP_QUEUE)

ROUTES = {
    GET_OR_COMPUTE: {"queue": COMPUTE_QUEUE},
    GET_OR_COMPUTE_MANY: {"queue": COMPUTE_QUEUE},
    PUBLISH: {"queue": WRITE_QUEUE},
    COLLECT_GARBAGE: {"queue": UPKEEP_QUEUE},
    SWEEP_INTEGRITY: {"queue": UPKEEP_QUEUE},
    RECONCILE_JOBS: {"queue": UPKEEP_QUEUE},
    FLUSH_USAGE: {"queue": UPKEEP_QUEUE},
}
KEY_PREFIX = "fstore:"
SOCKET_TIMEOUT_S = 5
SEND_WITHIN_S = 4 * SOCKET_TIMEOUT_S  # the longest a publish to a frozen Redis was seen to take, doubled


def celery_config(settings: Settings, *, refused: Callable[[], None] | None = None) -> dict[str, Any]:
    """Return the Celery settings that trainers, workers, Beat and Flower share.

    The values and their reasons are listed in docs/operations.md; those that guard
    a promise are commented here. ``refused`` is called for every message that is
    dropped before Celery sees it (``fstore.broker.envelope``).
    """
    if settings.redis_url is None:
        raise ConfigurationError(["FEATURE_STORE_REDIS_URL is not set and no local stack runs; 'fstore up' starts one"])
    url = settings.redis_url.get_secret_value()
    ring = KeyRing.of(settings.signing_key.get_secret_value()) if settings.signing_key else None
    transport = {
        "visibility_timeout": settings.visibility_timeout_s,  # above the hard limit, or long tasks run twice
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,  # by default only every tenth of these looks is one
        "socket_timeout": SOCKET_TIMEOUT_S,  # without one a publish to a frozen Redis waits for ever
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "global_keyprefix": KEY_PREFIX,
    }
    return {
        "broker_url": url,
        "broker_transport": transport_name(url),
        "result_backend": url,
        "broker_transport_options": {**transport, OPTION: Guard(ring, refused, tls=url.partition("?")[2])},
        "result_backend_transport_options": {**transport, "retry_policy": {"timeout": 3.0, "max_retries": 1}},
        "visibility_timeout": settings.visibility_timeout_s,
        "redis_socket_timeout": SOCKET_TIMEOUT_S,
        "redis_socket_connect_timeout": SOCKET_TIMEOUT_S,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,  # or a Redis that is out of memory ends every worker
        "broker_pool_acquire_timeout": 5,
        # JSON only: whoever can write to Redis must not be able to run code.
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "result_expires": 3600,
        "task_default_queue": COMPUTE_QUEUE,
        "task_queues": [Queue(name) for name in QUEUES],
        "task_create_missing_queues": False,
        "task_routes": ROUTES,
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        # Never reject on worker loss: a task that kills its worker would run for ever.
        "task_reject_on_worker_lost": False,
        "task_retry_on_worker_lost": True,
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "task_time_limit": settings.compute_time_limit_s,
        "task_soft_time_limit": settings.soft_time_limit_s,
        "task_track_started": True,
        "worker_max_tasks_per_child": settings.worker_max_tasks_per_child,
        "worker_max_memory_per_child": settings.worker_max_memory_mb * 1000,
        "worker_pool_start_method": settings.worker_start_method,
        "worker_soft_shutdown_timeout": 30.0,
        "worker_send_task_events": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "beat_max_loop_interval": 30,
        "beat_enable_remote_control": True,
        "resultrepr_maxsize": 512,
        "timezone": "UTC",
        "enable_utc": True,
    }


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
        self._send(GET_OR_COMPUTE, {"request": request.wire()}, shown)

    def send_compute_many(self, requests: Sequence[ComputeRequest]) -> None:
        """Ask one worker to compute several, one after the other; raises ``BrokerUnavailable``."""
        if len(requests) == 1:
            self.send_compute(requests[0])
            return
        shown = short_repr_many([request.symbol for request in requests], requests[0].feature)
        self._send(GET_OR_COMPUTE_MANY, {"requests": [request.wire() for request in requests]}, shown)

    def send_publish(self, request: PublishRequest) -> None:
        """Ask a worker to publish a staged result; raises ``BrokerUnavailable``."""
        shown = short_repr(request.symbol, request.feature, request.key)
        self._send(PUBLISH, {"request": request.model_dump(mode="json")}, shown)

    def workers_by_queue(self, *, timeout_s: float = 2.0) -> dict[str, list[str]]:
        """Ask all workers which queues they serve, and return those that answer in time, by queue; raises ``BrokerUnavailable``."""
        try:
            # Nobody at all is more often a busy host than a dead one: asked once more, with patience.
            control = self._client().control
            patience = (timeout_s, 3 * timeout_s)
            answers = next(filter(None, (control.inspect(timeout=s).active_queues() for s in patience)), {})
        except (OperationalError, OSError, RuntimeError) as error:
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

    def _send(self, task: str, arguments: Mapping[str, Any], shown: str) -> None:
        trace = tracing.headers()

        def send() -> None:
            self._client().send_task(
                task,
                kwargs=dict(arguments),
                kwargsrepr=shown,
                argsrepr="()",
                headers=trace,
                ignore_result=True,
                retry=False,
                expires=self._settings.visibility_timeout_s,
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
        except (OperationalError, OSError, RuntimeError) as error:  # the backend raises a bare RuntimeError
            raise BrokerUnavailable(f"sending {task}", str(error) or type(error).__name__) from error

    def _client(self) -> Celery:
        with self._guard:
            if self._app is None:
                self._app = Celery("fstore-client", set_as_current=False)
                self._app.conf.update(celery_config(self._settings))
                self._app.conf.update(task_ignore_result=True, task_publish_retry=False, worker_send_task_events=False)
                self._app.conf.update(result_backend="disabled://")  # nobody here waits on a Celery result
            return self._app
