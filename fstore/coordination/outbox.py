"""Redis: puts texts on lists that others take from, and tells the time by which their age is judged."""

from __future__ import annotations

import logging
from typing import Any

from fstore.coordination.link import PREFIX, RedisLink, Wire, is_about_the_value

log = logging.getLogger("fstore.wire")


class Outbox:
    """Hands messages over, each in one round trip; every method may raise ``BrokerUnavailable``."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def push(self, action: str, name: str, text: str) -> None:
        """Put a text at the end of a list.

        What stands there and is no list is cleared away first: whoever can write to Redis can put
        anything there, and the list's readers would clear it away as well.
        """

        def push(wire: Wire) -> None:
            (answer,) = wire.ask(("LPUSH", PREFIX + name, text))
            if is_about_the_value(answer):
                log.warning(
                    "message dropped: its key held another kind of value (queue %s); nothing was computed", name
                )
                wire.exchange(("DEL", PREFIX + name), ("LPUSH", PREFIX + name, text))
            elif isinstance(answer, Exception):
                raise answer

        self._link.talk(action, push)

    def now(self) -> float:
        """Return Redis' time, in seconds since 1970."""

        def ask(client: Any) -> float:
            seconds, microseconds = client.time()
            return float(seconds + microseconds / 1e6)

        return self._link.call("asking Redis for the time", ask)
