"""What an object store answers when it does not do what was asked."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

import pytest

from fstore.entries import read_entry
from fstore.errors import StorageUnavailable, StoreMismatch
from fstore.s3 import BreakerOpen, S3Forbidden, S3Unavailable
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.sweep import run_sweep
from tests.faults.harness.http_faults import (
    denied,
    error,
    flipped_bit,
    ok_with_error,
    part_as_whole,
    slow_down,
    whole_instead_of_part,
)
from tests.faults.objects.conftest import TIMEOUT_S, key_of, numbers
from tests.faults.rows import row
from tests.object_servers import KEY, SECRET
from tests.support.shelf import RULES, WEEK
from tests.waiting import awake_s

LARGE = 2_500_000  # rows of 8 bytes: 20 MB, which is read in ranges


@row(
    60,
    fault="an object store answers 503 SlowDown, with and without Retry-After, thrice and for ever",
    promise="the right answer after at most four tries; for ever: an error within the timeout, and then nothing is sent",
    seconds=25,
)
@pytest.mark.parametrize("retry_after", [None, 1])
def test_row_60_slow_down(depot, retry_after):
    """Three refusals are waited out; a store that stays busy is left alone after three calls."""
    found = depot.publish()
    depot.proxy.on("GET", "entries/", answer=slow_down(retry_after=retry_after), times=3)
    began = time.monotonic()
    assert depot.entries.read(found).num_rows == found.rows
    assert time.monotonic() - began >= (3 * (retry_after or 0))
    assert depot.proxy.count("GET", found.path) == 4

    depot.proxy.on("GET", "entries/", answer=slow_down(retry_after=retry_after))
    for _ in range(3):
        began = awake_s()
        with pytest.raises(StorageUnavailable):
            depot.entries.read(found)
        assert awake_s() - began < TIMEOUT_S + 0.5
    assert depot.proxy.count("GET", found.path) <= 4 + 3 * 4
    sent = depot.proxy.count()
    with pytest.raises(BreakerOpen, match="nothing was sent"):
        depot.entries.read(found)
    assert depot.proxy.count() == sent
    assert depot.counts["object_breaker_opened"] == 1


@row(
    63,
    fault="a PUT, a part, a completion or a DELETE is done and its answer is lost",
    promise="published once, no false refusal, no upload left over",
    seconds=25,
)
@pytest.mark.parametrize(
    ("method", "part"),
    [("PUT", "entries/"), ("PUT", "partNumber=2"), ("POST", "uploadId="), ("POST", "uploads"), ("PUT", "STORE_ID")],
)
def test_row_63_lost_answers(make_depot, behind, monkeypatch, method, part):
    """Every request may be sent again: nothing it says is different the second time."""
    monkeypatch.setattr("fstore.storage.bucket.place.IN_MEMORY_BYTES", 1 << 20)
    rule = behind.proxy.on(method, part, lose_answer=True, times=1)
    depot = make_depot(object_part_bytes=5 << 20)
    found = depot.publish(1000 if part == "entries/" else LARGE)

    assert rule.happened == 1
    assert depot.entries.read(found).equals(numbers(found.rows))
    assert depot.objects() == [found.path]
    if part == "uploads":  # of an upload whose id was lost upkeep alone can know
        unfinished = [one for listing in depot.entries.list_shards() for one in listing.temporary]
        assert all(depot.entries.drop_unfinished(one) for one in unfinished)
    assert behind.bucket.uploads() == []
    assert depot.entries.identity() == "depot"
    behind.proxy.on("DELETE", "entries/", lose_answer=True, times=1)
    assert depot.entries.delete(found.path)
    assert depot.objects() == []


@row(
    64,
    fault="an object store answers 200 over an <Error>, for a completion and for a copy",
    promise="taken as the failure it is: tried again, and the entry is whole or not there",
    seconds=15,
)
def test_row_64_errors_that_look_like_success(make_depot, behind, monkeypatch):
    """The body counts, not the status."""
    monkeypatch.setattr("fstore.storage.bucket.place.IN_MEMORY_BYTES", 1 << 20)
    depot = make_depot(object_part_bytes=5 << 20)
    lost = behind.proxy.on("POST", "uploadId=", answer=error(200, "InternalError"), times=1)
    found = depot.publish(LARGE)
    assert lost.happened == 1
    assert depot.entries.read(found).num_rows == LARGE

    copied = behind.proxy.on("PUT", "quarantine/", rewrite_answer=ok_with_error(), times=1)
    moved = depot.entries.quarantine(found)
    assert copied.happened == 1
    assert moved is not None
    assert depot.objects() == [moved]

    behind.proxy.on("POST", "uploadId=", answer=error(200, "InternalError"))
    with pytest.raises(StorageUnavailable):
        depot.publish(LARGE, "two")
    assert depot.objects() == [moved]

    small = depot.publish(name="three")
    behind.proxy.on("PUT", "quarantine/", answer=error(200, "InternalError"))
    assert depot.entries.quarantine(small) is None
    assert sorted(depot.objects()) == sorted([moved, small.path])  # never both gone
    assert behind.bucket.uploads() == []


@row(
    68,
    fault="credentials expire in the middle of an upload, are unknown, or may not do something",
    promise="found anew once; then a typed error, and no secret in any output",
    seconds=15,
)
@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"])
@pytest.mark.parametrize("rows", [1000, LARGE])
def test_row_68_credentials(make_depot, behind, monkeypatch, caplog, code, rows):
    """An upload goes on with new credentials; who is refused is told so, in words without keys."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("fstore.storage.bucket.place.IN_MEMORY_BYTES", 1 << 20)
    depot = make_depot(object_part_bytes=5 << 20)
    status = 400 if code == "ExpiredToken" else 403
    refusal = error(status, code, message=f"{KEY} {SECRET} secretive")
    rule = behind.proxy.on("PUT", "entries/", answer=refusal, skip=1 if rows > 1000 else 0, times=1)
    told = []
    if code != "AccessDenied":  # which no other key would mend
        assert depot.entries.read(depot.publish(rows)).num_rows == rows
    else:
        with pytest.raises(S3Forbidden) as final:
            depot.publish(rows)
        told.append(f"{final.value!r} {final.value} {final.value.__cause__!r}")
        assert depot.objects() == []
    assert rule.happened == 1
    assert behind.bucket.uploads() == []

    found = depot.publish(name="another")
    for answer in (refusal, denied()):
        for method, act in (("PUT", lambda: depot.publish(name="refused")), ("GET", lambda: depot.entries.read(found))):
            behind.proxy.forward()
            behind.proxy.on(method, "entries/", answer=answer)
            sent = behind.proxy.count(method, "entries/")
            with pytest.raises(S3Unavailable if code == "ExpiredToken" else S3Forbidden) as caught:
                act()
            assert behind.proxy.count(method, "entries/") - sent <= 2
            told.append(f"{caught.value!r} {caught.value} {caught.value.__cause__!r}")
    for text in (*told, caplog.text, repr(depot.storage), repr(depot.settings)):
        assert SECRET not in text
        assert "secretive" not in text


