"""Celery's scheduler, and a sign of life for probes that costs them nothing."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler

from fstore.bootstrap import load_settings
from fstore.runtime.probes import touch_probe


class WatchedScheduler(PersistentScheduler):
    """Touches ``FEATURE_STORE_HEARTBEAT_FILE`` each time the loop turns.

    At least every ``max_interval`` seconds. The file says that the loop turns, not that Redis takes what it sends:
    Beat goes on without Redis, and restarting it would not help. ``fstore doctor`` sees whether upkeep runs.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._file = load_settings().heartbeat_file
        super().__init__(*arguments, **options)

    def tick(self, *arguments: Any, **options: Any) -> float:
        """Send what is due, and return in how many seconds to look again."""
        touch_probe(self._file)
        wait: float = super().tick(*arguments, **options)
        touch_probe(self._file)  # a send that waited for Redis was a turn of the loop too
        return wait
