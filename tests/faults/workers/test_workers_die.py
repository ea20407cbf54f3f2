"""Rows 1 to 5: messages delivered twice or never, and workers that are killed."""

from __future__ import annotations

import os
import signal

import pytest

from fstore import ComputeDead
from fstore.model import JobState
from tests import sample_features
from tests.faults.harness.invariants import ask_anew, check_invariants
from tests.faults.harness.site import RAW, SHORT, family, frozen, kill_group
from tests.faults.rows import row
from tests.waiting import awake_s, eventually

SOON_S = 40
TAKEOVER_S = 45


@row(
    1,
    fault="a message is delivered again while its task still runs",
    promise="the second delivery is answered at once, one start, one result",
    seconds=25,
)
def test_row_01_a_task_outlives_the_visibility_timeout(make_site):
    """A worker that thinks a visibility timeout of 4 s enough takes the message of a task that runs for 18 s."""
    site = make_site(**SHORT)
    site.worker()
    config = {"seconds": 18.0, "marks": site.marks("long", most=1)}
    asking = site.asking(config)
    site.started("long")
    site.worker(FEATURE_STORE_COMPUTE_TIME_LIMIT_S="2")
    key = site.key(config)

    def delivered_again() -> bool:
        return sum("received" in line and key[:12] in line for line in site.logs().splitlines()) > 1

    eventually(delivered_again, seconds=16, what="the broker to deliver the message again")
    assert asking.answered().equals(RAW.head(3))
    assert len(site.starts("long")) == 1
    check_invariants(site)


@row(
    2,
    fault="a message is popped by a worker that dies before it writes that down",
    promise="the reconciler sends it again, with nobody waiting",
    seconds=25,
)
def test_row_02_a_message_dies_with_a_frozen_worker(make_site):
    """Redis hands the message to a frozen worker; it is in neither list when that worker is killed."""
    site = make_site(**SHORT, reconcile_period_s="2")
    doomed = site.worker()
    ask_anew(site)  # the first message takes long to send, and a worker waits for one no longer than a second
    tries = iter(range(20))

    def asked(number: int) -> dict[str, object]:
        return {"seconds": 0.1, "case": number, "marks": site.marks(f"lost-{number}")}

    def stolen() -> int | None:
        case = next(tries)
        with site.redis() as client:
            eventually(lambda: client.info("clients")["blocked_clients"], seconds=5, what="the worker to wait in BRPOP")
            with frozen(doomed.pid):
                site.store.submit("ROW", RAW, asked(case), sample_features.slow)
                if client.llen("fstore:fstore.compute") == 0 and not client.exists("fstore:unacked"):
                    kill_group(doomed)
                    return case + 1
        return None  # a moment too late: it had stopped waiting

    case = eventually(stolen, seconds=15, what="a message to be handed to the frozen worker") - 1
    assert site.starts(f"lost-{case}") == []

    site.worker()
    site.beat()

    eventually(
        lambda: site.store.peek("ROW", RAW, asked(case), sample_features.slow), seconds=SOON_S, what="the result"
    )
    assert len(site.starts(f"lost-{case}")) == 1
    check_invariants(site)


@row(
    3,
    fault="the process that computes is killed, twice",
    promise="started again at most twice, then everybody has the result",
    seconds=25,
)
def test_row_03_a_worker_process_is_killed(make_site):
    """The process named in the job row is killed mid-compute; the third start answers all who wait."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    config = {"seconds": 1.5, "marks": site.marks("killed")}
    waiters = [site.asking(config) for _ in range(3)]
    for nth in (1, 2):
        site.started("killed", count=nth)
        ((owner,),) = site.sql(f"SELECT owner FROM jobs WHERE key = '{site.key(config)}'")
        pid = int(str(owner).split(":")[1])
        assert pid == site.starts("killed")[-1]
        os.kill(pid, signal.SIGKILL)

    for waiter in waiters:
        assert waiter.answered().equals(RAW.head(3))
    assert len(site.starts("killed")) == 3
    check_invariants(site)


@row(
    4,
    fault="a computation kills every process that runs it",
    promise="dead after three starts, a typed error for all, neighbours on the same worker go on",
    seconds=30,
)
def test_row_04_a_poison_computation_is_buried(make_site):
    """Three starts, then ``ComputeDead`` for whoever waits and, at once, for whoever asks later; nobody starts it again."""
    site = make_site(**SHORT)
    site.worker()
    config = {"marks": site.marks("poison")}
    victims = [site.asking(config, sample_features.poison) for _ in range(3)]
    site.started("poison")
    neighbours = [site.asking({"seconds": 0.1, "case": n, "marks": site.marks(f"near-{n}")}) for n in range(6)]

    for neighbour in neighbours:
        assert neighbour.answered().equals(RAW.head(3))
    for victim in victims:
        with pytest.raises(ComputeDead) as caught:
            victim.answered()
        assert caught.value.starts == 3
    began = awake_s()
    with pytest.raises(ComputeDead):
        site.ask(config, sample_features.poison, timeout=20)
    assert awake_s() - began < 2
    assert len(site.starts("poison")) == 3
    job = site.store.resources.jobs.find(site.key(config, sample_features.poison))
    assert job is not None
    assert job.state is JobState.DEAD
    check_invariants(site)
    assert len(site.starts("poison")) == 3


@row(
    5,
    fault="a whole worker is killed",
    promise="another one takes over within 45 s, with the settings as they come",
    seconds=50,
)
def test_row_05_a_whole_worker_is_killed(site):
    """Parent and children get SIGKILL in the middle of a computation; the lease of 30 s decides."""
    workers = [site.worker(concurrency=2), site.worker(concurrency=2)]
    config = {"seconds": 3.0, "marks": site.marks("taken over")}
    waiters = [site.asking(config, timeout=90) for _ in range(3)]
    (first,) = site.started("taken over")
    doomed = next(worker for worker in workers if worker.pid == os.getpgid(first))

    processes = family(doomed.pid)
    kill_group(doomed)
    killed_at = awake_s()

    for waiter in waiters:
        assert waiter.answered().equals(RAW.head(3))
    assert awake_s() - killed_at < TAKEOVER_S
    assert not [process for process in processes if process.is_running() and process.status() != "zombie"]
    assert len(site.starts("taken over")) == 2
    check_invariants(site)
