"""Writes to an object store whose answers are lost, whose fine answers are errors, and whose writers die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from fstore.errors import StorageUnavailable
from fstore.settings import Settings
from fstore.storage import open_storage
from fstore.testing.storage_backend import publish, some_table
from tests.faults.harness import http_faults as faults
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.waiting import eventually

LARGE = pa.table({"x": np.random.default_rng(7).random(2_000_000)})


@pytest.fixture
def in_parts(monkeypatch):
    """Send what is larger than 8 MiB in parts."""
    monkeypatch.setattr("fstore.storage.bucket.place.IN_MEMORY_BYTES", 8 << 20)


@row(
    63,
    fault="a PUT, a part, a completion or a DELETE is done and its answer is lost",
    promise="published once, no false refusal, no upload left over",
    seconds=20,
)
@pytest.mark.parametrize(
    ("method", "part", "table"),
    [
        ("PUT", "entries/", some_table()),
        ("POST", "uploads", LARGE),
        ("PUT", "partNumber=2", LARGE),
        ("POST", "uploadId=", LARGE),
        ("DELETE", "entries/", some_table()),
    ],
    ids=["put", "begin", "part", "completion", "delete"],
)
@pytest.mark.usefixtures("in_parts")
def test_row_63_lost_answers(shelved, method, part, table):
    """Every request may be repeated."""
    rule = shelved.proxy.on(method, part, lose_answer=True, times=1)
    found = publish(shelved.entries, table)
    assert shelved.keys() == [f"team/fstore/{found.path}"]
    assert shelved.entries.read(found).equals(table)
    shelved.entries.delete(found.path)
    assert shelved.keys() == []
    assert rule.happened == 1
    if part != "uploads":  # of a lost beginning nobody knows the id; upkeep finds it
        assert shelved.bucket.uploads() == []
    elif shelved.bucket.uploads():
        listed = [one for listing in shelved.entries.list_shards() for one in listing.temporary]
        assert all(shelved.entries.drop_unfinished(one) for one in listed)
        assert shelved.bucket.uploads() == []


@row(
    63,
    fault="a PUT, a part, a completion or a DELETE is done and its answer is lost",
    promise="published once, no false refusal, no upload left over",
)
def test_row_63_the_id(make_shelved, object_server):
    """A conditional write whose answer is lost is answered 412 the next time, which is no fault."""
    shelved = make_shelved(object_server)
    shelved.bucket.delete("team/fstore/STORE_ID")
    rule = shelved.proxy.on("PUT", "STORE_ID", lose_answer=True, times=1)
    shelved.entries.create("mine")
    assert (rule.happened, shelved.entries.identity()) == (1, "mine")


@row(
    64,
    fault="an object store answers 200 over an <Error>, for a completion and for a copy",
    promise="taken as the failure it is: tried again, and the entry is whole or not there",
    seconds=10,
)
@pytest.mark.parametrize("times", [1, 100])
@pytest.mark.parametrize("what", ["completion", "copy"])
@pytest.mark.usefixtures("in_parts")
def test_row_64_an_error_that_says_200(shelved, what, times):
    """Once is mended; for ever leaves nothing behind that counts."""
    small = publish(shelved.entries, some_table())
    if what == "completion":
        shelved.proxy.on("POST", "uploadId=", answer=_error_with_200(), times=times)
        if times == 1:
            assert shelved.entries.read(publish(shelved.entries, LARGE)).equals(LARGE)
        else:
            with pytest.raises(StorageUnavailable):
                publish(shelved.entries, LARGE)
            assert shelved.keys() == [f"team/fstore/{small.path}"]
        assert shelved.bucket.uploads() == []
        return
    shelved.proxy.on("PUT", "quarantine/", answer=_error_with_200(), times=times)
    moved = shelved.entries.quarantine(small)
    assert (moved is not None) == (times == 1)
    assert len(shelved.keys("quarantine/")) + len(shelved.keys()) == 1  # never both gone


def _error_with_200():
    answer = faults.error(500, "InternalError")
    answer.first = "HTTP/1.1 200 OK"
    return answer


@row(
    70,
    fault="a body arrives that is not the one that was signed",
    promise="refused by the server and sent again; where the server does not look, found by reading back",
    seconds=10,
)
@pytest.mark.parametrize("rows", [100, 2_000_000])
@pytest.mark.usefixtures("in_parts")
def test_row_70_a_changed_body(make_shelved, object_server, rows):
    """No entry is published that is not what was sent."""
    reads_back = object_server.kind == "ministack"
    shelved = make_shelved(object_server, s3_read_back=reads_back)
    table = LARGE.slice(0, rows)
    shelved.proxy.on("PUT", "entries/", rewrite_request=faults.flipped_bit(), times=1)
    if reads_back:
        with pytest.raises(StorageUnavailable, match="just put"):
            publish(shelved.entries, table)
        assert shelved.keys() == []
    found = publish(shelved.entries, table)
    assert shelved.entries.read(found).equals(table)


@row(
    72,
    fault="a worker is killed in the middle of a PUT, of an upload in parts, or between its PUT and its row",
    promise="no row; what it left is collected after the grace, parts too; the next worker computes it",
    seconds=30,
)
@pytest.mark.parametrize("when", ["put", "part", "completion"])
def test_row_72_killed_writers(make_shelved, object_server, when):
    """Whatever of it the store has, a listing tells of it, and upkeep can end it."""
    shelved = make_shelved(object_server)
    part = {"put": "entries/", "part": "partNumber=2", "completion": "uploadId="}[when]
    child = multiprocessing.get_context("spawn").Process(target=_publish_for_ever, args=(shelved.settings, when))
    rule = shelved.proxy.on(
        "POST" if when == "completion" else "PUT", part, before=lambda: os.kill(child.pid or 0, signal.SIGKILL), times=1
    )
    child.start()
    child.join(60)
    assert (child.exitcode, rule.happened) == (-signal.SIGKILL, 1)

    def left() -> tuple[list[str], list[str]]:
        listings = list(shelved.entries.list_shards())
        return [f.path for one in listings for f in one.files], [f.path for one in listings for f in one.temporary]

    # What was on its way when the writer died still arrives: a file without a row, or an upload without an end.
    if when != "put":
        eventually(lambda: any(left()), seconds=5, what="what is left to be listed")
    if when == "part":
        assert len(left()[1]) == 1
    for path in left()[0]:
        assert shelved.entries.delete(path)
    for listing in shelved.entries.list_shards():
        assert all(shelved.entries.drop_unfinished(one) for one in listing.temporary)
    assert left() == ([], [])
    assert shelved.bucket.uploads() == []


def _publish_for_ever(settings: Settings, when: str) -> None:
    from fstore.storage.bucket import place

    place.IN_MEMORY_BYTES = 8 << 20
    entries = open_storage(settings).entries
    while True:
        publish(entries, some_table() if when == "put" else LARGE)


@row(
    72,
    fault="a worker is killed in the middle of a PUT, of an upload in parts, or between its PUT and its row",
    promise="no row; what it left is collected after the grace, parts too; the next worker computes it",
    seconds=40,
)
def test_row_72_a_worker_between_put_and_row(make_bucket_site, radosgw):
    """The file is there, the row is not: another worker computes it again, the orphan goes after the grace."""
    site = make_bucket_site(radosgw, **SHORT)
    worker = site.worker()
    site.proxy.on("PUT", "entries/", after=lambda: os.killpg(worker.pid, signal.SIGKILL), times=1)
    asking = site.asking({}, scaled)
    eventually(lambda: worker.poll() is not None, seconds=30, what="the worker to be killed")
    assert site.sql("SELECT count(*) FROM manifest") == [(0,)]
    assert len(list(site.behind.bucket.keys("team/fstore/entries/"))) == 1
    site.worker()
    assert asking.answered().equals(RAW * 2)
    assert site.sql("SELECT count(*) FROM manifest") == [(1,)]
    time.sleep(timedelta(seconds=1).total_seconds())  # the store tells whole seconds
    check_invariants(site)
