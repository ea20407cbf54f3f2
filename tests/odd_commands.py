"""A control command of a worker whose answer cannot be sent; imported by workers as if it held features."""

from __future__ import annotations

from celery.worker.control import inspect_command


@inspect_command()
def unanswerable(state: object) -> dict[str, object]:
    """Answer with what is no JSON."""
    return {"ok": object()}
