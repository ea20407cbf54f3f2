"""The time one call may still take, known to every adapter below it.

Adapters wait on sockets in many places; handing a deadline through each
signature would bury what the functions are about. A call opens a budget once,
and whoever waits below asks how much of it is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from typing import TypeVar

from fstore.errors import InvalidRequest

T = TypeVar("T")

_ends_at: ContextVar[float | None] = ContextVar("fstore_deadline", default=None)


def checked_seconds(timeout: object) -> float:
    """Take a caller's ``timeout=``; raises ``InvalidRequest`` for what is no number.

    What is over already is no error.
    """
    if isinstance(timeout, Real) and not isinstance(timeout, bool) and float(timeout) == timeout:
        return float(timeout)
    raise InvalidRequest(
        "timeout", f"{timeout!r:.80} is no number of seconds; write timeout=30, or None for the setting"
    )


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Bound every wait inside the block to ``seconds`` from now; an outer, earlier bound stays in force."""
    outer = _ends_at.get()
    if seconds is None:
        yield
        return
    ends_at = time.monotonic() + seconds
    token = _ends_at.set(ends_at if outer is None else min(outer, ends_at))
    try:
        yield
    finally:
        _ends_at.reset(token)


@contextmanager
def unbounded() -> Iterator[None]:
    """Wait inside the block as if no call had bounded it: for what goes on when its caller has given up."""
    token = _ends_at.set(None)
    try:
        yield
    finally:
        _ends_at.reset(token)


class Overdue(Exception):
    """An act took longer than it was given; it goes on unseen."""


def bounded(act: Callable[[], T], seconds: float) -> T:
    """Run ``act`` in a thread and return or raise what it does; ``Overdue`` when ``seconds`` have passed.

    For what cannot be told how long it may wait, such as a driver with timeouts and
    retries of its own.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(act())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="fstore-bounded", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if failure:
        raise failure[0]
    if outcome:
        return outcome[0]
    raise Overdue


def each_within(items: Iterator[T], seconds: float) -> Iterator[T]:
    """Pass ``items`` on, with every wait for the next one bounded by ``seconds`` from now.

    A ``with`` around the loop would bound what the consumer does between two items as well.
    """
    ends_at = time.monotonic() + seconds
    while True:
        with within(ends_at - time.monotonic()):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def remaining(most: float) -> float:
    """Return how many seconds the next wait may take: ``most``, or less when the call is nearly due.

    Never below 0.05 s, so that an answer that is already there is still picked up.
    """
    ends_at = _ends_at.get()
    if ends_at is None:
        return most
    return max(0.05, min(most, ends_at - time.monotonic()))


def at_most(seconds: float) -> float:
    """Return ``seconds``, or what the call has left where that is less; nothing above 0 once it is due.

    For whoever is told how many seconds were left: between the telling and its beginning modules may have been
    loaded, which a first call does, and which takes seconds where every core is busy.
    """
    ends_at = _ends_at.get()
    return seconds if ends_at is None else min(seconds, ends_at - time.monotonic())


def is_due() -> bool:
    """Return whether the current call has used up its time."""
    ends_at = _ends_at.get()
    return ends_at is not None and time.monotonic() >= ends_at
