"""A record of every call: when it began, when it ended, how, and by when it had to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fstore import FeatureStore
from tests.trainers import Outcome
from tests.waiting import awake_s

LEEWAY_S = 1.0
"""A call may end so long after its deadline."""


@dataclass
class Call:
    """One call; ``seconds`` is None while it goes on."""

    what: str
    timeout: float
    began: float
    seconds: float | None = None
    value: Any = None
    error: BaseException | None = None
    key: str | None = None

    @property
    def late_by(self) -> float:
        """How far the call is, or was, past its deadline."""
        spent = time.monotonic() - self.began if self.seconds is None else self.seconds
        return spent - self.timeout


class Calls:
    """All calls of a row; safe to use from many threads."""

    def __init__(self) -> None:
        self.made: list[Call] = []
        self._guard = threading.Lock()

    def __iter__(self) -> Iterator[Call]:
        with self._guard:
            return iter(list(self.made))

    @contextmanager
    def recorded(self, what: str, timeout: float, key: str | None = None) -> Iterator[Call]:
        """Record the block as one call that may take ``timeout`` seconds; its error passes through."""
        call, began = Call(what, timeout, time.monotonic(), key=key), awake_s()
        with self._guard:
            self.made.append(call)
        try:
            yield call
        except BaseException as error:
            call.error = error
            raise
        finally:
            call.seconds = awake_s() - began

    def ask(
        self, store: FeatureStore, symbol: str, raw: Any, config: dict[str, Any], function: Any, *, timeout: float
    ) -> pd.DataFrame:
        """Call ``get_or_compute`` and record it."""
        key = store._prepare(symbol, raw, config, function).key
        with self.recorded(f"{symbol} {config}", timeout, key) as call:
            call.value = store.get_or_compute(symbol, raw, config, function, timeout=timeout)
        return call.value

    def add(self, outcomes: list[Outcome], *, timeout: float, what: str = "crowd") -> None:
        """Record what callers in other processes got (see ``tests.trainers.crowd``)."""
        with self._guard:
            self.made += [
                Call(what, timeout, time.monotonic() - each.seconds, each.seconds, each.value, each.error)
                for each in outcomes
            ]


class Asking(threading.Thread):
    """One recorded caller in a thread of its own."""

    def __init__(
        self,
        calls: Calls,
        store: FeatureStore,
        symbol: str,
        raw: Any,
        config: dict[str, Any],
        function: Any,
        *,
        timeout: float,
    ) -> None:
        super().__init__(daemon=True)
        self._act = lambda: calls.ask(store, symbol, raw, config, function, timeout=timeout)
        self.timeout = timeout
        self.frame: pd.DataFrame | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.frame = self._act()
        except Exception as error:
            self.error = error

    def answered(self) -> pd.DataFrame:
        """Wait for the frame and return it, or raise what the call raised."""
        self.join(self.timeout + 10)
        assert not self.is_alive(), "the call neither returned nor failed"
        if self.error is not None:
            raise self.error
        assert self.frame is not None
        return self.frame
