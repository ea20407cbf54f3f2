"""Messages that were delivered and not acknowledged yet.

They are kept in Redis, and put back when their worker is gone. kombu 5.7 closes a lost connection twice, and the
second time asks a transport that is no more where Redis is: ``AttributeError``, which no Celery loop survives. A
worker that loses Redis in the middle of a task would end instead of connecting again. Nor does it survive what it
cannot read among these messages, not even at its start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kombu.transport import redis

from fstore.broker.envelope import Refused, check_length
from fstore.broker.redis_clock import as_sent
from fstore.broker.spoiled_keys import mended

T = TypeVar("T")
QUEUES_BEGIN = "fstore."  # only these are consumed with acknowledgements


class Delivered(redis.QoS):
    """Leaves messages of a lost connection where they are: the job rows say what is still to be computed."""

    channel: Any

    @property
    def visibility_timeout(self) -> float:  # type: ignore[override]
        """When a message counts as lost, for a host whose clock is not Redis'."""
        return float(self.channel.visibility_timeout - self.channel.time_ahead_s())

    def append(self, message: Any, delivery_tag: str) -> None:
        """Keep a message as it travelled, aged by Redis' clock."""
        message._raw = as_sent(message._raw)
        ahead_s = self.channel.time_ahead_s()

        def keep() -> None:
            super(Delivered, self).append(message, delivery_tag)
            if ahead_s:
                with self.channel.conn_or_acquire() as client:
                    client.zadd(self.unacked_index_key, {delivery_tag: time.time() + ahead_s})

        self._mended(keep)

    def restore_unacked(self, client: Any = None) -> None:
        """Put messages back into their queues, as a worker that stops does.

        Those of a lost connection are forgotten.
        """
        if not self._is_gone():
            super().restore_unacked(client)
        elif self._delivered is not None:
            self._delivered.clear()

    def restore_visible(self, start: int = 0, num: Any = 10, interval: int = 10) -> None:
        """Put back what nobody acknowledged for too long."""
        with self.channel.conn_or_acquire() as client, suppress(self.channel.ResponseError):
            # A lock that nobody holds and that never lapses would keep everybody from this.
            client.execute_command(
                "EXPIRE", self.channel.global_keyprefix + self.unacked_mutex_key, self.unacked_mutex_expire, "NX"
            )
        self._mended(lambda: super(Delivered, self).restore_visible(start, num, interval))

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put one message back; what is none is dropped."""
        refused = ""

        def restore(pipe: Any) -> None:
            nonlocal refused
            refused = ""
            held = pipe.hget(self.unacked_key, tag)
            pipe.multi()
            self._remove_from_indices(tag, pipe)  # type: ignore[attr-defined]
            if held is not None:
                try:
                    found = _parts(held)
                except Refused as reason:
                    refused = str(reason)
                else:
                    self.channel._do_restore_message(*found, pipe, leftmost)

        with self.channel.conn_or_acquire(client) as link:
            self._mended(lambda: link.transaction(restore, self.unacked_key))
        if refused:
            self.channel.drop(self.unacked_key, refused)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; raises an error that Celery expects when its connection is gone."""
        if self._is_gone():
            raise ConnectionError("the connection that this message came over is gone")
        self._mended(lambda: super(Delivered, self).ack(delivery_tag))

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message up, or put it back."""
        self._mended(lambda: super(Delivered, self).reject(delivery_tag, requeue))

    def _mended(self, act: Callable[[], T]) -> T | None:
        return mended(self.channel, act, drop=self.channel.drop, queues=self.channel.kept_queues())

    def _is_gone(self) -> bool:
        transport = self.channel.connection
        return transport is None or transport.client is None


def _parts(held: bytes | str) -> tuple[dict[str, Any], str, str]:
    """Return message, exchange and queue of what was kept; raises ``Refused`` for what no worker kept."""
    check_length(held)
    try:
        found = json.loads(held)
    except (ValueError, RecursionError) as error:
        raise Refused("it is not JSON, or is nested too deep") from error
    match found:
        case [
            {"headers": dict(), "properties": {"delivery_info": dict()}} as message,
            "",
            str() as queue,
        ] if queue.startswith(QUEUES_BEGIN):
            return message, "", queue
    raise Refused("not a message that a worker kept")
