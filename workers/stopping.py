"""Whether this process was told to stop.

An error alone does not say that: a feature may call ``sys.exit`` itself.
"""

from __future__ import annotations

from billiard.common import terminate_handler_fired  # type: ignore[attr-defined]
from celery.worker import state


def is_stopping() -> bool:
    """Return whether this child was signalled to end, or a worker that runs its tasks itself is about to."""
    asked = state.should_terminate  # None, or an exit code, which may be 0
    return bool(terminate_handler_fired()) or (asked is not None and asked is not False)
