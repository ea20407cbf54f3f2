"""A trainer with a database role of its own that tries everything which could stop the others."""

from __future__ import annotations

import uuid
from contextlib import ExitStack, closing

import psycopg2
import psycopg2.errors
import pytest

from fstore.upkeep import api as upkeep
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW
from tests.faults.rows import row
from tests.sample_features import scaled

PASSWORD = "for-this-test-only"  # noqa: S105 of servers that live for one test run
# What would stop claims, publishes, upkeep or readers, or end what others do.
FORBIDDEN = (
    "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE jobs_seen IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE manifest IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE publish_done IN EXCLUSIVE MODE",
    "LOCK TABLE upkeep_turns IN ACCESS EXCLUSIVE MODE",
    "SELECT FROM publish_turn FOR UPDATE",
    "SELECT FROM upkeep_turns FOR UPDATE",
    "UPDATE upkeep_turns SET owner = 'me', lease_until = 'infinity'",
    "DELETE FROM jobs",
    "SELECT owner FROM jobs",
    "UPDATE manifest SET state = 'condemned'",
    "TRUNCATE usage",
    "SELECT fstore_condemn(NULL, NULL, 'tests.sample_features:scaled')",
    "SELECT fstore_job_bury(NULL, 0)",
    "SELECT fstore_job_forget(NULL)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
)


@row(
    56,
    fault="a trainer with the trainers' database role locks tables, takes every advisory lock, deletes and ends what is others'",
    promise="each is refused or in nobody's way: claims, publishes and upkeep go on meanwhile",
    seconds=25,
)
def test_row_56_what_a_trainers_role_cannot_stop(make_site):
    """It holds a transaction open with whatever it got, for as long as the others work."""
    site = make_site()
    site.worker(concurrency=2)
    resources = site.store.resources
    name = f"trainer_{uuid.uuid4().hex[:8]}"
    site.sql(f"CREATE USER {name} PASSWORD '{PASSWORD}' IN ROLE fstore_trainer; SELECT 1")
    with ExitStack() as stack:
        stack.callback(lambda: site.sql(f"DROP OWNED BY {name}; DROP ROLE {name}; SELECT 1"))
        hostile = stack.enter_context(closing(psycopg2.connect(site.machine_url(), user=name, password=PASSWORD)))
        cursor = stack.enter_context(hostile.cursor())
        for statement in FORBIDDEN:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            hostile.rollback()
        cursor.execute(
            "SELECT pg_advisory_lock(space, n) FROM unnest(ARRAY[%s, %s]) space, generate_series(0, 9) n",
            (0x66737470, 0x66737075),
        )
        cursor.execute("SELECT * FROM jobs_seen, manifest LIMIT 1")
        claim = resources.jobs.claim("k" * 64, {"raw_data": {"kind": "caller"}})
        assert claim is not None
        for factor in range(6):
            assert site.ask({"factor": factor}, scaled, timeout=30).equals(RAW * factor)
        for act in (upkeep.collect_garbage, upkeep.sweep_integrity, upkeep.reconcile_jobs, upkeep.flush_usage):
            assert not act(resources).get("skipped"), act.__name__
        assert resources.jobs.complete(claim)
        hostile.rollback()
    check_invariants(site)
