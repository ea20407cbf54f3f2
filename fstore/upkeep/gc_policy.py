"""Decides which entries to give up, and why; touches nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

RECENT_USE = timedelta(hours=1)
"""What was used this recently is never condemned: usage reaches the database up to a minute late, readers may still hold the path."""


class Reason(StrEnum):
    """Why an entry goes."""

    EXPIRED = "expired"
    OVER_BUDGET = "over budget"


class Candidate(NamedTuple):
    """What the decision needs to know of a live entry; ``last_used_at`` is never before ``created_at``."""

    key: str
    path: str
    size_bytes: int
    created_at: datetime
    last_used_at: datetime


@dataclass(frozen=True, slots=True)
class Eviction:
    """One entry to condemn, with the reason."""

    candidate: Candidate
    reason: Reason


@dataclass(frozen=True, slots=True)
class EvictionPolicy:
    """How long entries are kept and how many bytes of them.

    ``high_watermark_bytes`` None means no budget. When the total is above it,
    entries go until the total is at or under ``low_watermark_bytes``, so that not
    every run has to evict.
    """

    max_age: timedelta
    min_age: timedelta = timedelta(hours=1)
    high_watermark_bytes: int | None = None
    low_watermark_bytes: int = 0
    recently_used: timedelta = RECENT_USE

    @classmethod
    def keeping(cls, *, max_age: timedelta, max_bytes: int | None) -> EvictionPolicy:
        """Return the policy for a retention and a byte budget; eviction stops at nine tenths of the budget."""
        return cls(
            max_age, high_watermark_bytes=max_bytes, low_watermark_bytes=0 if max_bytes is None else max_bytes * 9 // 10
        )


def plan_eviction(
    candidates: Iterable[Candidate], policy: EvictionPolicy, *, now: datetime, total_bytes: int | None = None
) -> tuple[Eviction, ...]:
    """Choose which entries to give up, and why, the longest unused first.

    Expired entries (not used for longer than ``max_age``) always go. If what
    remains is above the high watermark, the least recently used go next, until
    the total is at or under the low one. An entry younger than ``min_age`` or
    used within ``recently_used`` is never chosen, however little is left to
    choose from: someone may just have been handed its path.

    Equal times are settled by key, so the plan does not depend on the order of
    the input. ``candidates`` may be a stream of millions; with ``total_bytes``,
    their size in all, memory holds little more than what is chosen.
    """
    expired: list[Candidate] = []
    settled = _LeastRecentlyUsed(_worth_choosing(policy, total_bytes))
    kept_bytes = 0
    for candidate in candidates:
        unused = now - candidate.last_used_at
        may_go = unused >= policy.recently_used and now - candidate.created_at >= policy.min_age
        if may_go and unused > policy.max_age:
            expired.append(candidate)
            continue
        kept_bytes += candidate.size_bytes
        if may_go:
            settled.add(candidate)

    expired.sort(key=_last_use)
    evictions = [Eviction(candidate, Reason.EXPIRED) for candidate in expired]
    if policy.high_watermark_bytes is not None and kept_bytes > policy.high_watermark_bytes:
        for candidate in settled.in_order():
            if kept_bytes <= policy.low_watermark_bytes:
                break
            evictions.append(Eviction(candidate, Reason.OVER_BUDGET))
            kept_bytes -= candidate.size_bytes
    return tuple(evictions)


def _worth_choosing(policy: EvictionPolicy, total_bytes: int | None) -> float:
    """Return how many bytes may have to go for the budget, at the most."""
    if policy.high_watermark_bytes is None:
        return 0
    if total_bytes is None:
        return math.inf
    return max(0, total_bytes - policy.low_watermark_bytes) if total_bytes > policy.high_watermark_bytes else 0


class _LeastRecentlyUsed:
    """Keeps, of all candidates it is given, the longest unused ones that together make up ``worth`` bytes."""

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
