"""What one trainer does in a chaos run, one act after the other: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

HOT = 12  # data sets that everybody asks for
WINDOWS = (5, 20, 60)
DAYS, TICKS_A_DAY = (40, 75), 24  # of histories that a feature with partitions is asked about
MEAN_THINK_S = 1.0


class Ask(NamedTuple):
    """One question: ``ticks`` numbers a data set, ``edit`` the tick that was corrected in it (0: none).

    Of the feature "days", which declares partitions, ``ticks`` is the number of days of one history.
    """

    symbol: str
    ticks: int
    edit: int
    feature: str
    window: int

    @property
    def text(self) -> str:
        """Return the question as one word, by which histories name it."""
        return ":".join(map(str, self))


@dataclass(frozen=True, slots=True)
class Act:
    """One step of a trainer: what it calls, with which questions, and how long it pauses before."""

    what: str
    asks: tuple[Ask, ...]
    think_s: float


# what, its share, and the questions it may be about
_ACTS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("get", 40, ("hot",)),
    ("get", 12, ("fresh",)),
    ("get", 8, ("corrected",)),
    ("get", 8, ("slow",)),
    ("get", 10, ("days",)),
    ("get", 4, ("failing",)),
    ("get", 0.7, ("poison",)),
    ("many", 8, ("hot", "hot", "fresh", "corrected", "slow", "days")),
    ("submit", 6, ("fresh", "slow", "hot", "days")),
    ("peek", 10, ("hot", "hot", "slow")),
    ("invalidate", 2, ("hot",)),
)


def acts(seed: int, trainer: int, life: int) -> Iterator[Act]:
    """Yield the acts of a trainer without end; a trainer that was killed begins another ``life``."""
    rng = random.Random(f"{seed}:{trainer}:{life}")
    shares = [share for _, share, _ in _ACTS]
    while True:
        what, _, kinds = rng.choices(_ACTS, shares)[0]
        think_s = min(rng.expovariate(1 / MEAN_THINK_S), 4 * MEAN_THINK_S)
        if what == "many":
            chosen = tuple(dict.fromkeys(ask(rng, rng.choice(kinds)) for _ in range(rng.randint(2, 6))))
        else:
            chosen = (ask(rng, rng.choice(kinds)),)
        yield Act(what, chosen, think_s)


def ask(rng: random.Random, kind: str) -> Ask:
    """Draw one question of a kind."""
    hot, window = rng.randrange(HOT), rng.choice(WINDOWS)
    match kind:
        case "fresh" | "poison":
            return _about(rng.randrange(10**9), 0, "quick" if kind == "fresh" else kind, window)
        case "corrected":
            return _about(hot, rng.randint(1, 399), "quick", window)
        case "slow":
            return _about(rng.randrange(200), 0, "slow", window)
        case "failing":
            return _about(rng.randrange(20), 0, "failing", window)
        case "days":
            # Histories that overlap, of which an old day is corrected now and then: most of each was computed before.
            return Ask("D", rng.randint(*DAYS), rng.choice((0, 0, rng.randint(1, 30 * TICKS_A_DAY))), "days", window)
        case _:
            return _about(hot, 0, "quick", window)


def hot_asks() -> tuple[Ask, ...]:
    """Return every question that all trainers share."""
    days = [Ask("D", days, edit, "days", WINDOWS[1]) for days in DAYS for edit in (0, 50)]
    return *(_about(ticks, 0, "quick", window) for ticks in range(HOT) for window in WINDOWS), *days


def _about(ticks: int, edit: int, feature: str, window: int) -> Ask:
    return Ask(f"S{ticks % 7}", ticks, edit, feature, window)
