"""Trainers that end at once, in every way: ``python -m tests.short_lives <ways> [<how many forks>]``.

Each writes a last line and then just comes to its end, as a script does.
Forks are made by a process that has loaded everything, before it has a thread; they end like scripts, too.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import fstore

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
SCALED = "tests.sample_features:scaled"


def connect_and_close() -> None:
    """Connect, and close."""
    fstore.connect().close()


def connect_and_leave() -> None:
    """Connect, and come to the end."""
    KEPT.append(fstore.connect())


def one_hit() -> None:
    """Get one entry that is there."""
    with fstore.connect() as store:
        store.get_or_compute("SHORT", RAW, {"factor": 2}, SCALED, timeout=30)


def one_hit_and_leave() -> None:
    """Get one entry, and close nothing."""
    store = fstore.connect()
    KEPT.append(store)
    store.get_or_compute("SHORT", RAW, {"factor": 2}, SCALED, timeout=30)


def fail_at_once() -> None:
    """Raise right after connecting: the store lives on in the traceback."""
    store = fstore.connect()
    raise RuntimeError(f"a bug in a trainer beside {store.root}")


def leave_while_others_wait() -> None:
    """Come to the end while a thread still waits for a computation that takes long."""
    store = fstore.connect()
    KEPT.append(store)
    config = {"seconds": 8.0}
    ask = lambda: store.get_or_compute("SHORT", RAW, config, "tests.sample_features:slow", timeout=60)  # noqa: E731
    threading.Thread(target=ask, daemon=True).start()
    time.sleep(0.2)


def submit_and_leave() -> None:
    """Ask without waiting, and come to the end."""
    with fstore.connect() as store:
        store.submit("SHORT", RAW, {"factor": 2}, SCALED)


def submit_own_and_leave() -> None:
    """Have a function of one's own computed in the background, and come to the end."""
    store = fstore.connect()
    store.submit("SHORT", RAW, {}, fstore.local(lambda raw, config: raw + 1, version="1"))


def leave_by_exit() -> None:
    """Leave by ``sys.exit`` within the ``with`` block."""
    with fstore.connect():
        sys.exit(0)


WAYS: tuple[Callable[[], None], ...] = (
    connect_and_close, connect_and_leave, one_hit, one_hit_and_leave, fail_at_once, leave_while_others_wait,
    submit_and_leave, submit_own_and_leave, leave_by_exit,
)  # fmt: skip
KEPT: list[fstore.FeatureStore] = []
AT_ONCE = 8


def main() -> None:
    """Live one life of each given way, here, or in so many forks of this process."""
    ways, forks = [WAYS[int(n)] for n in sys.argv[1].split(",")], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if not forks:
        live(ways[0])
    for n in range(forks):
        if os.fork() == 0:
            live(ways[n % len(ways)])
            return  # and to the end, as a script
        if n >= AT_ONCE:
            reap()
    for _ in range(min(forks, AT_ONCE)):
        reap()


def live(way: Callable[[], None]) -> None:
    """Go one way and write the last line: ``last <process> <time> <way>``."""
    try:
        way()
    finally:
        os.write(1, f"last {os.getpid()} {idle_s(os.getpid())} {way.__name__}\n".encode())


def reap() -> None:
    """Wait for a fork, and write when it ended, and how: ``ended <process> <time> <status>``."""
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    at = idle_s(ended.si_pid)
    _, status = os.waitpid(ended.si_pid, 0)
    os.write(1, f"ended {ended.si_pid} {at} {os.waitstatus_to_exitcode(status)}\n".encode())


def idle_s(pid: int) -> float:
    """Return the time without what a process' main thread worked, or waited for a core: a busy machine makes nobody late."""
    worked, queued, _ = (int(word) for word in Path(f"/proc/{pid}/schedstat").read_text().split())
    return time.monotonic() - (worked + queued) / 1e9


if __name__ == "__main__":
    main()
