"""A queue that is longer than workers can empty for a while."""

from __future__ import annotations

import time

from fstore.broker.tasks import COMPUTE_QUEUE
from fstore.upkeep import api as upkeep
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.load import put_under_load
from tests.faults.harness.site import SHORT
from tests.faults.rows import row

KEYS = 40


@row(
    55,
    fault="forty keys wait for one slot, far longer than a message may be on its way",
    promise="a message a job: the queue never holds more than there are jobs, whoever looks",
    seconds=60,
)
def test_row_55_messages_do_not_multiply(make_site):
    """Waiters and upkeep look all the time whether a job was lost; one that waits behind others was not."""
    site = make_site(**SHORT)
    resources = site.store.resources
    load = put_under_load(site, "queued", keys=KEYS, seconds=0.5, timeout=170)
    site.worker()
    most = 0
    with site.redis() as client:
        while load.open():
            most = max(most, int(client.llen(f"fstore:{COMPUTE_QUEUE}")) + int(client.hlen("fstore:unacked")))
            upkeep.reconcile_jobs(resources)
            time.sleep(0.2)
    load.answered()
    assert 0 < most <= KEYS
    check_invariants(site)
