"""What a holder of the signing key, whoever can write to Redis, and a host with a wrong clock cannot bring about."""

from __future__ import annotations

import time

import pytest

from fstore.broker.messages import PublishRequest, RawReference
from fstore.compute.raw_data import stage_raw
from fstore.model import ComputedFacts
from fstore.results.codec import encode_result
from fstore.runtime.versions import library_versions
from fstore.upkeep.usage import UsageFlush
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT
from tests.faults.redis.test_clocks import _sleep_by_interval, clock  # noqa: F401
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.support.hostile_site import KEY, message
from tests.waiting import eventually


@row(
    45,
    fault="a trainer with the signing key stages a wrong result for a worker's feature and has it published",
    promise="it is not published; everybody gets what a worker computes",
    seconds=15,
)
def test_row_45_a_forged_result(make_site):
    """The claim is real, the signature is real, the bytes are what the message says: only the trainer lies."""
    site = make_site(signing_key=KEY)
    site.worker()
    resources = site.store.resources
    asked = site.store._prepare("ROW", RAW, {"factor": 5}, scaled)
    claim = resources.jobs.claim(asked.key, asked.message(stage_raw(resources.staging, RAW, asked.fingerprint)).wire())
    facts = ComputedFacts(
        key=asked.key, parts=asked.parts, hash_method=asked.fingerprint.method, source_digest=asked.feature.source_digest,
        source={"kind": "staged", "path": "-"}, compute_seconds=0.1, library_versions=library_versions(),
    )  # fmt: skip
    wrong = resources.staging.write_result(asked.key, encode_result(RAW * -100))
    digest = resources.staging.read_result(wrong).digest
    resources.broker.send_publish(PublishRequest.of(facts, claim, staged_path=wrong, staged_digest=digest))

    eventually(lambda: "ResultNotTrusted" in site.logs(), seconds=20, what="the refusal")
    with site.open() as other:
        assert site.ask({"factor": 5}, scaled, store=other, timeout=30).equals(RAW * 5)
    eventually(lambda: site.store.get_cache_stats()["results_refused"] == 1, seconds=20, what="the count of the worker")
    check_invariants(site)


@row(
    46,
    fault="signed requests name STORE_ID, live entries and links as staged raw data",
    promise="a typed error; every file is there afterwards",
    seconds=15,
)
def test_row_46_paths_that_were_not_staged(make_site):
    """By message and by job row."""
    site = make_site(signing_key=KEY, **SHORT)
    site.worker()
    resources = site.store.resources
    site.ask({"factor": 3}, scaled)
    entry = site.store.peek("ROW", RAW, {"factor": 3}, scaled)
    link = site.root / "staging" / "results" / f"{entry.key}.link.parquet"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(site.root / entry.path)
    before = {path for path in site.root.rglob("*") if path.is_file()}

    keys = []
    for number, path in enumerate(("STORE_ID", entry.path, str(link.relative_to(site.root)), "../store/STORE_ID")):
        asked = site.store._prepare("ROW", RAW, {"factor": 100 + number}, scaled)
        request = asked.message(RawReference(kind="staged", path=path))
        resources.jobs.enqueue({asked.key: request.wire()})
        resources.broker.send_compute(request)
        keys.append(asked.key)

    def refused() -> bool:
        return all((job := resources.jobs.find(key)) is not None and job.failure is not None for key in keys)

    eventually(refused, seconds=30, what="the refusals")
    assert {resources.jobs.find(key).failure.error_type for key in keys} == {"SourceNotAllowed"}
    assert {path for path in site.root.rglob("*") if path.is_file()} >= before
    # Whoever has the data himself is not held up by what somebody else said of them.
    assert site.ask({"factor": 100}, scaled, timeout=30).equals(RAW * 100)
    link.unlink()
    check_invariants(site)


