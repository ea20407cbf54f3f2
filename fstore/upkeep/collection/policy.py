"""What garbage collection keeps and which entries it gives up, and why; decides, and touches nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from fstore.settings import Settings

RECENT_USE = timedelta(hours=1)
"""What was used this recently is never condemned: usage reaches the database up to a minute late, readers may still hold the path."""

QUARANTINE_KEPT = timedelta(days=7)


class Reason(StrEnum):
    """Why an entry goes."""

    EXPIRED = "expired"
    OVER_BUDGET = "over budget"
    SUPERSEDED = "superseded"


class Candidate(NamedTuple):
    """What the decision needs to know of a live entry; ``last_used_at`` is never before ``created_at``."""

    key: str
    path: str
    size_bytes: int
    created_at: datetime
    last_used_at: datetime
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class Eviction:
    """One entry to condemn, with the reason."""

    candidate: Candidate
    reason: Reason


@dataclass(frozen=True, slots=True)
class GarbagePolicy:
    """How long entries are kept, how many bytes of them, and for how long what goes is only hidden.

    ``max_bytes`` None means no budget. When the total is above it, entries go until the
    total is at or under ``low_watermark_bytes`` (nine tenths unless given), so that not
    every run has to evict. Use within ``guard``, and age below it, protect an entry from
    everything; a grace below an hour, which only tests may set, shortens that too.
    """

    retention: timedelta
    grace: timedelta
    max_bytes: int | None = None
    low_watermark_bytes: int | None = None
    quarantine_kept: timedelta = QUARANTINE_KEPT

    @classmethod
    def from_settings(
        cls, settings: Settings, *, retention_weeks: float | None = None, max_bytes: int | None = None
    ) -> GarbagePolicy:
        """Return the policy of the settings, or what a caller wants instead."""
        weeks = settings.gc_retention_weeks if retention_weeks is None else retention_weeks
        return cls(
            retention=timedelta(weeks=weeks),
            grace=timedelta(hours=settings.gc_grace_hours),
            max_bytes=settings.gc_max_bytes if max_bytes is None else max_bytes,
        )

    @property
    def guard(self) -> timedelta:
        """Within this time after its last use, or its birth, an entry is never chosen."""
        return min(RECENT_USE, self.grace)

    @property
    def evicts_to_bytes(self) -> int:
        """Where eviction stops once it has begun."""
        if self.low_watermark_bytes is not None:
            return self.low_watermark_bytes
        return 0 if self.max_bytes is None else self.max_bytes * 9 // 10

    def is_expired(self, last_used_at: datetime, now: datetime) -> bool:
        """Return whether an entry was not used for longer than the retention."""
        return now - last_used_at > self.retention

    def may_choose(self, last_used_at: datetime, now: datetime) -> bool:
        """Return whether the plan has to look at an entry at all: the rest is not even held in memory."""
        return self.max_bytes is not None or self.is_expired(last_used_at, now)

    def worth_choosing(self, total_bytes: int | None) -> float:
        """Return how many bytes may have to go for the budget, at the most."""
        if self.max_bytes is None:
            return 0
        if total_bytes is None:
            return math.inf
        return max(0, total_bytes - self.evicts_to_bytes) if total_bytes > self.max_bytes else 0


def plan_eviction(
    candidates: Iterable[Candidate], policy: GarbagePolicy, *, now: datetime, total_bytes: int | None = None
) -> tuple[Eviction, ...]:
    """Choose which entries to give up, and why, the longest unused first.

    Expired entries always go. If what remains is above the budget, the least recently
    used go next, until the total is at or under the low watermark. An entry younger than
    the guard or used within it is never chosen, however little is left to choose from:
    someone may just have been handed its path. Nor is a pinned one, whose bytes count.

    Equal times are settled by key, so the plan does not depend on the order of
    the input. ``candidates`` may be a stream of millions; with ``total_bytes``,
    their size in all, memory holds little more than what is chosen.
    """
    expired: list[Candidate] = []
    settled = _LeastRecentlyUsed(policy.worth_choosing(total_bytes))
    guard, kept_bytes = policy.guard, 0
    for candidate in candidates:
        is_settled = now - candidate.last_used_at >= guard and now - candidate.created_at >= guard
        may_go = is_settled and not candidate.is_pinned
        if may_go and policy.is_expired(candidate.last_used_at, now):
            expired.append(candidate)
            continue
        kept_bytes += candidate.size_bytes
        if may_go:
            settled.add(candidate)

    expired.sort(key=_last_use)
    evictions = [Eviction(candidate, Reason.EXPIRED) for candidate in expired]
    if policy.max_bytes is not None and kept_bytes > policy.max_bytes:
        for candidate in settled.in_order():
            if kept_bytes <= policy.evicts_to_bytes:
                break
            evictions.append(Eviction(candidate, Reason.OVER_BUDGET))
            kept_bytes -= candidate.size_bytes
    return tuple(evictions)


def plan_superseded(
    superseded: Iterable[Candidate], chosen: Iterable[Eviction], policy: GarbagePolicy, *, now: datetime
) -> tuple[Eviction, ...]:
    """Choose segments that others hold all of.

    Save those that are chosen already, or were made or used within the guard.
    """
    known = {eviction.candidate.key for eviction in chosen}
    return tuple(
        Eviction(candidate, Reason.SUPERSEDED)
        for candidate in superseded
        if candidate.key not in known
        and now - candidate.last_used_at >= policy.guard
        and now - candidate.created_at >= policy.guard
    )


class _LeastRecentlyUsed:
    """Keeps, of all candidates it is given, the longest unused ones.

    Together they make up ``worth`` bytes.
    """

    def __init__(self, worth: float) -> None:
        self._worth = worth
        self._kept: list[Candidate] = []
        self._trim_at = 4096

    def add(self, candidate: Candidate) -> None:
        if self._worth <= 0:
            return
        self._kept.append(candidate)
        if len(self._kept) >= self._trim_at and self._worth < math.inf:
            self._kept = self.in_order()
            self._trim_at = max(4096, 2 * len(self._kept))

    def in_order(self) -> list[Candidate]:
        self._kept.sort(key=_last_use)
        size_bytes = 0
        for count, candidate in enumerate(self._kept, start=1):
            size_bytes += candidate.size_bytes
            if size_bytes >= self._worth:
                return self._kept[:count]
        return self._kept


def _last_use(candidate: Candidate) -> tuple[datetime, str]:
    return candidate.last_used_at, candidate.key
