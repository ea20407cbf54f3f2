"""Celery: messages, sending, the signed transport."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.broker.client import Broker, short_repr
    from fstore.broker.configuration import celery_config
    from fstore.broker.dashboard import FLOWER_SETTINGS, flower_variables
    from fstore.broker.messages import (
        UNKNOWN_S,
        ComputeRequest,
        PublishRequest,
        RawReference,
        SegmentReference,
        claim_in,
        in_chunks,
        parse_compute,
        parse_compute_many,
        parse_publish,
    )
    from fstore.broker.schedules import read_schedules
    from fstore.broker.tasks import (
        COLLECT_GARBAGE,
        COMPUTE_QUEUE,
        FLUSH_USAGE,
        GET_OR_COMPUTE,
        GET_OR_COMPUTE_MANY,
        KEY_PREFIX,
        OWN_QUEUE,
        PING,
        PUBLISH,
        QUEUES,
        RECONCILE_JOBS,
        SWEEP_INTEGRITY,
        UPKEEP_QUEUE,
        WRITE_QUEUE,
        compute_queue,
        time_limits,
    )
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "client": "Broker short_repr",
            "configuration": "celery_config",
            "dashboard": "FLOWER_SETTINGS flower_variables",
            "messages": "UNKNOWN_S in_chunks ComputeRequest PublishRequest RawReference SegmentReference claim_in parse_compute parse_compute_many parse_publish",
            "schedules": "read_schedules",
            "tasks": (
                "COLLECT_GARBAGE COMPUTE_QUEUE FLUSH_USAGE GET_OR_COMPUTE GET_OR_COMPUTE_MANY KEY_PREFIX OWN_QUEUE "
                "PING PUBLISH QUEUES RECONCILE_JOBS SWEEP_INTEGRITY UPKEEP_QUEUE WRITE_QUEUE compute_queue time_limits"
            ),
        },
    )

__all__ = [
    "Broker",
    "COLLECT_GARBAGE",
    "COMPUTE_QUEUE",
    "ComputeRequest",
    "FLOWER_SETTINGS",
    "FLUSH_USAGE",
    "GET_OR_COMPUTE",
    "GET_OR_COMPUTE_MANY",
    "KEY_PREFIX",
    "OWN_QUEUE",
    "PING",
    "PUBLISH",
    "PublishRequest",
    "QUEUES",
    "RECONCILE_JOBS",
    "RawReference",
    "SegmentReference",
    "SWEEP_INTEGRITY",
    "UNKNOWN_S",
    "UPKEEP_QUEUE",
    "WRITE_QUEUE",
    "celery_config",
    "claim_in",
    "compute_queue",
    "flower_variables",
    "in_chunks",
    "parse_compute",
    "parse_compute_many",
    "parse_publish",
    "read_schedules",
    "short_repr",
    "time_limits",
]
