"""What happens when a task meets the hard time limit, seen from the worker's main process."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

from workers import descendants


class LimitedRequest(Request):
    """A task's message; the child that is killed for it takes along what it started."""

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """Celery calls this just before it kills the child."""
        if not soft and self.worker_pid is not None:
            descendants.end_with(int(self.worker_pid))
        return super().on_timeout(soft, timeout)
