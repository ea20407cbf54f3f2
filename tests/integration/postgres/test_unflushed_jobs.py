"""What a crash of Postgres may undo does not wait for the disk."""

from __future__ import annotations

import json


def test_who_claims_or_ends_a_job_waits_for_no_flush(house):
    """Registering, claiming, renewing and ending a job commit at once; a failure's note is on disk before it is told."""
    jobs = house.store.resources.jobs
    given = {
        **jobs._rules, "key": "k", "keys": ["k"], "attempt": 1, "attempts": [1], "owner": "o", "owners": ["o"], "idle": False,
        "request": "{}", "requests": json.dumps([{"key": "k", "request": {}}]), "error": "{}",
    }  # fmt: skip
    flushed = {}
    for name in ("enqueue", "claim", "claim_many", "renew", "complete", "fail"):
        with house.store.resources.database.session() as session:
            session.query("BEGIN")
            session.query(jobs._sql[name], given)
            flushed[name] = session.query("SHOW synchronous_commit")[0][0]
            session.query("ROLLBACK")
    assert flushed == {**dict.fromkeys(("enqueue", "claim", "claim_many", "renew", "complete"), "off"), "fail": "on"}
