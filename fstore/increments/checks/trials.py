"""One trial of a function that is given some rows, some of them changed.

What it says about a partition is compared. Differences are in units of the column's range, so that one tolerance
fits prices, volumes and returns; a value that is missing on one side only, or another text, differs without bound.
An error that both sides raise is no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.fingerprint import content_digest, to_dataset, to_table
from fstore.frames import to_frame
from fstore.increments.checks.clock import clock_at
from fstore.increments.cutting import Span
from fstore.increments.data import PartitionedData
from fstore.increments.results import trimmed
from fstore.results import UnstorableResult, decode_result

Change = Callable[[pd.DataFrame, int, int], pd.DataFrame]

_DRIFT = 200  # rows up, and as many down


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function said about a partition: rows, or the error it raised."""

    frame: pd.DataFrame | None
    stored: pa.Table | None = None
    error: str = ""
    is_input_changed: bool = False

    @property
    def is_unstorable(self) -> bool:
        """Did the function return what is no result."""
        return self.error.startswith("UnstorableResult")


@dataclass(frozen=True, slots=True)
class Difference:
    """The worst difference between two answers; ``worst`` is infinite where they cannot be measured."""

    worst: float
    column: str = ""
    detail: str = ""

    def __bool__(self) -> bool:
        return self.worst > 0


NONE = Difference(0.0)


class Trials:
    """Calls a function with rows of some data."""

    def __init__(
        self,
        func: Callable[..., Any],
        data: PartitionedData,
        config: Callable[[], Mapping[str, Any]],
        kind: str = "pandas",
    ) -> None:
        self._func, self._config, self._kind = func, config, kind
        self.data = data

    def on(self, data: PartitionedData) -> Trials:
        """Return the same function's trials on data that are cut in another way."""
        return Trials(self._func, data, self._config, self._kind)

    def answer(
        self,
        span: Span,
        label: str,
        first: int,
        stop: int,
        change: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
        *,
        clock: float | None = None,
    ) -> Answer:
        """Call the function with the rows ``first`` to ``stop``, changed.

        Keeps what it says about ``span``. Its clocks show the real time, or so many seconds since 1970.
        """
        rows = self.data.rows(first, stop)
        if change is not None:
            rows = to_table(change(to_frame(rows)))
        given = rows if self._kind == "arrow" else to_dataset(rows) if self._kind == "dataset" else to_frame(rows)
        before = content_digest(given) if self._kind == "pandas" else ""
        try:
            with nullcontext() if clock is None else clock_at(clock, self._func):
                result = self._func(given, self._config())
        except Exception as error:  # it is what the function says about these rows
            return Answer(None, error=f"{type(error).__name__}: {error}")
        is_changed = bool(before) and _digest_or_none(given) != before
        try:
            table = trimmed(result, span, label, is_zoned=self.data.is_zoned, time=self.data.declared.time)
        except UnstorableResult as error:
            return Answer(None, error=f"UnstorableResult: {error}", is_input_changed=is_changed)
        return Answer(decode_result(table), table, is_input_changed=is_changed)

    def answer_from_slice(self, span: Span, label: str, first: int, stop: int) -> Answer:
        """Call a function of frames with a slice of a longer frame, as it would be called without fstore."""
        whole = to_frame(self.data.rows(0, len(self.data.times.ticks)))
        try:
            result = self._func(whole.iloc[first:stop], self._config())
            return Answer(decode_result(trimmed(result, span, label, is_zoned=self.data.is_zoned)))
        except Exception as error:  # likewise
            return Answer(None, error=f"{type(error).__name__}: {error}")


def _digest_or_none(given: Any) -> str | None:
    try:
        return content_digest(given)
    except Exception:  # what the function made of its input has no digest any more
        return None


