"""Several waits at once, within the deadline of whoever wants all of them."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each_of(act: Callable[[T], R], items: Iterable[T], *, at_once: int) -> Iterator[R]:
    """Give what ``act`` returns of each item, in order, that many of them running ahead.

    Raises what one of them raised, once those that run are done. Threads live as long as
    the iteration: none is there to be missed after a fork.
    """
    if at_once <= 1:
        yield from map(act, items)
        return
    waiting: deque[_Task[R]] = deque()
    rest = iter(items)
    try:
        while True:
            while len(waiting) < at_once and (item := next(rest, _END)) is not _END:
                waiting.append(_Task(act, item))  # type: ignore[arg-type]
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for task in waiting:
            task.wait()


_END = object()


class _Task(threading.Thread, Generic[R]):
    def __init__(self, act: Callable[[T], R], item: T) -> None:
        super().__init__(name="fstore-parallel", daemon=True)
        self._found: list[R] = []
        self._failure: BaseException | None = None
        self._run = lambda: self._found.append(act(item))
        self._surroundings = contextvars.copy_context()  # the deadline
        self.start()

    def run(self) -> None:
        try:
            self._surroundings.run(self._run)
        except BaseException as error:
            self._failure = error

    def wait(self) -> None:
        self.join()

    def result(self) -> R:
        self.join()
        if self._failure is not None:
            raise self._failure
        return self._found[0]
