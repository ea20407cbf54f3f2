"""Celery's remote control, as trainers and commands use it: who serves which queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

    def busy_workers(self, wanted: frozenset[str], *, timeout_s: float) -> dict[str, int]:
        """Return how many tasks each worker runs, of those that answer in time; raises ``BrokerUnavailable``."""
        answers = self._answers("active", wanted.issubset, timeout_s=timeout_s)
        return {worker: len(tasks) for worker, tasks in answers.items()}

    def workers_by_queue(self, wanted: frozenset[str], *, timeout_s: float) -> dict[str, list[str]]:
        """Ask all workers which queues they serve, and return those that answer in time, by queue.

        Raises ``BrokerUnavailable``.
        """

        def are_enough(answers: dict[str, Any]) -> bool:
            return bool(answers) and wanted.issubset(queue["name"] for queues in answers.values() for queue in queues)

        found: dict[str, list[str]] = {queue: [] for queue in QUEUES}
        for worker, queues in sorted(self._answers("active_queues", are_enough, timeout_s=timeout_s).items()):
            for queue in queues:
                found.setdefault(queue["name"], []).append(worker)
        return found

    def _answers(
        self, command: str, are_enough: Callable[[dict[str, Any]], bool], *, timeout_s: float
    ) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        # Who does not answer is more often on a busy host than dead: asked once more, with patience.
        for patience_s in (timeout_s, 3 * timeout_s):
            answers |= self._ask(command, patience_s)
            if are_enough(answers):
                break
        return answers

    def _ask(self, command: str, timeout_s: float) -> dict[str, Any]:
        try:
            # Celery's own pool of connections belongs to the whole process: one that idles there may be closed by now.
            with self._app.connection_for_write() as connection:
                inspect = self._app.control.inspect(timeout=timeout_s, connection=connection)
                return getattr(inspect, command)() or {}
        except _UNAVAILABLE as error:
            raise BrokerUnavailable("asking for workers", str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
