"""A new day computes one day, shown on a stack of its own.

Histories of many symbols get a day more, then a corrected tick.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pandas as pd

from fstore.bootstrap import open_resources
from fstore.cli.demo.object_store import demo_object_store
from fstore.cli.demo.run import (
    REQUEST_TIMEOUT_S,
    SEED,
    SETTLE_WITHIN_S,
    DemoOutcome,
    OnAnswer,
    refuse_unless_empty,
    settings_of,
    settled_counters,
)
from fstore.cli.demo.sandbox import DemoOptions, Say, demo_root, orderly_ends, own_environment, own_folder, own_stack
from fstore.cli.demo.trainer import difference
from fstore.intraday import realised_volatility_by_day
from fstore.model import Request
from fstore.store import FeatureStore

SYMBOLS, DAYS, ROWS = 20, 120, 390
CONFIG: Mapping[str, Any] = {"window": 30}
_FIRST_DAY = pd.Timestamp("2026-01-05")

Histories = dict[str, pd.DataFrame]


def run_incremental(
    options: DemoOptions, *, say: Say, on_answer: OnAnswer, symbols: int = SYMBOLS, days: int = DAYS
) -> DemoOutcome:
    """Ask for all days, for a day more, for a corrected tick, and for the whole, and compare.

    The whole is asked for under other names. What is told of each step is how many days were computed, copied from
    a file that held them, and read from files as they are; the last step computes all of them anew, for frames and
    times to be held against.
    """
    began = time.monotonic()
    with _own_store(options, say) as (root, store, flower):
        demo = _Steps(store, on_answer, total=5 * symbols)
        histories = {f"DEMO-{at:02}": bars_of(at, days) for at in range(symbols)}
        say(f"{symbols} symbols x {days} days, the first time")
        demo.ask("all days, the first time", histories)
        say("the evening after: a day more for each of them")
        histories = {name: pd.concat([raw, day_of(name, days)]) for name, raw in histories.items()}
        demo.ask("a day appended to each", histories)
        say(f"a tick of the past corrected, of {min(histories)}")
        histories = {**histories, min(histories): corrected(histories[min(histories)])}
        frames = demo.ask("a tick corrected in one", histories)
        demo.ask("asked again, nothing changed", histories)
        say("all of it computed anew under other names, to compare with")
        anew = demo.ask("a full compute of the same", {f"{name}-ANEW": raw for name, raw in histories.items()})
        counted = _counted(store, sum(step["computed"] for step in demo.steps))
        wrong = [
            f"{name}: {fault}"
            for name, frame in frames.items()
            if (fault := difference(frame, anew[f"{name}-ANEW"])) is not None
        ]
        report: dict[str, Any] = {
            "symbols": symbols,
            "days": days + 1,
            "feature": "fstore.intraday:realised_volatility_by_day",
            "steps": demo.steps,
            "wrong_results": len(wrong),
            "partitions_computed": counted["partitions_computed"],
            "partitions_copied": counted["partitions_copied"],
            "flower_url": flower,
        }
        if not options.keep:
            say("stopping everything")
    report["seconds"] = round(time.monotonic() - began, 2)
    return DemoOutcome(root, report, (*wrong, *wrong_with_steps(report)))


def wrong_with_steps(report: Mapping[str, Any]) -> list[str]:
    """Return what contradicts the promise of ``fstore demo --incremental``.

    A new day computes one day, and a corrected one at most two.
    """
    _, appended, corrected_tick, again, _ = report["steps"]
    symbols, told = report["symbols"], sum(step["computed"] for step in report["steps"])
    claims = (
        (appended["computed"] == symbols, f"{appended['computed']} days computed for {symbols} new ones"),
        (corrected_tick["computed"] <= 2, f"{corrected_tick['computed']} days computed for a corrected one"),
        (again["computed"] + again["copied"] == 0, "days were computed though nothing had changed"),
        # At least: what is counted twice after a late answer of Redis' is no fault of this.
        (report["partitions_computed"] >= told, f"{report['partitions_computed']} days computed, {told} foretold"),
    )
    return [text for holds, text in claims if not holds]


class _Steps:
    """Asks for one feature of many histories at a time, and notes what that took."""

    def __init__(self, store: FeatureStore, on_answer: OnAnswer, *, total: int) -> None:
        self.steps: list[dict[str, Any]] = []
        self._store, self._on_answer, self._total, self._answered = store, on_answer, total, 0

    def ask(self, what: str, histories: Histories) -> dict[str, pd.DataFrame]:
        told = [
            self._store.explain(name, raw, CONFIG, realised_volatility_by_day).partitions
            for name, raw in histories.items()
        ]
        known = [each for each in told if each is not None]
        began = time.monotonic()
        requests = [Request(name, raw, CONFIG, realised_volatility_by_day) for name, raw in histories.items()]
        frames = {}
        for request, frame in self._store.get_or_compute_many(requests, timeout=REQUEST_TIMEOUT_S):
            frames[request.symbol] = frame
            self._answered += 1
            self._on_answer(self._answered, self._total)
        self.steps.append(
            {
                "what": what,
                "days": sum(each.total for each in known),
                "computed": sum(len(each.missing) for each in known),
                "copied": sum(each.copied for each in known),
                "read": sum(each.hit for each in known),
                "seconds": round(time.monotonic() - began, 3),
            }
        )
        return frames


def _counted(store: FeatureStore, computed: int) -> dict[str, int]:
    """Read what workers counted, once they have told all of it; they do so from time to time."""
    ends_at = time.monotonic() + SETTLE_WITHIN_S
    while True:
        counted = settled_counters(store)
        if counted["partitions_computed"] >= computed or time.monotonic() > ends_at:
            return counted


@contextmanager
def _own_store(options: DemoOptions, say: Say) -> Iterator[tuple[Any, FeatureStore, str | None]]:
    """Start a stack as the main job does, and open a store on it; gives root, store, and where Flower is."""
    with ExitStack() as cleanup:
        cleanup.enter_context(orderly_ends())
        root = cleanup.enter_context(demo_root(options))
        folder = cleanup.enter_context(own_folder(root, keep=options.keep))
        bucket = cleanup.enter_context(demo_object_store(folder)) if options.object_store else None
        environment = own_environment(root, (), own_files=folder, bucket=bucket)
        state = cleanup.enter_context(own_stack(root, environment, keep=options.keep, say=say))()
        with FeatureStore.over(open_resources(settings_of(root, bucket, state), role="demo")) as store:
            refuse_unless_empty(store.resources)
            yield root, store, state.flower_url


def bars_of(seed: int, days: int) -> pd.DataFrame:
    """Make a history of trading days."""
    return pd.concat([_day(seed, at) for at in range(days)])


def day_of(name: str, at: int) -> pd.DataFrame:
    """Make the day that comes after so many."""
    return _day(int(name.rpartition("-")[2]), at)


def corrected(raw: pd.DataFrame) -> pd.DataFrame:
    """Correct the price of one minute, in the middle of the history."""
    found = raw.copy()
    middle = len(raw) // 2
    found.loc[found.index[middle], "close"] = raw["close"].iloc[middle] + 0.25
    return found


def _day(seed: int, at: int) -> pd.DataFrame:
    rng = np.random.default_rng([SEED, seed, at])
    begins = pd.bdate_range(_FIRST_DAY, periods=at + 1)[-1] + pd.Timedelta("9h30min")
    index = pd.date_range(begins, periods=ROWS, freq="min", tz="America/New_York", name="timestamp", unit="us")
    close = np.round(100 * np.exp(rng.normal(0, 4e-4, ROWS).cumsum()), 2)
    return pd.DataFrame({"close": close, "volume": rng.integers(1, 900, ROWS)}, index)
