"""Starting a process so that it dies with this one, from whatever thread."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from fstore.errors import ConfigurationError
from fstore.stack.processes.os_user import Account

_SHIM = Path(__file__).with_name("shim.py")
# Some interpreters need it to start at all; the servers must not see it.
_LIBRARIES = "LD_LIBRARY_PATH"


@dataclass(frozen=True, slots=True)
class Order:
    """What to start; ``log`` is the open descriptor that takes both outputs."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: int
    account: Account | None
    orphan_signal: Signals
    umask: int


def spawn(order: Order) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own that gets ``orphan_signal`` when this process ends (Linux)."""
    return _spawner().start(order)


class _Spawner:
    """Starts processes from one thread that lives as long as this process.

    The kernel sends the parent-death signal when the *thread* that forked ends,
    so a child started from a short-lived thread would be killed for no reason.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._orders: queue.SimpleQueue[tuple[Order, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="fstore-spawner", daemon=True).start()

    def start(self, order: Order) -> subprocess.Popen[bytes]:
        result: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((order, result))
        return result.result(timeout=60)

    def _work(self) -> None:
        while True:
            order, result = self._orders.get()
            try:
                result.set_result(_popen(order))
            except BaseException as exc:  # handed to the caller, who knows what was asked
                result.set_exception(exc)


_current: _Spawner | None = None
_guard = threading.Lock()


def _spawner() -> _Spawner:
    global _current  # noqa: PLW0603 - one spawning thread a process, by nature of the thing
    with _guard:
        if _current is None or _current.owner != os.getpid():
            _current = _Spawner()
        return _current


def _popen(order: Order) -> subprocess.Popen[bytes]:
    env, dropped = dict(order.env), ""
    if _LIBRARIES in os.environ and _LIBRARIES not in env:
        env[_LIBRARIES], dropped = os.environ[_LIBRARIES], _LIBRARIES
    uid, gid = (order.account.uid, order.account.gid) if order.account else (-1, -1)
    head = [sys.executable, "-I", "-S", str(_SHIM), os.getpid(), int(order.orphan_signal), uid, gid, dropped]
    try:
        return subprocess.Popen(  # noqa: S603 - argument lists of our own making
            [*map(str, head), *order.argv],
            cwd=order.cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=order.log,
            stderr=order.log,
            start_new_session=True,
            umask=order.umask,
        )
    except OSError as exc:
        raise ConfigurationError([f"cannot start {order.argv[0]} in {order.cwd}: {exc}"]) from exc
