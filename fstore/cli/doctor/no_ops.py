"""Signed no-ops through queues, timed.

They tell whether workers do what they take, which no question to them tells. A worker may answer questions and read
tasks from a socket on which nothing comes; one that is stopped may have taken a message before. Each queue gets
more than it has workers, for a healthy neighbour answers for itself alone, and Redis serves who waited longest
first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

from fstore.coordination import Subscription
from fstore.resources import Resources

DEADLINE_S = 10.0
FEWEST, MOST = 3, 64
LISTENING_WITHIN_S = 3.0


@dataclass(frozen=True, slots=True)
class QueueTrial:
    """What became of the no-ops of one queue."""

    queue: str
    sent: int
    answered: int
    slowest_s: float | None
    deadline_s: float = DEADLINE_S

    @property
    def late(self) -> int:
        """How many nobody answered in time."""
        return self.sent - self.answered

    @property
    def text(self) -> str:
        """What is said of it."""
        if not self.answered:
            return f"nobody did a no-op within {self.deadline_s:g} s"
        took = f"the slowest in {1000 * (self.slowest_s or 0):.0f} ms"
        if self.late:
            return (
                f"{self.answered} of {self.sent} no-ops were done, {took}, the others not within {self.deadline_s:g} s"
            )
        return f"{self.sent} no-ops, {took}"


def try_queues(
    resources: Resources, workers: Mapping[str, int], *, deadline_s: float = DEADLINE_S
) -> dict[str, QueueTrial]:
    """Send no-ops to all queues at once, by how many workers each has, and wait for their answers.

    Raises ``BrokerUnavailable``.
    """
    counts = {queue: min(MOST, max(FEWEST, n + 1)) for queue, n in workers.items()}
    tokens = {f"noop-{uuid4().hex}": queue for queue, n in counts.items() for _ in range(n)}
    answered: dict[str, float] = {}
    with resources.notifier.subscribe(tokens) as heard:
        # Each is heard of once when it is listened for, and again when it is answered.
        _hear(heard, set(tokens), time.monotonic() + LISTENING_WITHIN_S)
        began = {}
        for token, queue in tokens.items():
            began[token] = time.monotonic()
            resources.broker.send_ping(token, queue, expires_s=deadline_s)
        missing, ends_at = set(tokens), time.monotonic() + deadline_s
        while missing and (left := ends_at - time.monotonic()) > 0:
            for token in heard.wait(left) & missing:
                answered[token] = time.monotonic() - began[token]
                missing.discard(token)
    return {
        queue: _trial(queue, [t for t, q in tokens.items() if q == queue], answered, deadline_s) for queue in counts
    }


def _hear(heard: Subscription, wanted: set[str], ends_at: float) -> None:
    while wanted and (left := ends_at - time.monotonic()) > 0:
        wanted -= heard.wait(left)


def _trial(queue: str, tokens: Sequence[str], answered: dict[str, float], deadline_s: float) -> QueueTrial:
    took = [answered[token] for token in tokens if token in answered]
    slowest = round(max(took), 4) if took else None
    return QueueTrial(queue, len(tokens), len(took), slowest, deadline_s)
