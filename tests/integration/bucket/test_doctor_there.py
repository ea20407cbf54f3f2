"""What the doctor says of buckets: what a server checks, how the bucket is set up, which rights there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fstore.cli.doctor.local_checks import Finding, check_folder
from fstore.s3 import buckets_of
from fstore.settings import gather_settings
from fstore.storage import open_storage
from tests.faults.harness import http_faults as faults
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket

POLICIES = Path(__file__).parents[3] / "ops" / "s3"


def findings(bucket: Bucket, **given: object) -> list[Finding]:
    settings = gather_settings({**bucket.settings(), "object_timeout_s": 5, **given}, environ={})
    entries = open_storage(settings).entries
    if not entries.identity():
        entries.create("doctor")
    found = list(check_folder(settings))
    buckets_of(settings).close()
    assert bucket.keys("fstore/probe/") == []
    return found


def told(found: list[Finding], part: str) -> Finding:
    (one,) = [one for one in found if part in one.detail]
    return one


def test_a_plain_bucket_is_well(make_bucket: Callable[..., Bucket]):
    """Warned of is what the server does not check, and what the operator should set."""
    bucket = make_bucket()
    found = findings(bucket)
    assert told(found, "listed, read and written").level == "ok"
    checks = told(found, "the one that was signed")
    assert checks.level == ("ok" if bucket.server.kind == "radosgw" else "warning")
    assert told(found, "If-None-Match").detail == "it honours If-None-Match"
    assert told(found, "GC_MAX_BYTES").level == "warning"
    assert told(found, "downloads an entry once").level == "ok"
    again = findings(
        bucket, local_cache="off", gc_max_bytes="1GB", s3_read_back=True, data_roots=f"s3://{bucket.name}/raw"
    )
    assert told(again, "each hit of each process is a request").level == "warning"
    assert told(again, "raw can be listed").level == "ok"
    assert [one for one in again if "GC_MAX_BYTES" in one.detail] == []
    assert told(again, "the one that was signed").level == "ok"


def test_how_a_bucket_is_set_up_is_told(make_bucket: Callable[..., Bucket]):
    """Versions that never expire, and rules that take entries away."""
    bucket = make_bucket(versioned=True)
    assert told(findings(bucket), "keeps versions").level == "warning"
    rules = json.loads((POLICIES / "lifecycle.json").read_text().replace("PREFIX", "fstore"))
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration=rules)
    assert [one for one in findings(bucket) if "keeps versions" in one.detail or "expires objects" in one.detail] == []
    rules["Rules"].append({"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}})
    bucket.client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration=rules)
    assert told(findings(bucket), "expires objects").level == "fault"


def test_roles_without_a_probe_are_no_fault(make_bucket: Callable[..., Bucket]):
    """A trainer reads; who may not even do that is told, without what the server quoted."""
    bucket = make_bucket()
    findings(bucket)
    with HttpProxy(bucket.server.address) as proxy:
        proxy.on("PUT", "probe", answer=faults.denied())
        given = {"s3_endpoint_url": proxy.endpoint, "gc_max_bytes": "1GB"}
        assert told(findings(bucket, **given), "as fits a trainer").level == "ok"
        proxy.on("GET", "STORE_ID", answer=faults.denied(), skip=1)
        refused = [one for one in findings(bucket, **given) if one.level == "fault"]
    assert len(refused) == 1
    assert "secretive" not in refused[0].detail
    assert "ops/s3" in refused[0].advice


def test_a_bucket_that_lets_nothing_be_deleted_is_told(bucket: Bucket):
    """A policy that forbids it keeps all that is given up, and a collection can only say so."""
    findings(bucket)
    with HttpProxy(bucket.server.address) as proxy:
        refused = proxy.on("DELETE", "probe", answer=faults.denied())
        settings = gather_settings(bucket.settings(endpoint=proxy.endpoint), environ={})
        assert told(list(check_folder(settings)), "not delete").level == "fault"
        assert refused.happened
        buckets_of(settings).close()


@pytest.mark.parametrize("role", ["trainer", "worker", "upkeep", "raw-data"])
def test_policies_grant_no_more_than_a_role_needs(role):
    """Trainers write below staging only and delete nothing; nobody gets more than objects of one prefix."""
    statements = json.loads((POLICIES / f"{role}.json").read_text())["Statement"]
    granted = {
        (action, place.partition("PREFIX/")[2])
        for one in statements
        for action in _list(one["Action"])
        for place in one["Resource"]
    }
    writes = {place for action, place in granted if action.startswith(("s3:Put", "s3:Abort"))}
    deletes = {place for action, place in granted if action.startswith("s3:Delete")}
    assert all("*" not in action for action, _ in granted)
    assert {one["Effect"] for one in statements} == {"Allow"}
    expected = {
        "trainer": ({"staging/*"}, set()),
        "worker": ({"entries/*", "staging/*", "quarantine/*"}, {"entries/*", "staging/*"}),
        "upkeep": (
            {"STORE_ID", "entries/*", "staging/*", "quarantine/*", "probe/*"},
            {"entries/*", "staging/*", "quarantine/*", "probe/*"},
        ),
        "raw-data": (set(), set()),
    }
    assert (writes, deletes) == expected[role]


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
