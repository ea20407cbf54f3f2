"""What the way to an object store does to what it answers."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from datetime import timedelta

import pytest

from fstore.errors import EntryCorrupt, StorageUnavailable, UpkeepRefused
from fstore.runtime import deadline
from fstore.s3 import Keys, S3Client, S3Options
from fstore.upkeep.collection.run import run_collection
from tests.faults.harness.http_faults import clock_off, flipped_bit
from tests.faults.harness.http_messages import Message
from tests.faults.objects.conftest import TIMEOUT_S, close_breaker, numbers
from tests.faults.rows import row
from tests.support.shelf import RULES, WEEK
from tests.waiting import awake_s

MEDIUM = 400_000  # rows of 8 bytes: 3.2 MB, one request


@row(
    61,
    fault="the body of an object ends in the middle, by a reset or cleanly",
    promise="only the missing range is asked for again; right bytes",
    seconds=12,
)
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("rows", [20_000, MEDIUM, 2_500_000])
def test_row_61_cut_bodies(depot, reset, times, rows):
    """What came is kept, of a small object read at once, and of a large one read in ranges side by side."""
    found = depot.publish(rows)
    asked, cut = depot.proxy.count("GET", found.path), min(1 << 20, found.file_size_bytes // 3)
    depot.proxy.on("GET", found.path, cut_after=cut, reset=reset, times=times)
    before = depot.counts["object_bytes_received"]
    assert depot.entries.read(found).equals(numbers(rows))

    seen = depot.proxy.seen("GET", found.path)[asked:]
    # No byte that came is asked for again. With a reset the kernel drops what nobody had read yet, a busy host's most.
    assert depot.counts["object_bytes_received"] - before == found.file_size_bytes
    assert sum(one.sent for one in seen) <= found.file_size_bytes + 1 + (times * cut if reset else 0)
    if not reset:
        assert [one.header("Range") for one in seen if one.header("Range").startswith(f"bytes={cut}-")]
    assert all(one.header("If-Match") for one in seen[1:])
    assert len(seen) <= times + max(1, -(-found.file_size_bytes // (8 << 20)))


@row(
    62,
    fault="one bit is flipped on the way, once; or in the store, for good",
    promise="read again over a new connection; only what is wrong twice is wrong",
    seconds=12,
)
def test_row_62_flipped_bits(depot, behind):
    """The wire is no proof against an entry."""
    found = depot.publish()
    depot.proxy.on("GET", found.path, rewrite_answer=flipped_bit(), times=1)
    connections = depot.proxy.connections
    assert depot.entries.read(found).equals(numbers(found.rows))
    assert depot.proxy.connections == connections + 1
    depot.proxy.on("GET", found.path, rewrite_answer=flipped_bit(), times=1)
    assert depot.entries.inspect(found, _pace()) [0] is None  # fmt: skip

    data = bytearray(behind.bucket.get(f"team/fstore/{found.path}"))
    data[100] ^= 1
    behind.bucket.put(f"team/fstore/{found.path}", bytes(data))
    with pytest.raises(EntryCorrupt, match="digest"):
        depot.entries.read(found)
    fault, _ = depot.entries.inspect(found, _pace())
    assert str(fault.kind) == "digest"


@row(
    65,
    fault="an answer drips at 1 kB a second, never comes, or no connection comes about",
    promise="back within the deadline and half a second",
    seconds=30,
)
@pytest.mark.parametrize(
    "what", [{"bytes_per_s": 1000}, {"silent": True}, {"wait_s": 60}], ids=["drip", "hole", "late"]
)
@pytest.mark.parametrize("limit_s", [2.0, None])
def test_row_65_drips_and_holes(depot, what, limit_s):
    """One deadline bounds a whole answer, the caller's or the setting's, whatever was asked for."""
    found = depot.publish(20_000)
    acts = {
        "read": lambda: depot.entries.read(found),
        "exists": lambda: depot.entries.exists(found.path),
        "publish": lambda: depot.publish(20_000, "two"),
        "list": lambda: list(depot.entries.list_shards()),
        "stage": lambda: depot.storage.staging.write("a" * 64, numbers(20_000)),
    }
    for name, act in acts.items():
        if name != "read" and "bytes_per_s" in what:
            continue  # their answers have no body that could drip for long
        if name in {"list", "stage"} and limit_s is None:
            continue  # of several requests each has the setting's time
        depot.proxy.on("", "", **what)
        began = awake_s()
        with deadline.within(limit_s), pytest.raises(StorageUnavailable):
            act()
        assert awake_s() - began < (limit_s or TIMEOUT_S + 0.2) + 0.5
        depot.proxy.forward()
        close_breaker(depot)


@row(
    65,
    fault="an answer drips at 1 kB a second, never comes, or no connection comes about",
    promise="back within the deadline and half a second",
    seconds=10,
)
def test_row_65_no_connection():
    """A server whose queue of connections is full."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        options = S3Options(endpoint_url=f"http://127.0.0.1:{full.getsockname()[1]}", keys=lambda: Keys("k", "s"))
        began = awake_s()
        with deadline.within(2.0), pytest.raises(StorageUnavailable):
            S3Client("bucket", options).get("key")
        assert awake_s() - began < 2.5


