"""A thread that repeats one act while a block runs: renewing a lease or a lock."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fstore.errors import FeatureStoreError

log = logging.getLogger("fstore.heartbeat")


@contextmanager
def heartbeat(name: str, period_s: float, act: Callable[[], bool]) -> Iterator[None]:
    """Call ``act`` every ``period_s`` in a thread until the block ends, or until it returns False.

    An act that raises one of fstore's errors is tried again a period later: what it
    renews may lapse meanwhile, and the next call then says so.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(period_s):
            try:
                if not act():
                    return
            except FeatureStoreError as error:
                log.warning("%s: %s", name, error)

    # With the context of whoever starts it, so that its log lines say whose lease it was.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(beat,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=period_s)
