"""What a task does when it cannot go on: retry, give up, or answer with the error."""

from __future__ import annotations

from typing import Any, cast

from celery.exceptions import Retry

from fstore.errors import BrokerUnavailable, ComputeTimeout, ManifestUnavailable

# The lease decides who computes; a message that comes back sooner would only be turned away.
WORKER_LOST_RETRIES = 2
TRANSIENT = (ManifestUnavailable, BrokerUnavailable)
TRANSIENT_RETRIES = 3
FIRST_LOOK_S = 0.2
LONGEST_LOOK_S = 5.0
MOST_LOOKS = 400


def look_again_in(looks: int) -> float:
    """Return the seconds until a task whose key is computed elsewhere looks again.

    It holds no slot meanwhile.
    """
    return float(min(FIRST_LOOK_S * 1.5 ** min(looks, 20), LONGEST_LOOK_S))


def transient_delay(retries: int) -> float:
    """Return the seconds until a task tries again that met a server which is away."""
    return float(2**retries)


def try_again(task: Any, error: Exception) -> Retry:
    """Return the retry of a task that met a server which is away.

    Raises the error itself after the last try.
    """
    return cast(
        Retry,
        task.retry(
            exc=error, countdown=transient_delay(task.request.retries), max_retries=TRANSIENT_RETRIES, throw=False
        ),
    )


def look_again(task: Any, key: str) -> Retry:
    """Return the retry of a task whose key is computed elsewhere.

    Raises ``ComputeTimeout`` after the last look.
    """
    late = ComputeTimeout(key, MOST_LOOKS * LONGEST_LOOK_S, "running elsewhere")
    return cast(
        Retry, task.retry(exc=late, countdown=look_again_in(task.request.retries), max_retries=MOST_LOOKS, throw=False)
    )
