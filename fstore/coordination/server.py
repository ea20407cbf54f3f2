"""Redis itself: the length of its queues, and what it says about itself."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from fstore.coordination.link import PREFIX, RedisLink, ask_raw
from fstore.errors import BrokerUnavailable


class RedisServer:
    """Looks at the server and changes nothing.

    Every method but ``is_drained`` and ``is_up`` may raise ``BrokerUnavailable``.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def queue_length(self, queue: str) -> int:
        """Return how many messages wait in a Celery queue."""
        found = self._link.call("reading a queue's length", lambda client: ask_raw(client, "LLEN", PREFIX + queue))
        return found if isinstance(found, int) else 0  # no list, hence no messages: workers clear it away

    def is_drained(self, queue: str) -> bool:
        """Return whether no message waits in a Celery queue; False when Redis cannot say."""
        with contextlib.suppress(BrokerUnavailable):
            return self.queue_length(queue) == 0
        return False

    def is_up(self) -> bool:
        """Return whether Redis answers now."""
        return self._link.is_up()

    def info(self) -> tuple[Mapping[str, Any], float]:
        """Return what Redis says about itself (``INFO``) and its time, in seconds since 1970."""

        def ask(client: Any) -> tuple[Mapping[str, Any], float]:
            seconds, microseconds = client.time()
            return client.info(), seconds + microseconds / 1e6

        return self._link.call("asking Redis about itself", ask)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()
