"""Moves notes of usage and counters from Redis to Postgres, and tells how far they can be relied on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from fstore.coordination import UsageBuffer
from fstore.errors import BrokerUnavailable
from fstore.postgres import UpkeepRuns, Usage
from fstore.resources import Resources
from fstore.runtime.counters import Recorder
from fstore.upkeep.runner import refuse_lost_turn

FLUSH_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class FlushReport:
    """What one flush moved."""

    keys: int = 0
    hits: int = 0
    counters: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {"kind": "flush", **asdict(self)}


class UsageFlush:
    """What was noted of usage in Redis, on its way to Postgres."""

    def __init__(self, usage: Usage, runs: UpkeepRuns, buffer: UsageBuffer, recorder: Recorder) -> None:
        self._usage, self._runs, self._buffer, self._recorder = usage, runs, buffer, recorder

    @classmethod
    def of(cls, resources: Resources) -> UsageFlush:
        """Return the flush of a process."""
        return cls(resources.usage, resources.runs, resources.usage_buffer, resources.recorder)

    def move(self, still_alone: Callable[[], object] = bool) -> FlushReport:
        """Write down what Redis noted, then drop it there; only under the lock of flushes.

        A crash in between counts some hits twice, which no decision depends on: an entry
        is at worst kept for as long as it would have been after one more use. ``still_alone``
        raises when another flush began meanwhile: what is set aside then is that one's to drop.
        """
        self._recorder.flush()
        notes = self._buffer.take()
        if notes.hits or notes.counters:
            self._usage.add(notes.hits, notes.counters)
            still_alone()
            self._buffer.drop()
        self._known_for_s()  # sets the mark again soon after Redis lost it
        return FlushReport(len(notes.hits), sum(notes.hits.values()), sum(notes.counters.values()))

    def move_in_turn(self) -> bool:
        """Write down what Redis noted, after whoever does so right now; False when that takes too long.

        Two at once would drop notes that only one of them has written.
        """
        ends_at = time.monotonic() + FLUSH_PATIENCE_S
        while True:
            with self._runs.alone("flush") as turn:
                if turn is not None:
                    self.move(partial(refuse_lost_turn, self._runs, turn))
                    return True
            if time.monotonic() > ends_at:
                return False
            time.sleep(0.05)

    def bring_up_to_date(self) -> str | None:
        """Write down what Redis noted; return why that failed, and nothing may be condemned."""
        try:
            return None if self.move_in_turn() else "nothing is condemned: another flush of usage does not end"
        except BrokerUnavailable as error:
            return f"nothing is condemned while the notes of usage cannot be read: {error}"

    def forget(self, *, older_than: timedelta) -> None:
        """Drop the usage of entries that are gone."""
        self._usage.forget(older_than=older_than)

    def why_unknown(self, needed: timedelta) -> str | None:
        """Return why nothing may be condemned by last use now, or None; ``needed`` is the use that protects.

        Redis holds the notes of the last minute. When it lost them, an entry that
        looks unused may have been used just then, so nothing is condemned until that
        moment is further away than the use that protects.
        """
        needed_s = needed.total_seconds()
        try:
            known_s = self._known_for_s()
        except BrokerUnavailable as error:
            return f"nothing is condemned while the notes of usage cannot be read: {error}"
        if known_s >= needed_s:
            return None
        return f"nothing is condemned yet: usage is known for {known_s:.0f} s only, {needed_s:.0f} s are needed (Redis is new or was emptied)"

    def _known_for_s(self) -> float:
        return self._buffer.known_for(self._runs.now().timestamp())