@row(
    66,
    fault="a listing hides the newest files, repeats a page, or says that it goes on and not where",
    promise="nothing is lost or deleted: what is not listed is asked for, and a listing that does not go on is a fault",
    seconds=25,
)
def test_row_66_listings_that_lie(shelf, behind):
    """A collection believes no listing more than the store itself."""
    kept = [shelf.publish(f"kept {n}", age=WEEK) for n in range(5)]
    behind.proxy.forward()
    hidden = behind.proxy.on("GET", "entries%2F", rewrite_answer=_without(kept[0].path))
    report = run_collection(shelf.resources, RULES)
    assert hidden.happened > 1
    assert (report.plan.totals.lost, report.plan.lost, report.plan.leftovers) == (0, (), ())
    assert {shelf.state(f"kept {n}") for n in range(5)} == {"live"}

    for what in (_goes_on_nowhere, _goes_round):
        behind.proxy.forward()
        behind.proxy.on("GET", "entries%2F", rewrite_answer=what)
        with pytest.raises(StorageUnavailable, match="listing"):
            run_collection(shelf.resources, RULES)
    behind.proxy.forward()
    assert {shelf.state(f"kept {n}") for n in range(5)} == {"live"}
    assert all(shelf.resources.entries.exists(found.path) for found in kept)


@row(
    67,
    fault="the object store's clock is two days off, or jumps while files are listed",
    promise="nothing young is deleted; garbage collection refuses",
    seconds=20,
)
@pytest.mark.parametrize("by", [timedelta(days=2), timedelta(days=-2)])
@pytest.mark.parametrize("from_the", ["first", "second", "last"])
def test_row_67_strange_clocks(shelf, behind, by, from_the):
    """Ages are differences of one clock's readings, and only while that clock goes on like the database's."""
    young = shelf.write("young")
    behind.proxy.forward()
    part, skip = {"first": ("", 0), "second": ("entries%2F", 0), "last": ("entries%2F", 8)}[from_the]
    rule = behind.proxy.on(
        "GET", f"prefix=team%2Ffstore%2F{part}" if part else "list-type=2", rewrite_answer=clock_off(by), skip=skip
    )
    with pytest.raises((UpkeepRefused, StorageUnavailable), match="clock"):
        run_collection(shelf.resources, RULES)
    assert rule.happened > 0
    behind.proxy.forward()
    assert shelf.resources.entries.exists(young.path)


def _pace():
    from fstore.storage import Pace

    return Pace(None)


def _without(path: str):
    import re

    def rewrite(answer: Message) -> None:
        hidden = rb"<Contents>(?:(?!</Contents>).)*" + re.escape(path.rpartition("/")[2].encode()) + rb".*?</Contents>"
        answer.body = re.sub(hidden, b"", answer.body, flags=re.DOTALL)

    return rewrite


def _goes_on_nowhere(answer: Message) -> None:
    answer.body = answer.body.replace(b"<IsTruncated>false", b"<IsTruncated>true")


def _goes_round(answer: Message) -> None:
    token = b"<NextContinuationToken>round</NextContinuationToken><IsTruncated>true"
    answer.body = answer.body.replace(b"<IsTruncated>false", token)
