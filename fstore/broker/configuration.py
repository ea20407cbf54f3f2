"""The settings that every Celery application of a store shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu import Queue

from fstore.broker.signing import KeyRing
from fstore.broker.tasks import COMPUTE_QUEUE, KEY_PREFIX, QUEUES, ROUTES
from fstore.broker.transport import OPTION, Guard, transport_name
from fstore.errors import ConfigurationError
from fstore.settings import Settings

SOCKET_TIMEOUT_S = 5


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
