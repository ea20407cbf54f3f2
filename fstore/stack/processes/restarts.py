"""When a child that ended is started again, and when no more: decisions on values only."""

from __future__ import annotations

from dataclasses import dataclass, replace

LIMIT_AT_START = 3
LIMIT_LATER = 10
SETTLED_AFTER_SECONDS = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class RestartRecord:
    """How a child fared: ends in a row without a settled run in between, and whether it ever was ready."""

    ends_in_a_row: int = 0
    was_ready: bool = False

    def after_ready(self) -> RestartRecord:
        """Return the record of a child that became ready."""
        return replace(self, was_ready=True)

    def after_end(self, *, ready_for_seconds: float) -> RestartRecord:
        """Return the record after one more end; one that ran well for a while starts afresh."""
        settled = ready_for_seconds >= SETTLED_AFTER_SECONDS
        return replace(self, ends_in_a_row=1 if settled else self.ends_in_a_row + 1)

    def delay_seconds(self) -> float | None:
        """Return how long to wait before the next start; None means to give up.

        The first start after a good run comes almost at once, every further one
        waits twice as long. A child that never was ready is given fewer tries:
        its fault is in its set-up and will not pass.
        """
        limit = LIMIT_LATER if self.was_ready else LIMIT_AT_START
        if self.ends_in_a_row >= limit:
            return None
        return float(min(_FIRST_DELAY * 2 ** max(0, self.ends_in_a_row - 1), _LONGEST_DELAY))
