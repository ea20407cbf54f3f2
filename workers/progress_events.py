"""Shows in Flower what a task is doing, from a thread of its own.

No computation waits for a dashboard. Only phases that last are sent. Most tasks are over before anybody could look,
and three events would cost them more than their own messages do; and Celery waits up to 25 s for a Redis that is
silent.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from kombu.exceptions import OperationalError

log = logging.getLogger("fstore.phases")

LASTS_S = 0.2
QUIET_S = 60.0  # after an event that could not be sent
PATIENCE_S = 0.5  # how long the end of a task waits for an event of its own that is being sent


@dataclass(frozen=True, slots=True)
class TaskPhase:
    """What one task does now."""

    task: Any
    request: Any
    name: str


class PhaseBoard:
    """The phase of the one task that this process runs."""

    def __init__(self) -> None:
        self._now: TaskPhase | None = None
        self._changed = threading.Event()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._quiet_until = 0.0

    def show(self, task: Any, name: str) -> None:
        """Note what ``task`` does from now on; returns at once."""
        self._now = TaskPhase(task, task.request_stack.top, name)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fstore-phases", daemon=True)
            self._thread.start()
        self._changed.set()

    def clear(self) -> None:
        """The task is over: no phase of it is sent after its end."""
        self._now = None
        if self._sending.acquire(timeout=PATIENCE_S):
            self._sending.release()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            self._changed.wait()
            self._changed.clear()
            noted = self._now
            pause.wait(LASTS_S)
            with self._sending:
                if noted is not None and noted is self._now and time.monotonic() >= self._quiet_until:
                    self._send(noted)

    def _send(self, phase: TaskPhase) -> None:
        phase.task.request_stack.push(
            phase.request
        )  # each thread has a stack of its own, and the event names its task by it
        try:
            phase.task.send_event(f"task-{phase.name.lower()}")
        except (OperationalError, OSError, RuntimeError) as error:
            self._quiet_until = time.monotonic() + QUIET_S
            log.warning("cannot show the phase %s of a task: %s", phase.name, str(error) or type(error).__name__)
        finally:
            phase.task.request_stack.pop()


board = PhaseBoard()
