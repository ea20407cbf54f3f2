"""The shortest reach that will do, and how the error falls with its length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fstore.increments.checks.report import Suggestion
from fstore.increments.checks.trials import Answer, Trials, difference
from fstore.increments.cutting import label_of

LENGTHS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 400, 1_000, 2_000, 5_000, 10_000)


def suggested(trials: Trials, sampled: Sequence[int], tolerance: float) -> Suggestion:
    """Try lengths to both sides, each with all rows on the other side.

    Then bisect between the two that embrace the shortest.
    """
    data = trials.data
    rows = data.cut.rows
    most = rows[-1]
    # A partition near the beginning has no past in which a longer window could differ.
    late, early = sampled[len(sampled) // 2 :], sampled[: (len(sampled) + 1) // 2]

    errors = _Errors(trials)

    def back(length: int) -> float:
        return errors.worst(late, lambda at: (max(rows[at] - length, 0), most))

    def ahead(length: int) -> float:
        return errors.worst(early, lambda at: (0, min(rows[at + 1] + length, most)))

    longest_back = max((rows[at] for at in late), default=0) // 2
    longest_ahead = max((most - rows[at + 1] for at in early), default=0) // 2
    lookback, errors_back = _shortest(back, longest_back, tolerance)
    lookahead, errors_ahead = _shortest(ahead, longest_ahead, tolerance)
    return Suggestion(lookback, lookahead, errors_back, errors_ahead)


def _shortest(
    error: Callable[[int], float], longest: int, tolerance: float
) -> tuple[int | None, tuple[tuple[int, float], ...]]:
    errors: list[tuple[int, float]] = []
    for length in (*(each for each in LENGTHS if each < longest), longest):
        errors.append((length, error(length)))
        if errors[-1][1] <= tolerance:
            break
    else:
        return None, tuple(errors)
    low = errors[-2][0] if len(errors) > 1 else -1
    high = errors[-1][0]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= tolerance else (middle, high)
    return high, tuple(errors)


class _Errors:
    """Compares windows with all of the data, of which the answers are kept."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self._whole: dict[int, Answer] = {}

    def worst(self, sampled: Sequence[int], window: Callable[[int], tuple[int, int]]) -> float:
        """Return the worst difference; it is without bound where it is none of numbers."""
        worst = 0.0
        for at in sampled:
            if at not in self._whole:
                self._whole[at] = self._answer(at, 0, self._trials.data.cut.rows[-1])
            worst = max(worst, difference(self._answer(at, *window(at)), self._whole[at]).worst)
            if np.isinf(worst):
                break
        return worst

    def _answer(self, at: int, first: int, stop: int) -> Answer:
        data = self._trials.data
        span = data.cut.spans[at]
        return self._trials.answer(span, label_of(span, data.declared.cut.every), first, stop)
