"""The object stores of the tests do what the product leans on, each as far as its kind goes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError


def test_objects_are_written_listed_read_and_deleted(make_bucket):
    """What was acknowledged is there at once, whole and in order."""
    bucket = make_bucket()
    for name in ("b/2", "a/1"):
        bucket.put(name, name.encode())
    assert bucket.keys() == ["a/1", "b/2"]
    assert bucket.keys("b/") == ["b/2"]
    assert bucket.get("a/1") == b"a/1"
    bucket.delete("a/1")
    assert bucket.get("a/1") is None


def test_one_of_many_wins_a_conditional_write(make_bucket):
    """The condition holds between writers that come at once."""
    bucket = make_bucket()

    def write(number: int) -> bool:
        try:
            bucket.client.put_object(Bucket=bucket.name, Key="STORE_ID", Body=str(number), IfNoneMatch="*")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412)
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1


def test_ranges_are_pinned(make_bucket):
    """A range comes as 206 of the version asked for, or not at all."""
    bucket = make_bucket()
    tag = bucket.put("a", b"0123456789")
    part = bucket.client.get_object(Bucket=bucket.name, Key="a", Range="bytes=2-4", IfMatch=tag)
    assert part["Body"].read() == b"234"
    assert part["ContentRange"] == "bytes 2-4/10"
    bucket.put("a", b"another one")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        bucket.client.get_object(Bucket=bucket.name, Key="a", Range="bytes=2-4", IfMatch=tag)


def test_a_versioned_bucket_keeps_what_was_overwritten(make_bucket):
    """An old version is read by its id."""
    bucket = make_bucket(versioned=True)
    old = bucket.client.put_object(Bucket=bucket.name, Key="a", Body=b"old")["VersionId"]
    bucket.put("a", b"new")
    assert bucket.get("a") == b"new"
    assert bucket.client.get_object(Bucket=bucket.name, Key="a", VersionId=old)["Body"].read() == b"old"


def test_radosgw_refuses_a_wrong_secret(radosgw):
    """Signatures count there."""
    bucket = radosgw.new_bucket()
    stranger = type(radosgw)(radosgw.kind, radosgw.endpoint, radosgw.key, "wrong").client()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.put_object(Bucket=bucket.name, Key="a", Body=b"x")