def difference(one: Answer, other: Answer) -> Difference:
    """Measure how far two answers are apart."""
    if one.frame is None or other.frame is None:
        if one.error.partition(":")[0] == other.error.partition(":")[0]:
            return NONE
        return Difference(np.inf, detail=one.error or other.error)
    a, b = one.frame, other.frame
    if list(a.columns) != list(b.columns):
        return Difference(np.inf, detail=f"columns {list(a.columns)} against {list(b.columns)}")
    if not a.index.equals(b.index):
        return Difference(np.inf, detail=f"{len(a)} rows against {len(b)}, or rows of other times")
    found = [_column_difference(str(name), a.iloc[:, at], b.iloc[:, at]) for at, name in enumerate(a.columns)]
    return max(found, key=lambda each: each.worst, default=NONE)


def same_bits(one: Answer, other: Answer) -> bool:
    """Are two answers equal to the bit."""
    if one.stored is None or other.stored is None:
        return one.error.partition(":")[0] == other.error.partition(":")[0]
    return one.stored.schema.equals(other.stored.schema) and content_digest(one.stored) == content_digest(other.stored)


def _column_difference(name: str, a: pd.Series, b: pd.Series) -> Difference:
    if a.dtype != b.dtype:
        return Difference(np.inf, name, f"{a.dtype} against {b.dtype}, or other categories")
    if isinstance(a.dtype, pd.CategoricalDtype):
        a, b = a.astype(object), b.astype(object)
    if not pd.api.types.is_numeric_dtype(a.dtype) or pd.api.types.is_bool_dtype(a.dtype):
        unequal = int((~((a == b) | (a.isna() & b.isna()))).sum())
        return Difference(np.inf, name, f"{unequal} of {len(a)} values are others") if unequal else NONE
    return _number_difference(name, a, b)


def _number_difference(name: str, a: pd.Series, b: pd.Series) -> Difference:
    mine, others = (np.asarray(each.to_numpy(dtype=np.float64, na_value=np.nan)) for each in (a, b))
    missing = np.isnan(mine) != np.isnan(others)
    if missing.any():
        return Difference(np.inf, name, f"{int(missing.sum())} of {len(a)} values are missing in one of both")
    both = np.isfinite(mine) & np.isfinite(others)
    if not np.array_equal(mine[~both], others[~both], equal_nan=True):
        return Difference(np.inf, name, "infinite values differ")
    if not both.any():
        return NONE
    gap = np.abs(mine[both] - others[both])
    worst = float(gap.max())
    return Difference(worst / _range(others[both]), name, f"by {worst:.3g}") if worst else NONE


def _range(values: np.ndarray[Any, Any]) -> float:
    spread = float(values.max() - values.min())
    return spread or float(np.abs(values).max()) or 1.0


def scaled(frame: pd.DataFrame, first: int, stop: int) -> pd.DataFrame:
    """Multiply the numbers of some rows."""
    return _with_numbers(frame, first, stop, lambda values: values * (3 if values.dtype.kind in "iu" else 1.7))


def walked(frame: pd.DataFrame, first: int, stop: int) -> pd.DataFrame:
    """Let the floats of some rows drift up to three times what they are, and back."""
    return _with_numbers(
        frame, first, stop, lambda values: values if values.dtype.kind in "iu" else values * _drift(len(values))
    )


def emptied(frame: pd.DataFrame, first: int, stop: int) -> pd.DataFrame:
    """Make the floats of some rows NaN."""
    return _with_numbers(
        frame, first, stop, lambda values: values if values.dtype.kind in "iu" else np.full_like(values, np.nan)
    )


def _drift(count: int) -> np.ndarray[Any, Any]:
    # Within bounds: what a long history drifts to otherwise would spoil any running sum, which says nothing of reach.
    return 1 + 0.01 * (_DRIFT - np.abs(np.arange(1, count + 1) % (2 * _DRIFT) - _DRIFT))


def _with_numbers(
    frame: pd.DataFrame, first: int, stop: int, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> pd.DataFrame:
    changed = frame.copy()
    for at, dtype in enumerate(frame.dtypes.tolist()):
        if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
            values = frame.iloc[:, at].to_numpy(copy=True)
            values[first:stop] = change(values[first:stop]).astype(values.dtype)
            changed.isetitem(at, values)
    return changed
