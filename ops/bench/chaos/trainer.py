"""A trainer of a chaos run: asks, checks nothing, and writes down what it was told."""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

import fstore
from chaos import features
from chaos.asks import Act, Ask, acts
from chaos.checker import GRACE_OF_CALLS_S
from chaos.history import Journal
from fstore import FeatureStore, Request

DEADLINE_S = 20.0
UNTIMED_S = 30.0  # what takes no timeout is bounded by the deadlines of statements and connects
_PR_SET_PDEATHSIG = 1

T = TypeVar("T")


def run(environment: Mapping[str, str], seed: int, trainer: int, life: int, ends_at: float) -> None:
    """Be one trainer until ``ends_at`` (monotonic), in a process of its own."""
    who = f"trainer{trainer:02d}.{life}"
    journal = become(environment, who)
    with fstore.connect() as store, _late_calls(environment, who) as late:
        diary = Diary(store, journal, who, late)
        for act in acts(seed, trainer, life):
            if time.monotonic() + act.think_s >= ends_at:
                break
            time.sleep(act.think_s)
            diary.do(act)
        journal.write(phase="end")


def ask_all(environment: Mapping[str, str], asks: Sequence[Ask], who: str) -> None:
    """Ask each question once, as the last trainer of a run does when everything is whole again."""
    journal = become(environment, who)
    with fstore.connect() as store, _late_calls(environment, who) as late:
        diary = Diary(store, journal, who, late)
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


def _late_calls(environment: Mapping[str, str], who: str) -> TextIO:
    """Open the file in which calls are named, and each that is late is followed by what its threads were doing."""
    return (Path(environment[features.FOLDER]).with_name("logs") / f"{who}.calls").open("w")


class Diary:
    """Does acts and records each as start, then ok or fail; a killed process leaves the start alone.

    What a call takes is the call's own: its data are made before, and what came of it is digested afterwards.
    """

    def __init__(self, store: FeatureStore, journal: Journal, who: str, late: TextIO) -> None:
        self._store, self._journal, self._who, self._late = store, journal, who, late
        self._count = 0

    def do(self, act: Act) -> None:
        """Carry out one act; a ``submit`` is two operations, the second waits for the result."""
        one, store = act.asks[0], self._store
        match act.what:
            case "many":
                requests = [Request(*_call(each)) for each in act.asks]
                self._record("many", act.asks, DEADLINE_S, lambda: self._many(requests), _frames)
            case "submit":
                call, tickets = _call(one), list[Any]()
                self._record("submit", act.asks, UNTIMED_S, lambda: tickets.append(store.submit(*call)),
                             lambda _: {"key": tickets[0].key})  # fmt: skip
                if tickets:
                    self._record("result", act.asks, DEADLINE_S, lambda: [tickets[0].result(DEADLINE_S)], _frames)
            case "peek":
                call = _call(one)
                self._record("peek", act.asks, UNTIMED_S, lambda: store.peek(*call),
                             lambda found: {"seen": (found.key, found.path) if found else None})  # fmt: skip
            case "invalidate":
                feature = features.name(one)
                self._record("invalidate", act.asks, UNTIMED_S,
                             lambda: store.invalidate(symbol=one.symbol, feature=feature),
                             lambda condemned: {"condemned": condemned})  # fmt: skip
            case _:
                call = _call(one)
                self._record("get", act.asks, DEADLINE_S,
                             lambda: [store.get_or_compute(*call, timeout=DEADLINE_S)], _frames)  # fmt: skip

    def _many(self, requests: Sequence[Request]) -> list[Any]:
        places = {id(request): at for at, request in enumerate(requests)}
        found: list[Any] = [None] * len(requests)
        for request, frame in self._store.get_or_compute_many(requests, timeout=DEADLINE_S, errors="return"):
            found[places[id(request)]] = frame
        return found

    def _record(
        self,
        what: str,
        asks: Sequence[Ask],
        deadline_s: float,
        call: Callable[[], T],
        tell: Callable[[T], dict[str, Any]],
    ) -> None:
        self._count += 1
        op = f"{self._who}:{self._count}"
        self._journal.write(phase="start", op=op, what=what, asks=[a.text for a in asks], deadline_s=deadline_s)
        print(op, file=self._late, flush=True)
        faulthandler.dump_traceback_later(deadline_s + GRACE_OF_CALLS_S, file=self._late)  # where a late one stands
        answer: dict[str, Any] | None = None
        waits, began = _waits_for_a_core(), time.monotonic()
        try:
            found = call()
        except Exception as error:
            answer = {"errors": [_told(error)] * len(asks), "text": str(error)[:300]}
        took_s = round(time.monotonic() - began, 4)
        waited_s = max(until - waits.get(thread, 0.0) for thread, until in _waits_for_a_core().items())
        faulthandler.cancel_dump_traceback_later()
        if answer is None:
            answer = tell(found)
        failed = any(answer.get("errors", ()))
        self._journal.write(
            phase="fail" if failed else "ok", op=op, took_s=took_s, waited_s=round(waited_s, 4), **answer
        )


def _waits_for_a_core() -> dict[str, float]:
    """Return the seconds that each thread of this process could have run and was not let."""
    found = {}
    for place in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # one that ended meanwhile
            found[place.name] = int((place / "schedstat").read_text().split()[1]) / 1e9
    return found


def _call(one: Ask) -> tuple[str, Any, dict[str, Any], str]:
    return one.symbol, features.ticks(one), features.config(one), features.name(one)


def _frames(results: Sequence[Any]) -> dict[str, Any]:
    errors = [_told(one) if isinstance(one, Exception) else None for one in results]
    digests = [None if isinstance(one, Exception) or one is None else features.digest(one) for one in results]
    return {"digests": digests, "errors": errors}


def _told(error: Exception) -> str:
    """Name an error; one that fstore does not raise on purpose is marked."""
    return type(error).__name__ if isinstance(error, fstore.FeatureStoreError) else f"!{type(error).__name__}"
