"""Reads from an object store that is busy, breaks off, drips, refuses, or answers with something else."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from fstore.errors import EntryCorrupt, StorageUnavailable
from fstore.runtime import deadline
from fstore.s3 import BreakerOpen, S3Forbidden, S3Unavailable
from fstore.testing.storage_backend import KEY, publish, some_table
from tests.faults.bucket.conftest import SECRET_PARTS
from tests.faults.harness import http_faults as faults
from tests.faults.rows import row

LARGE = pa.table(
    {"x": np.random.default_rng(7).random(2_600_000)}
)  # of about 20 MB, whatever is tried to make it smaller


@row(
    60,
    fault="an object store answers 503 SlowDown, with and without Retry-After, thrice and for ever",
    promise="the right answer after at most four tries; for ever: an error within the timeout, and then nothing is sent",
    seconds=20,
)
@pytest.mark.parametrize("retry_after", [None, 1])
def test_row_60_slow_down(shelved, retry_after):
    """Three are sat out; for ever ends with the caller's time, and the breaker spares the next ones theirs."""
    found = publish(shelved.entries, some_table())
    shelved.proxy.on("GET", "entries/", answer=faults.slow_down(retry_after=retry_after), times=3)
    with deadline.within(8):
        assert shelved.entries.read(found).equals(some_table())
    assert shelved.proxy.count("GET", "entries/") == 4

    shelved.proxy.on("GET", "entries/", answer=faults.slow_down(retry_after=retry_after))
    began, before = time.monotonic(), shelved.proxy.count("GET", "entries/")
    for _ in range(3):
        with deadline.within(2), pytest.raises(StorageUnavailable):
            shelved.entries.read(found)
    assert time.monotonic() - began < 3 * 2.5
    assert shelved.proxy.count("GET", "entries/") - before <= 12
    began, before = time.monotonic(), len(shelved.proxy.requests)
    with pytest.raises(BreakerOpen):
        shelved.entries.read(found)
    assert time.monotonic() - began < 0.2
    assert len(shelved.proxy.requests) == before


@row(
    61,
    fault="the body of an object ends in the middle, by a reset or cleanly",
    promise="only the missing range is asked for again; right bytes",
    seconds=15,
)
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("rows", [20_000, 2_600_000])
def test_row_61_bodies_cut_short(shelved, reset, rows):
    """Of a small object read at once, and of a large one read in ranges side by side."""
    table = LARGE.slice(0, rows)
    found = publish(shelved.entries, table)
    cut = min(100_000, found.file_size_bytes // 2)
    shelved.proxy.on("GET", "entries/", cut_after=cut, reset=reset, times=2)
    assert shelved.entries.read(found).equals(table)
    asked = [one.header("range") for one in shelved.proxy.seen("GET", "entries/")]
    read = sum(one.sent for one in shelved.proxy.seen("GET", "entries/"))
    assert len(asked) <= 2 + max(1, -(-found.file_size_bytes // (8 << 20)))
    assert read <= found.file_size_bytes + (1 << 20)


@row(
    65,
    fault="an answer drips at 1 kB a second, never comes, or no connection comes about",
    promise="back within the deadline and half a second",
    seconds=30,
)
@pytest.mark.parametrize("how", [{"bytes_per_s": 1000}, {"silent": True}, {"wait_s": 60}], ids=["drip", "hole", "late"])
@pytest.mark.parametrize("what", ["read", "publish", "list", "stage"])
def test_row_65_drip_and_black_hole(shelved, how, what):
    """Whatever was asked for, at whichever step of it."""
    found = publish(shelved.entries, LARGE.slice(0, 100_000))
    shelved.proxy.on(**how)
    acts = {
        "read": lambda: shelved.entries.read(found),
        "publish": lambda: shelved.entries.publish(KEY, some_table()),
        "list": lambda: list(shelved.entries.list_shards()),
        "stage": lambda: shelved.staging.write("a" * 64, some_table()),
    }
    if what != "read" and "bytes_per_s" in how:
        pytest.skip("short answers do not drip for long")
    began = time.monotonic()
    with deadline.within(2), pytest.raises(StorageUnavailable):
        acts[what]()
    assert time.monotonic() - began < 2.5
    shelved.proxy.forward()


@row(
    68,
    fault="credentials expire in the middle of an upload, are unknown, or may not do something",
    promise="found anew once; then a typed error, and no secret in any output",
    seconds=15,
)
@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "AccessDenied", "SignatureDoesNotMatch"])
@pytest.mark.parametrize("rows", [1000, 2_000_000])
def test_row_68_keys(shelved, caplog, monkeypatch, code, rows):
    """What a renewal mends is mended; what is final is said once, and quotes nothing of the answer."""
    monkeypatch.setattr("fstore.storage.bucket.place.IN_MEMORY_BYTES", 8 << 20)  # the longer one is sent in parts
    table = LARGE.slice(0, rows)
    status = 403 if code != "ExpiredToken" else 400
    refusal = faults.error(status, code, message=" ".join(SECRET_PARTS))
    may_renew = code in {"ExpiredToken", "InvalidAccessKeyId"}
    shelved.proxy.on("PUT", "entries/", answer=refusal, skip=1 if rows > 1000 else 0, times=1)
    if may_renew:
        found = publish(shelved.entries, table)
        assert shelved.entries.read(found).num_rows == table.num_rows
    else:
        with pytest.raises(S3Forbidden) as caught:
            publish(shelved.entries, table)
        assert not any(part in f"{caught.value}{caught.value!r}" for part in SECRET_PARTS)
        assert shelved.keys() == []
    assert shelved.bucket.uploads() == []
    found = publish(shelved.entries, some_table())
    shelved.proxy.on("GET", "entries/", answer=refusal)
    with pytest.raises(S3Unavailable) as refused:
        shelved.entries.read(found)
    told = f"{refused.value}{refused.value!r}{caplog.text}"
    assert not any(part in told for part in SECRET_PARTS)


@row(
    68,
    fault="credentials expire in the middle of an upload, are unknown, or may not do something",
    promise="found anew once; then a typed error, and no secret in any output",
)
def test_row_68_skewed_clock(shelved):
    """A host whose clock is off signs by the server's after the first refusal."""
    found = publish(shelved.entries, some_table())
    skewed = faults.error(403, "RequestTimeTooSkewed", date=datetime.now(UTC))
    shelved.proxy.on("GET", "entries/", answer=skewed, times=1)
    assert shelved.entries.read(found).equals(some_table())


@row(
    71,
    fault="a range is answered with 200, or the object is another by the next range",
    promise="an error, never mixed bytes",
    seconds=15,
)
@pytest.mark.parametrize("how", ["part as whole", "whole", "overwritten"])
def test_row_71_ranges(shelved, how):
    """Of a large entry, whose parts come side by side."""
    found = publish(shelved.entries, LARGE)
    assert found.file_size_bytes > 16 << 20
    if how == "overwritten":
        other = shelved.bucket.get(shelved.keys()[0])[::-1]
        shelved.proxy.on(
            "GET", "entries/", skip=1, times=1, before=lambda: shelved.bucket.put(shelved.keys()[0], other)
        )
    else:
        rewrite = faults.part_as_whole if how == "part as whole" else faults.whole_instead_of_part(b"x" * (8 << 20))
        shelved.proxy.on("GET", "entries/", rewrite_answer=rewrite)
    with pytest.raises((StorageUnavailable, EntryCorrupt)):
        shelved.entries.read(found)
