"""Counts the messages that a worker dropped unread.

They never reach a child, so the main process counts them.
"""

from __future__ import annotations

from functools import cache

from fstore.bootstrap import load_settings
from fstore.coordination import RedisLink, UsageBuffer
from fstore.runtime.counters import Recorder

COUNTER = "messages_rejected"


def note_rejected() -> None:
    """Count one message; it is handed to Redis by a thread, so the loop that asks does not wait."""
    _recorder().count(COUNTER)


@cache
def _recorder() -> Recorder:
    settings = load_settings()
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    return Recorder(UsageBuffer(RedisLink(url, timeout_s=settings.connect_timeout_s)).note)
