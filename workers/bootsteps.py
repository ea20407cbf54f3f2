"""What Celery's worker does besides its own steps.

It replaces children promptly, groups events, and ends after an error. A main process hands out a few hundred tasks
a second at most, and whatever else it does, no child works meanwhile: it is spared what costs it more than the
tasks themselves when these are short.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from billiard.exceptions import RestartFreqExceeded
from celery.bootsteps import StartStopStep
from celery.concurrency.prefork import TaskPool
from celery.platforms import EX_FAILURE
from celery.worker import state
from celery.worker.consumer.control import Control

log = logging.getLogger("fstore.worker")

LOOK_EVERY_S = 0.1
QUIET_S = 5.0  # after a look that failed; Celery's own timer is as long
GROUP_S = 0.1
END_WITHIN_S = 10.0


@cache
def freeze_once() -> None:
    """Keep all that is loaded out of garbage collections.

    In this process and in the children that it forks. Celery collects before each fork, which takes a tenth of a
    second with what is imported here; and a collection in a child copies the pages that it shares.
    """
    gc.collect()
    gc.freeze()


class PromptReplacement(StartStopStep):
    """Looks often for children that have ended, for instance after their hundred tasks.

    A look is a system call a child. Celery looks when the pipe to a child closes. The kernel closes it a moment
    before the child has ended, so that now and then the child is found alive; the next look is then a timer of five
    seconds.
    """

    requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

    def start(self, worker: Any) -> None:
        """Celery calls this once the pool is up."""
        if isinstance(worker.pool, TaskPool) and worker.hub is not None:
            self.look_from_now_on(worker.hub, worker.pool.maintain_pool)

    @staticmethod
    def look_from_now_on(hub: Any, look: Callable[[], None]) -> None:
        """Call ``look`` often, but leave alone what cannot be mended by looking often.

        Celery takes an ``OSError`` for a lost broker and would connect again at every
        look; and it only logs that children ended too often, with a pool that is closed.
        """
        quiet_until = 0.0

        def carefully() -> None:
            nonlocal quiet_until
            if time.monotonic() < quiet_until:
                return
            try:
                look()
            except RestartFreqExceeded:
                log.critical("children end as soon as they are started; this worker ends")
                cast(Any, state).should_terminate = EX_FAILURE
            except OSError as error:
                quiet_until = time.monotonic() + QUIET_S
                log.warning("cannot start a child: %s", error)

        hub.call_repeatedly(LOOK_EVERY_S, carefully)


class GroupedEvents(StartStopStep):
    """Lets what dashboards are told wait a moment for more of it.

    Celery's own bound on how much may wait stays. Celery sends it at every turn of its loop, which for short tasks
    is a publish for each step of each task.
    """

    requires = ("celery.worker.consumer.events:Events",)

    def start(self, consumer: Any) -> None:
        """Celery calls this for each new connection, whose dispatcher is a new one as well."""
        dispatcher, hub = consumer.event_dispatcher, consumer.hub
        if hub is None:
            return
        waiting = False

        def send() -> None:
            nonlocal waiting
            waiting = False
            consumer.on_send_event_buffered()

        def wait() -> None:
            nonlocal waiting
            if not waiting:
                waiting = True
                hub.call_later(GROUP_S, send)

        dispatcher.on_send_buffered = wait

    def close(self, consumer: Any) -> None:
        """Celery calls this when the worker stops: what still waits is sent."""
        if consumer.event_dispatcher is not None:
            consumer.event_dispatcher.flush()


class SteadyControl(StartStopStep):
    """Keeps the channel of remote control when a command fails.

    The failure is logged, and the next command is taken. Celery opens another channel after an answer that could
    not be sent. A worker that has replaced a child then waits on the old one's socket, where nothing comes any
    more, and takes tasks every few seconds only. A connection that is really lost shows in the other channels as
    well, and all of them are opened anew.
    """

    requires = ("celery.worker.consumer.control:Control",)

    def start(self, consumer: Any) -> None:
        """Celery calls this for each new connection; the mailbox stays the same."""
        for step in consumer.steps:
            if isinstance(step, Control):
                cast(Any, step).box.reset = self.keep

    @staticmethod
    def keep() -> None:
        """Stand in for the reset."""
        log.warning("a control command could not be answered; remote control goes on")


class LastResort(StartStopStep):
    """Gives a worker that failed ten seconds to stop in order.

    An ordinary stop takes as long as it needs. On an error that it cannot go on from, Celery asks its pool to stop
    in order, and that may wait for ever: a child that was killed while it handed over a result leaves half a
    message in the pipe, the main process cannot read it, and the task it belongs to never counts as done. Such a
    worker takes no work and does not end, so nobody starts it again.
    """

    def close(self, worker: Any) -> None:
        """Celery calls this when the worker begins to stop, for whatever reason."""
        if worker.exitcode == EX_FAILURE:
            threading.Thread(target=_end, args=(END_WITHIN_S,), name="fstore-last-resort", daemon=True).start()


def _end(after_s: float) -> None:
    threading.Event().wait(after_s)
    log.critical("the worker could not stop within %g s of an error; it ends at once, its jobs are taken over", after_s)
    os._exit(EX_FAILURE)
