"""Ends a worker that met an error it cannot go on from.

Celery then asks its pool to stop in order, and that may wait for ever: a child that
was killed while it handed over a result leaves half a message in the pipe, the main
process cannot read it, and the task it belongs to never counts as done. Such a
worker takes no work and does not end, so nobody starts it again.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from celery.bootsteps import StartStopStep
from celery.platforms import EX_FAILURE

log = logging.getLogger("fstore.worker")

END_WITHIN_S = 10.0


class LastResort(StartStopStep):
    """Gives a worker that failed ten seconds to stop in order; an ordinary stop takes as long as it needs."""

    def close(self, worker: Any) -> None:
        """Celery calls this when the worker begins to stop, for whatever reason."""
        if worker.exitcode == EX_FAILURE:
            threading.Thread(target=_end, args=(END_WITHIN_S,), name="fstore-last-resort", daemon=True).start()


def _end(after_s: float) -> None:
    threading.Event().wait(after_s)
    log.critical("the worker could not stop within %g s of an error; it ends at once, its jobs are taken over", after_s)
    os._exit(EX_FAILURE)
