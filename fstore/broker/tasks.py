"""Tasks: their names, where they go, and their messages as Celery and kombu write them.

All of it without loading either. What kombu keeps in Redis is one text a message (protocol 2, JSON, a queue by its
name), and a client needs nothing of Celery but this form. It is compared with Celery's own in the tests, field by
field.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fstore.broker.signing import SIGNATURE, KeyRing, signed
from fstore.settings import Settings

GET_OR_COMPUTE = "fstore.get_or_compute"
GET_OR_COMPUTE_MANY = "fstore.get_or_compute_many"
PUBLISH = "fstore.publish"
COLLECT_GARBAGE = "fstore.collect_garbage"
SWEEP_INTEGRITY = "fstore.sweep_integrity"
RECONCILE_JOBS = "fstore.reconcile_jobs"
FLUSH_USAGE = "fstore.flush_usage"
PING = "fstore.ping"

COMPUTE_QUEUE = "fstore.compute"
WRITE_QUEUE = "fstore.write"
UPKEEP_QUEUE = "fstore.upkeep"
QUEUES = (COMPUTE_QUEUE, WRITE_QUEUE, UPKEEP_QUEUE)
OWN_QUEUE = r"[a-z0-9][a-z0-9_-]{0,62}"  # what a feature may call its own queue

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

_FOLLOWING = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


ENDS_WITHIN_S = 5.0  # what a computation past its feature's own limit has to end in order, at least


def compute_queue(own: str | None) -> str:
    """Return the queue of computations, or the one that a feature has of its own.

    Trainers may append to both.
    """
    return COMPUTE_QUEUE if own is None else f"{COMPUTE_QUEUE}.{own}"


def time_limits(settings: Settings, own_s: float | None) -> dict[str, float]:
    """Return when a computation is asked to stop and when it is killed, as Celery's options.

    A feature's own are never longer.
    """
    if own_s is None:
        return {}
    hard_s = min(own_s + max(ENDS_WITHIN_S, 0.07 * own_s), settings.compute_time_limit_s)
    return {"soft_time_limit": min(own_s, settings.soft_time_limit_s), "time_limit": hard_s}


def task_message(
    task: str,
    arguments: Mapping[str, Any],
    *,
    queue: str,
    shown: str,
    now: float,
    expires_s: float,
    ring: KeyRing | None,
    headers: Mapping[str, str],
    time_limit: float | None = None,
    soft_time_limit: float | None = None,
) -> str:
    """Return the text that asks a worker for a task whose result nobody reads.

    ``shown`` is what Flower shows of its arguments, ``now`` the time by Redis' clock, ``headers`` are
    more of them, such as those of a trace.
    """
    task_id = str(uuid.uuid4())
    body = json.dumps([[], arguments, _FOLLOWING]).encode()
    about: dict[str, Any] = {
        **headers,
        "lang": "py",
        "task": task,
        "id": task_id,
        "shadow": None,
        "eta": None,
        "expires": datetime.fromtimestamp(now + expires_s, UTC).isoformat(),
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [time_limit, soft_time_limit],
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": "()",
        "kwargsrepr": shown,
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    if ring is not None:
        about[SIGNATURE] = signed({"headers": about, "body": body}, "", ring, now=now)
    properties = {
        "correlation_id": task_id,
        "reply_to": "",
        "kwargsrepr": shown,
        "argsrepr": "()",
        "delivery_mode": 2,
        "expiration": str(int(expires_s * 1000)),
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": about,
        "properties": properties,
    }
    return json.dumps(message)
