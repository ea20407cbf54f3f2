"""What is too large for one request goes in parts, or is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from blake3 import blake3

from fstore.errors import StorageUnavailable
from fstore.s3 import ObjectChanged, ObjectMissing, S3Client, buckets_of
from fstore.settings import gather_settings
from tests.faults.harness.http_faults import error
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket

MIB = 1 << 20
DATA = blake3(b"large").digest(length=12 * MIB + 17)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 11 MiB be too much for one copy."""
    monkeypatch.setattr("fstore.s3.client.MOST_COPIED_AT_ONCE", 11 * MIB)
    monkeypatch.setattr("fstore.s3.uploads.COPIED_AT_ONCE", 5 * MIB)


def client(bucket: Bucket, proxy: HttpProxy) -> S3Client:
    settings = gather_settings({**bucket.settings(endpoint=proxy.endpoint), "object_timeout_s": 10}, environ={})
    return buckets_of(settings).client(bucket.name)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("versioned", [False, True])
def test_a_copy_in_parts(make_bucket: Callable[..., Bucket], versioned):
    """All of it, of the version that was seen, and no upload left over."""
    bucket = make_bucket(versioned=versioned)
    bucket.put("a b/ö+", DATA)
    with HttpProxy(bucket.server.address) as proxy:
        asking = client(bucket, proxy)
        seen = asking.head("a b/ö+")
        assert (seen.version_id is not None) == versioned
        asking.copy("a b/ö+", "copy", pin=seen)
        assert asking.counts["object_requests:copy"] == 3
        assert bucket.get("copy") == DATA
        bucket.put("a b/ö+", DATA[::-1])
        if versioned:
            asking.copy("a b/ö+", "again", pin=seen)
            assert bucket.get("again") == DATA
        else:
            with pytest.raises((ObjectChanged, ObjectMissing)):  # radosgw says of a part that there is no such key
                asking.copy("a b/ö+", "again", pin=seen)
            assert bucket.get("again") is None
    assert bucket.uploads() == []


@pytest.mark.usefixtures("in_parts")
def test_a_copy_whose_part_fails(bucket: Bucket):
    """Tried again while that helps; else nothing of it stays."""
    bucket.put("one", DATA)
    with HttpProxy(bucket.server.address) as proxy:
        asking = client(bucket, proxy)
        proxy.on("PUT", "partNumber=2", answer=error(200, "InternalError"), times=1)
        asking.copy("one", "copy", pin=asking.head("one"))
        assert bucket.get("copy") == DATA
        proxy.on("PUT", "partNumber=2", answer=error(200, "InternalError"))
        with pytest.raises(StorageUnavailable):
            asking.copy("one", "other", pin=asking.head("one"))
    assert (bucket.keys(), bucket.uploads()) == (["copy", "one"], [])