@row(
    68,
    fault="credentials expire in the middle of an upload, are unknown, or may not do something",
    promise="found anew once; then a typed error, and no secret in any output",
)
def test_row_68_skewed_clock(depot):
    """A host whose clock is off signs by the server's after the first refusal."""
    found = depot.publish()
    depot.proxy.on("GET", "entries/", answer=error(403, "RequestTimeTooSkewed", date=datetime.now(UTC)), times=1)
    assert depot.entries.read(found).equals(numbers(found.rows))


@row(
    69,
    fault="the bucket is not there, belongs to another store, or is empty",
    promise="StorageUnavailable or StoreMismatch, never a missing entry; not one row is hidden",
    seconds=20,
)
def test_row_69_wrong_buckets(shelf, house, behind):
    """Nothing of a store is judged by another bucket."""
    found = shelf.publish("kept", age=10 * WEEK)
    empty, others = behind.bucket.server.new_bucket(), behind.bucket.server.new_bucket()
    others.put("team/fstore/STORE_ID", b"another")
    for name in ("no-such-bucket-anywhere", empty.name, others.name):
        with house.open(path=f"s3://{name}/team/fstore") as elsewhere:
            resources = elsewhere.resources
            acts = [
                lambda resources=resources: run_collection(resources, RULES, force=True),
                lambda resources=resources: run_sweep(resources, force=True),
                lambda resources=resources: resources.entries.check_identity(shelf.resources.entries.identity()),
            ]
            acts.append(lambda resources=resources: read_entry(resources, found))
            if name.startswith("no-such"):
                acts += [
                    lambda resources=resources: resources.entries.exists(found.path),
                    lambda resources=resources: list(resources.entries.list_shards()),
                    lambda resources=resources: resources.staging.read(f"staging/raw/ab/{'ab' * 32}.t.arrow"),
                ]
            for act in acts:
                with pytest.raises((StorageUnavailable, StoreMismatch)):
                    act()
    assert shelf.state("kept") == "live"
    assert read_entry(shelf.resources, found) is not None


@row(
    70,
    fault="a body arrives that is not the one that was signed",
    promise="refused by the server and sent again; where the server does not look, found by reading back",
    seconds=12,
)
@pytest.mark.parametrize("rows", [1000, LARGE])
def test_row_70_bodies_that_change_on_the_way(make_depot, behind, monkeypatch, rows):
    """Wrong bytes never get a row, those of one part of many as little."""
    monkeypatch.setattr("fstore.storage.bucket.place.IN_MEMORY_BYTES", 8 << 20)
    depot = make_depot(s3_read_back=behind.bucket.server.kind == "ministack")
    behind.proxy.on("PUT", "entries/", rewrite_request=flipped_bit(), times=1)
    if behind.bucket.server.kind == "ministack":
        with pytest.raises(StorageUnavailable, match="just put"):
            depot.publish(rows)
        assert depot.objects() == []
    found = depot.publish(rows)
    assert depot.entries.read(found).equals(numbers(found.rows))
    assert depot.objects() == [found.path]


@row(
    71,
    fault="a range is answered with 200, or the object is another by the next range",
    promise="an error, never mixed bytes",
    seconds=15,
)
def test_row_71_ranges_that_do_not_fit(depot, behind):
    """All parts are of one version, and each is the part that was asked for."""
    found = depot.publish(LARGE)
    for rewrite in (part_as_whole, whole_instead_of_part(b"x" * (8 << 20))):
        behind.proxy.on("GET", "entries/", rewrite_answer=rewrite)
        with pytest.raises(StorageUnavailable, match="range"):
            depot.entries.read(found)
        behind.proxy.forward()

    other = behind.bucket.get(f"team/fstore/{found.path}")[::-1]
    behind.proxy.on(
        "GET", "entries/", times=1, after=lambda: behind.bucket.put(f"team/fstore/{found.path}", other)
    )  # fmt: skip
    with pytest.raises(StorageUnavailable, match="another version"):
        depot.entries.read(found)
    assert key_of("one") == found.key
