"""What operators do to a worker: look into it, and replace it by the next version while it computes."""

from __future__ import annotations

import signal
import time

import pytest
from celery import Celery

from fstore.broker.configuration import celery_config
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT
from tests.faults.rows import row
from tests.sample_features import scaled, slow_at_first

COMMANDS = (
    "ping", "clock", "stats", "active", "reserved", "scheduled", "revoked", "registered", "active_queues", "conf",
    "report",
)  # fmt: skip
DEPLOYS = 3  # each takes the half minute that a stop gives a computation to end


@row(
    53,
    fault="every inspect command is sent to a worker that has just replaced its child, as a dashboard does",
    promise="each is answered; the next twenty misses are computed as quickly as those before",
    seconds=40,
)
def test_row_53_a_worker_is_looked_into(make_site):
    """No reply that cannot be encoded, no channel that resets, no loop that reads a silent socket."""
    site = make_site()
    site.worker(FEATURE_STORE_WORKER_MAX_TASKS_PER_CHILD="2")
    operator = Celery("operator", set_as_current=False)
    operator.conf.update(celery_config(site.settings))
    inspect = operator.control.inspect(timeout=60, limit=1)

    def slowest(first: int) -> float:
        took = []
        for n in range(first, first + 20):
            began = time.monotonic()
            site.ask({"factor": n}, scaled, timeout=60)
            took.append(time.monotonic() - began)
        return max(took)

    before = slowest(0)
    answers = {command: getattr(inspect, command)() for command in COMMANDS}
    assert [command for command, answer in answers.items() if not answer] == []
    assert slowest(100) < before + 5  # a silent socket is read for 20 s and more
    assert "Control command error" not in site.logs()
    check_invariants(site)


@row(
    54,
    fault="the only worker is replaced three times, in order, in the course of one computation",
    promise="it is started again each time, and is not called dead: the result comes",
    seconds=120,
)
@pytest.mark.timeout(400)
def test_row_54_a_computation_outlives_deploys(make_site):
    """Three starts without an end would bury it, had its workers died."""
    site = make_site(**SHORT)
    worker = site.worker()
    config = {"early": DEPLOYS, "marks": site.marks("long", most=DEPLOYS + 1)}
    waiting = site.asking(config, slow_at_first, timeout=280)
    for n in range(DEPLOYS):
        site.started("long", count=n + 1, seconds=60)
        worker.send_signal(signal.SIGQUIT)
        worker.wait(40)
        worker = site.worker()

    assert waiting.answered().equals(RAW.head(3))
    assert len(site.starts("long")) == DEPLOYS + 1
    check_invariants(site)
