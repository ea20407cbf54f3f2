"""The dashboard hangs and dies: nobody else notices, and no number is lost."""

from __future__ import annotations

import signal
import socket
import subprocess

from fstore.stack.servers.ports import choose_port
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, Site, frozen
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.waiting import eventually


@row(
    44,
    fault="Flower hangs, then is killed; nobody listens to events any more",
    promise="nothing but the dashboard stops; the counters are complete",
    seconds=20,
)
def test_row_44_dashboard_down(site):
    """Requests are answered as before while Flower is frozen and after it is gone, and Postgres has counted them all."""
    site.worker(concurrency=2)
    flower = start_flower(site)
    computed = 0

    def load(n: int) -> None:
        nonlocal computed
        for _ in range(n):
            computed += 1
            assert site.ask({"factor": computed}, scaled, timeout=10).equals(RAW * computed)

    load(5)
    with frozen(flower.pid):
        load(10)
    flower.send_signal(signal.SIGKILL)
    flower.wait(10)
    load(10)

    eventually(
        lambda: site.store.get_cache_stats()["computed"] == computed, seconds=10, what="all computations to be counted"
    )
    assert site.sql("SELECT count(*) FROM manifest") == [(computed,)]
    check_invariants(site)


def start_flower(site: Site) -> subprocess.Popen[bytes]:
    """Start Flower and wait until it answers."""
    port = choose_port("row 44")
    arguments = ("-A", "workers.app", "flower", "--address=127.0.0.1", f"--port={port}")
    process = site.start_celery("flower", *arguments, FLOWER_BASIC_AUTH="fstore:a-long-password")

    def answers() -> bool:
        with socket.socket() as there:
            return there.connect_ex(("127.0.0.1", port)) == 0

    eventually(answers, seconds=30, what="Flower to answer")
    return process
