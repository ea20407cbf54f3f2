"""A task that does nothing, for the same worker and broker: what Celery itself costs."""

from __future__ import annotations

from harness.stand import NOOP
from workers.app import app


@app.task(name=NOOP, queue="fstore.compute")
def noop() -> None:
    """Do nothing."""
