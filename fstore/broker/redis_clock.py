"""The one clock that messages' ages are judged by: Redis'. Hosts' own may be hours off."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

log = logging.getLogger("fstore.wire")

ASKED_EVERY_S = 30.0
NOTABLE_S = 1.0  # a smaller difference is that of a round trip, and no age is told by it
FAR_OFF_S = 60.0
SAID_EVERY_S = 600.0
AS_SENT = "fstore_as_sent"  # beside a delivered message: its times as they travel


class RedisClock:
    """How far Redis' clock is ahead of this host's, asked now and then over a connection of the caller's."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._asked_at = self._said_at = -float("inf")

    def ahead_s(self, redis_time: Callable[[], float]) -> float:
        """Return the seconds to add to this host's time to have Redis'.

        0 when they agree, or nobody can tell.
        """
        now = time.monotonic()
        if now - self._asked_at >= ASKED_EVERY_S:
            self._asked_at = now
            with suppress(Exception):  # a Redis that is away is noticed by whoever sends or receives
                before = time.time()
                there = redis_time()
                # Of an answer that took long nobody knows when it was given: no more is believed than it shows.
                self._ahead_s = min(max(self._ahead_s, there - time.time()), there - before)
            if abs(self._ahead_s) > FAR_OFF_S and now - self._said_at >= SAID_EVERY_S:
                self._said_at = now
                log.warning(
                    "this host's clock is %.0f s %s that of Redis, by which messages' ages are judged; set it right (NTP)",
                    abs(self._ahead_s), "behind" if self._ahead_s > 0 else "ahead of",
                )  # fmt: skip
        return self._ahead_s if abs(self._ahead_s) >= NOTABLE_S else 0.0


def moved(headers: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return a message's headers with its start and its expiry told by another clock."""
    return {**headers, **{name: _later(headers[name], seconds) for name in ("eta", "expires") if headers.get(name)}}


def delivered(message: Mapping[str, Any], ahead_s: float) -> dict[str, Any]:
    """Return a message as this host's Celery is to see it, and beside it the times as they travel."""
    if not ahead_s:
        return dict(message)
    headers = message["headers"]
    sent = {name: headers[name] for name in ("eta", "expires") if name in headers}
    return {**message, "headers": moved(headers, -ahead_s), AS_SENT: sent}


def as_sent(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a delivered message as it travelled, and may travel again: its signature is about that."""
    if AS_SENT not in message:
        return dict(message)
    rest = {name: value for name, value in message.items() if name != AS_SENT}
    return {**rest, "headers": {**message["headers"], **message[AS_SENT]}}


def _later(moment: object, seconds: float) -> object:
    match moment:
        case str():
            return (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat()
        case int() | float():
            return moment + seconds
    return moment
