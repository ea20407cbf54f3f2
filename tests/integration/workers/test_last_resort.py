"""A worker that met an error it cannot go on from ends, so that it is started again."""

from __future__ import annotations

import subprocess
import sys

# A worker whose consumer breaks at once and whose pool cannot be stopped.
HANGING = """
import time
from celery import Celery, bootsteps
from workers import bootsteps as worker_steps

worker_steps.END_WITHIN_S = 1.0
app = Celery("hanging", broker="memory://")
app.conf.worker_pool = "solo"
app.conf.worker_hijack_root_logger = False

class Stuck(bootsteps.StartStopStep):
    requires = ("celery.worker.components:Pool",)
    def create(self, worker): return self
    def start(self, worker): pass
    def stop(self, worker): time.sleep(60)
    terminate = stop

app.steps["worker"].update({Stuck, worker_steps.LastResort})

class Consumer:
    def __init__(self, *_, **__): pass
    def start(self): raise ValueError("half a message")
    def close(self): pass
    def stop(self): pass
    shutdown = stop

app.conf.worker_consumer = Consumer
app.Worker(hostname="one@here", loglevel="ERROR").start()
"""


def test_a_worker_that_cannot_stop_after_an_error_ends_at_once():
    """Nobody takes work from a worker whose main process is stuck in its own shutdown; it must not live on like that."""
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == 1, done.stderr
    assert "Unrecoverable error: ValueError('half a message')" in done.stderr
    assert "its jobs are taken over" in done.stderr
