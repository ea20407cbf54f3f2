"""A trainer of a chaos run: asks, checks nothing, and writes down what it was told."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fstore
from chaos import features
from chaos.asks import Act, Ask, acts
from chaos.history import Journal
from fstore import FeatureStore, Request

DEADLINE_S = 20.0
UNTIMED_S = 30.0  # what takes no timeout is bounded by the deadlines of statements and connects
_PR_SET_PDEATHSIG = 1


def run(environment: Mapping[str, str], seed: int, trainer: int, life: int, ends_at: float) -> None:
    """Be one trainer until ``ends_at`` (monotonic), in a process of its own."""
    who = f"trainer{trainer:02d}.{life}"
    journal = become(environment, who)
    with fstore.connect() as store:
        diary = Diary(store, journal, who)
        for act in acts(seed, trainer, life):
            if time.monotonic() + act.think_s >= ends_at:
                break
            time.sleep(act.think_s)
            diary.do(act)
        journal.write(phase="end")


def ask_all(environment: Mapping[str, str], asks: Sequence[Ask], who: str) -> None:
    """Ask each question once, as the last trainer of a run does when everything is whole again."""
    journal = become(environment, who)
    with fstore.connect() as store:
        diary = Diary(store, journal, who)
        for one in asks:
            diary.do(Act("get", (one,), 0.0))
        journal.write(phase="end")


def become(environment: Mapping[str, str], who: str) -> Journal:
    """Make a forked process one of the run: its settings, an end with its parent, and a journal that also tells of threads that die."""
    os.environ.update(environment)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    history = Path(environment[features.FOLDER])
    logging.basicConfig(filename=history.with_name("logs") / "trainers.log", format=f"%(asctime)s {who} %(message)s")
    journal = Journal(history, who)

    def tell(died: threading.ExceptHookArgs) -> None:
        text = "".join(traceback.format_exception(died.exc_type, died.exc_value, died.exc_traceback))
        journal.write(phase="thread died", thread=died.thread.name if died.thread else "", text=text[-4000:])

    threading.excepthook = tell
    return journal


class Diary:
    """Does acts and records each as start, then ok or fail; a killed process leaves the start alone."""

    def __init__(self, store: FeatureStore, journal: Journal, who: str) -> None:
        self._store, self._journal, self._who = store, journal, who
        self._count = 0

    def do(self, act: Act) -> None:
        """Carry out one act; a ``submit`` is two operations, the second waits for the result."""
        match act.what:
            case "many":
                self._record("many", act.asks, DEADLINE_S, lambda: self._many(act.asks))
            case "submit":
                tickets: list[Any] = []
                self._record("submit", act.asks, UNTIMED_S, lambda: self._submit(act.asks[0], tickets))
                if tickets:
                    self._record("result", act.asks, DEADLINE_S, lambda: _frames([tickets[0].result(DEADLINE_S)]))
            case "peek":
                self._record("peek", act.asks, UNTIMED_S, lambda: self._peek(act.asks[0]))
            case "invalidate":
                self._record("invalidate", act.asks, UNTIMED_S, lambda: self._invalidate(act.asks[0]))
            case _:
                self._record("get", act.asks, DEADLINE_S, lambda: self._get(act.asks[0]))

    def _get(self, one: Ask) -> dict[str, Any]:
        call = (one.symbol, features.ticks(one), features.config(one), features.name(one))
        return _frames([self._store.get_or_compute(*call, timeout=DEADLINE_S)])

    def _many(self, asks: Sequence[Ask]) -> dict[str, Any]:
        requests = {
            id(request): (i, request)
            for i, request in enumerate(
                Request(a.symbol, features.ticks(a), features.config(a), features.name(a)) for a in asks
            )
        }
        found: list[Any] = [None] * len(asks)
        given = [request for _, request in requests.values()]
        for request, frame in self._store.get_or_compute_many(given, timeout=DEADLINE_S, errors="return"):
            found[requests[id(request)][0]] = frame
        return _frames(found)

    def _submit(self, one: Ask, tickets: list[Any]) -> dict[str, Any]:
        call = (one.symbol, features.ticks(one), features.config(one), features.name(one))
        tickets.append(self._store.submit(*call))
        return {"key": tickets[0].key}

    def _peek(self, one: Ask) -> dict[str, Any]:
        call = (one.symbol, features.ticks(one), features.config(one), features.name(one))
        entry = self._store.peek(*call)
        return {"seen": (entry.key, entry.path) if entry else None}

    def _invalidate(self, one: Ask) -> dict[str, Any]:
        return {"condemned": self._store.invalidate(symbol=one.symbol, feature=features.name(one))}

    def _record(self, what: str, asks: Sequence[Ask], deadline_s: float, call: Callable[[], dict[str, Any]]) -> None:
        self._count += 1
        op = f"{self._who}:{self._count}"
        self._journal.write(phase="start", op=op, what=what, asks=[a.text for a in asks], deadline_s=deadline_s)
        began = time.monotonic()
        try:
            answer = call()
            failed = any(answer.get("errors", ()))
        except Exception as error:
            answer, failed = {"errors": [_told(error)] * len(asks), "text": str(error)[:300]}, True
        took_s = round(time.monotonic() - began, 4)
        self._journal.write(phase="fail" if failed else "ok", op=op, took_s=took_s, **answer)


def _frames(results: Sequence[Any]) -> dict[str, Any]:
    errors = [_told(one) if isinstance(one, Exception) else None for one in results]
    digests = [None if isinstance(one, Exception) or one is None else features.digest(one) for one in results]
    return {"digests": digests, "errors": errors}


def _told(error: Exception) -> str:
    """Name an error; one that fstore does not raise on purpose is marked."""
    return type(error).__name__ if isinstance(error, fstore.FeatureStoreError) else f"!{type(error).__name__}"
