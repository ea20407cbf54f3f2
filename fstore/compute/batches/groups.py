"""Results that wait for one another: the small ones share a file, all of them a transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fstore.calling import is_stop
from fstore.compute.publishing import PendingEntry, Publisher, SmallResult
from fstore.model import Locator
from fstore.runtime import tracing

GROUP = 64  # results that share one transaction
GROUP_BYTES = 16 << 20  # of results that are held in memory until their file is written
GROUP_S = 1.0  # after which a result waits no longer for others: what a chunk is to take
LOOK_EVERY_S = 0.25


class Group:
    """Results of a chunk on their way.

    ``on_published`` is told what answers for each now, ``on_failed`` why one was not written.
    """

    def __init__(
        self,
        publisher: Publisher,
        on_published: Callable[[PendingEntry, Locator | None], None],
        on_failed: Callable[[SmallResult, BaseException], None],
    ) -> None:
        self._publisher = publisher
        self._on_published, self._on_failed = on_published, on_failed
        self._guard = threading.Lock()  # held while they are published: nobody may think that it is done before it is
        self._small: list[SmallResult] = []
        self._small_bytes = 0
        self._pending: list[PendingEntry] = []
        self._first_at = 0.0

    def add(self, result: SmallResult | PendingEntry) -> None:
        """Add one, and publish when that makes enough."""
        with self._guard:
            if not (self._small or self._pending):
                self._first_at = time.monotonic()
            if isinstance(result, SmallResult):
                self._small.append(result)
                self._small_bytes += result.data.size
            else:
                self._pending.append(result)
            if len(self._small) + len(self._pending) >= GROUP or self._small_bytes >= GROUP_BYTES:
                self._publish()

    def publish(self, *, older_than_s: float = -1.0) -> None:
        """Publish all, if the first has waited for so long."""
        with self._guard:
            if (self._small or self._pending) and time.monotonic() - self._first_at > older_than_s:
                self._publish()

    def _publish(self) -> None:
        with tracing.span("fstore.publish", entries=str(len(self._small) + len(self._pending))):
            self._write()
            if not self._pending:
                return
            answering = self._publisher.insert(self._pending)
        for pending in self._pending:
            self._on_published(pending, answering[pending.facts.key])
        self._pending = []

    def _write(self) -> None:
        """Give the small ones their file, and let the large ones go on.

        What cannot be written is told to each of them.
        """
        if not self._small:
            return
        try:
            written = self._publisher.write_together(self._small)
        except BaseException as error:
            if is_stop(error):
                raise
            failed, self._small, self._small_bytes = self._small, [], 0
            for result in failed:
                self._on_failed(result, error)
            return
        self._pending += written  # kept until they are inserted: a second try writes no second file
        self._small, self._small_bytes = [], 0
