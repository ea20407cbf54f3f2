"""What happens when a task meets the hard time limit, seen from the worker's main process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from celery.worker.request import Request

from workers import descendants


class LimitedRequest(Request):
    """A task's message; the child that is killed for it takes along what it started."""

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """Celery calls this just before it kills the child.

        It would ask it to end first, and a child that is asked takes that for the stop of its
        worker, which is not held against the computation: one that never ends would be
        begun anew for hours.
        """
        if not soft and self.worker_pid is not None:
            descendants.end_with(int(self.worker_pid))
            with suppress(ProcessLookupError):
                os.kill(int(self.worker_pid), signal.SIGKILL)
        return super().on_timeout(soft, timeout)
