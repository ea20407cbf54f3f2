"""Messages that were delivered and not acknowledged yet, when the connection they came over is gone.

kombu 5.7 closes a lost connection twice, and the second time asks a transport that
is no more where Redis is: ``AttributeError``, which no Celery loop survives. A worker
that loses Redis in the middle of a task would end instead of connecting again.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis


class Delivered(redis.QoS):
    """Leaves messages of a lost connection where they are: the job rows say what is still to be computed."""

    def restore_unacked(self, client: Any = None) -> None:
        """Put messages back into their queues, as a worker that stops does; of a lost connection, forget them."""
        if not self._is_gone():
            super().restore_unacked(client)
        elif self._delivered is not None:
            self._delivered.clear()

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; raises an error that Celery expects when its connection is gone."""
        if self._is_gone():
            raise ConnectionError("the connection that this message came over is gone")
        super().ack(delivery_tag)

    def _is_gone(self) -> bool:
        transport = self.channel.connection
        return transport is None or transport.client is None
