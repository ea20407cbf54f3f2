"""Celery's remote control, as trainers and commands use it: who serves which queue."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import redis

from fstore.broker.configuration import celery_config
from fstore.broker.tasks import QUEUES
from fstore.errors import BrokerUnavailable
from fstore.settings import Settings

# What Redis refuses, for example because this user may not do it, reaches us as the driver's error.
_UNAVAILABLE: tuple[type[Exception], ...] = (
    OperationalError,
    OSError,
    RuntimeError,  # the backend raises a bare one
    *redis.Transport.channel_errors,
)


class Control:
    """A Celery application that sends commands to workers and reads their answers."""

    def __init__(self, settings: Settings) -> None:
        self._app = Celery("fstore-client", set_as_current=False)
        self._app.conf.update(celery_config(settings))
        self._app.conf.update(result_backend="disabled://")  # nobody here waits on a Celery result

    def busy_workers(self, *, timeout_s: float) -> dict[str, int]:
        """Return how many tasks each worker runs, of those that answer in time; raises ``BrokerUnavailable``."""
        try:
            answers = self._app.control.inspect(timeout=timeout_s).active() or {}
        except _UNAVAILABLE as error:
            raise BrokerUnavailable("asking for workers", str(error) or type(error).__name__) from error
        return {worker: len(tasks) for worker, tasks in answers.items()}

    def workers_by_queue(self, wanted: frozenset[str], *, timeout_s: float) -> dict[str, list[str]]:
        """Ask all workers which queues they serve, and return those that answer in time, by queue.

        Raises ``BrokerUnavailable``.
        """
        answers: dict[str, list[str]] = {}
        # Nobody is more often a busy host than a dead one: asked once more, with patience.
        for patience_s in (timeout_s, 3 * timeout_s):
            answers |= self._queues_by_worker(patience_s)
            if answers and wanted.issubset(queue for queues in answers.values() for queue in queues):
                break
        found: dict[str, list[str]] = {queue: [] for queue in QUEUES}
        for worker, queues in sorted(answers.items()):
            for queue in queues:
                found.setdefault(queue, []).append(worker)
        return found

    def _queues_by_worker(self, timeout_s: float) -> dict[str, list[str]]:
        try:
            answers = self._app.control.inspect(timeout=timeout_s).active_queues() or {}
        except _UNAVAILABLE as error:
            raise BrokerUnavailable("asking for workers", str(error) or type(error).__name__) from error
        return {worker: [queue["name"] for queue in queues] for worker, queues in answers.items()}

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
