"""Celery: messages, sending, the signed transport."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.broker.chunks import UNKNOWN_S, in_chunks
    from fstore.broker.client import Broker
    from fstore.broker.configuration import (
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
        celery_config,
        compute_queue,
        time_limits,
    )
    from fstore.broker.dashboard import FLOWER_SETTINGS, flower_variables
    from fstore.broker.messages import (
        ComputeRequest,
        PublishRequest,
        RawReference,
        claim_in,
        parse_compute,
        parse_compute_many,
        parse_publish,
        short_repr,
    )
    from fstore.broker.schedules import read_schedules
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "chunks": "UNKNOWN_S in_chunks",
            "client": "Broker",
            "configuration": "COLLECT_GARBAGE COMPUTE_QUEUE FLUSH_USAGE GET_OR_COMPUTE GET_OR_COMPUTE_MANY KEY_PREFIX OWN_QUEUE PING PUBLISH QUEUES RECONCILE_JOBS SWEEP_INTEGRITY UPKEEP_QUEUE WRITE_QUEUE celery_config compute_queue time_limits",
            "dashboard": "FLOWER_SETTINGS flower_variables",
            "messages": "ComputeRequest PublishRequest RawReference claim_in parse_compute parse_compute_many parse_publish short_repr",
            "schedules": "read_schedules",
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
