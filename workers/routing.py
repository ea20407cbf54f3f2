"""Requests of plain Celery clients, who know neither the queue of a feature nor its time limit."""

from __future__ import annotations

from typing import Any

from kombu import Queue

from fstore.broker import ComputeRequest, compute_queue, time_limits
from fstore.errors import FeatureNotRegistered
from fstore.features import Feature, resolve_feature
from workers import process


def options_elsewhere(task: Any, request: ComputeRequest) -> dict[str, Any] | None:
    """Return with which options a request is to be sent on, None where it may be computed as it came.

    The library sends by the feature's declaration. A message that came with a limit, or
    was sent on before, is taken as it is: nothing goes round in circles.
    """
    try:
        feature = resolve_feature(request.feature)
    except FeatureNotRegistered:
        return None  # refused where it is looked at
    queue = compute_queue(feature.queue)
    if task.request.delivery_info is None or not _is_plain(task, request, feature):
        return None
    limits = time_limits(process.resources().settings, feature.timeout_s)
    if task.request.delivery_info.get("routing_key") == queue and not limits:
        return None
    return {"queue": Queue(queue), "headers": {"fstore_sent_on": True}, **limits}


def _is_plain(task: Any, request: ComputeRequest, feature: Feature) -> bool:
    """Tell what no library sent, and no worker before: those two know the declaration."""
    if (feature.queue, feature.timeout_s) == (None, None) or (request.queue, request.time_limit_s) != (None, None):
        return False
    sent_on = getattr(task.request, "fstore_sent_on", None) or (task.request.headers or {}).get("fstore_sent_on")
    return not sent_on and task.request.retries == 0
