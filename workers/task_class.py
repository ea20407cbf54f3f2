"""The base of all tasks: short arguments in events, phases that Flower shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Task

from fstore.broker import short_repr
from workers.progress_events import board


class FstoreTask(Task):  # type: ignore[type-arg]
    """A task whose events carry symbol, feature and key as a literal dict, never the request itself."""

    Request = "workers.hard_limit:LimitedRequest"

    def apply_async(self, args: Any = None, kwargs: Any = None, *rest: Any, **options: Any) -> Any:
        """Send the task with the short form of its request in its events."""
        request = request_of(args, kwargs)
        if request is not None:
            shown = short_repr(*(str(request.get(name) or "") for name in ("symbol", "feature", "key")))
            options = {"argsrepr": "()", "kwargsrepr": shown, **options}
        return super().apply_async(args, kwargs, *rest, **options)

    def phase(self, name: str) -> None:
        """Show in Flower what this task is doing, if it does it for a while; ends with the task's own state."""
        board.show(self, name)


def request_of(args: Any, kwargs: Any) -> Mapping[str, Any] | None:
    """Return the request among a task's arguments, as it came over the wire."""
    found = (kwargs or {}).get("request") or (args[0] if args else None)
    return found if isinstance(found, Mapping) else None