@row(
    47,
    fault="the only worker's clock is an hour ahead, or behind",
    promise="requests are answered at once: the age of a message is judged by Redis' clock alone",
    needs=("faketime",),
    seconds=30,
)
@pytest.mark.parametrize("offset", ["+1h", "-1h", "+1d", "-1d"])
def test_row_47_the_workers_clock(make_site, offset):
    """Signed messages that expire, one after the other, and one that is put back for later."""
    site = make_site(signing_key=KEY)
    worker = site.worker(**clock(offset))
    for factor in range(3, 6):
        began = time.monotonic()
        assert site.ask({"factor": factor}, scaled, timeout=30).equals(RAW * factor)
        assert time.monotonic() - began < 10
    assert site.store.get_cache_stats()["messages_rejected"] == 0
    assert "by which messages' ages are judged" in site.logs()
    assert worker.poll() is None
    check_invariants(site)


@row(
    48,
    fault="garbage among delivered messages, queues of other types, and a message of 100 MB of small lists",
    promise="dropped, counted and logged; workers live, start and answer the next request in seconds",
    seconds=40,
)
def test_row_48_spoiled_redis(make_site):
    """Written by whoever has Redis' password and no key, while a worker runs and before another starts."""
    site = make_site(signing_key=KEY)
    worker = site.worker()
    with site.redis() as link:
        for name in ("fstore.compute", "fstore.write", "fstore.upkeep", "unacked", "unacked_index"):
            link.delete(f"fstore:{name}")
            link.set(f"fstore:{name}", "x")
        assert site.ask({"factor": 3}, scaled, timeout=30).equals(RAW * 3)
        for n, item in enumerate((b"", b"\xff", b"[1, 2]", b"{}", b"[" * 100_000)):
            link.hset("fstore:unacked", f"tag-{n}", item)
            link.zadd("fstore:unacked_index", {f"tag-{n}": 1})
        second = site.worker()
        assert site.ask({"factor": 4}, scaled, timeout=30).equals(RAW * 4)
        link.lpush("fstore:fstore.compute", b"[" + b"[]," * 33_000_000 + b"0]")
        began = time.monotonic()
        assert site.ask({"factor": 5}, scaled, timeout=30).equals(RAW * 5)
        assert time.monotonic() - began < 10
        link.lpush("fstore:fstore.compute", *(str(message(b"[]", key=None)) for _ in range(100)))
        assert site.ask({"factor": 6}, scaled, timeout=30).equals(RAW * 6)
        eventually(lambda: not link.hlen("fstore:unacked"), seconds=30, what="the garbage to be dropped")
    assert worker.poll() is None
    assert second.poll() is None
    assert site.store.get_cache_stats()["messages_rejected"] >= 7
    check_invariants(site)


@row(
    49,
    fault="usage and counters in Redis are no numbers, beyond bigint, or of another type",
    promise="what is none is set aside and counted, the rest moves, statistics go on",
    seconds=15,
)
def test_row_49_spoiled_notes(make_site):
    """Written beside and over what trainers and workers note, then flushed by a worker."""
    site = make_site()
    site.worker()
    site.ask({"factor": 3}, scaled)
    with site.redis() as link:
        for name in ("usage", "counters", "flushing:usage", "flushing:counters"):
            link.hset(f"fstore:{name}", mapping={"a": "1e9", "b": str(2**63), b"\xff": "1", "c": "-1"})
        link.hset("fstore:counters", "cache_hits", "many")
        assert site.ask({"factor": 3}, scaled).equals(RAW * 3)
        site.store.get_cache_stats()
        link.delete("fstore:usage")
        link.set("fstore:usage", "x")
        assert site.ask({"factor": 3}, scaled).equals(RAW * 3)
    flush(site)
    flush(site)
    stats = site.store.get_cache_stats()
    assert stats["computed"] == 1
    assert stats["cache_hits"] >= 1
    assert stats["notes_set_aside"] >= 8
    check_invariants(site)


def flush(site) -> None:
    """Move notes as upkeep does."""

    assert UsageFlush.of(site.store.resources).move_in_turn()
