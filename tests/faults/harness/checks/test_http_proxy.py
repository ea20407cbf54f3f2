"""The object store's fault proxy does what its rules say, to requests of their kind and no others."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from botocore.exceptions import ClientError

from tests.faults.harness import http_faults as faults
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket

BODY = bytes(range(256)) * 400  # 102,400 bytes, more than a piece


class Plain:
    """A client that neither retries nor signs: of what the proxy sends it sees every byte."""

    def __init__(self, proxy: HttpProxy, bucket: Bucket) -> None:
        self.bucket, self.link = bucket.name, http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)

    def ask(self, method: str, key: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        self.link.request(method, f"/{self.bucket}/{key}", body, headers)
        return self.link.getresponse()

    def get(self, key: str = "a") -> bytes:
        return self.ask("GET", key).read()


@pytest.fixture
def proxy(ministack) -> Iterator[HttpProxy]:
    with HttpProxy(ministack.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy, bucket) -> Iterator[Plain]:
    """A client of a bucket with one object, through the proxy."""
    bucket.put("a", BODY)
    plain = Plain(proxy, bucket)
    yield plain
    plain.link.close()


def test_requests_pass_and_are_counted(proxy, client, bucket):
    """Over one connection, with their bodies, ranges and heads."""
    assert client.get() == BODY
    assert client.ask("PUT", "b", b"put").read() == b""
    assert bucket.get("b") == b"put"
    part = client.ask("GET", "a", Range="bytes=1-3")
    assert (part.status, part.read()) == (206, BODY[1:4])
    head = client.ask("HEAD", "a")
    assert (head.read(), head.headers["Content-Length"]) == (b"", str(len(BODY)))
    assert client.get() == BODY
    assert [one.method for one in proxy.requests] == ["GET", "PUT", "GET", "HEAD", "GET"]
    assert (proxy.seen("GET")[0].sent, proxy.seen("PUT")[0].received) == (len(BODY), 3)
    assert proxy.seen("GET")[1].header("range") == "bytes=1-3"
    assert proxy.connections == 1


def test_a_real_client_is_passed_on(proxy, make_bucket, object_server):
    """Signatures stay right, multipart and pages too, on each of the servers."""
    bucket = make_bucket()
    proxy.upstream = object_server.address
    through = object_server.client(proxy.endpoint)
    through.put_object(Bucket=bucket.name, Key="a", Body=BODY)
    assert through.get_object(Bucket=bucket.name, Key="a")["Body"].read() == BODY
    upload = through.create_multipart_upload(Bucket=bucket.name, Key="m")["UploadId"]
    tag = through.upload_part(Bucket=bucket.name, Key="m", UploadId=upload, PartNumber=1, Body=BODY)["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
    through.complete_multipart_upload(Bucket=bucket.name, Key="m", UploadId=upload, MultipartUpload=parts)
    assert [one["Key"] for one in through.list_objects_v2(Bucket=bucket.name)["Contents"]] == ["a", "m"]


def test_an_answer_instead_of_the_servers(proxy, client, bucket):
    """So many times, for the requests it names, and the server is not asked."""
    proxy.on("PUT", "/b", answer=faults.slow_down(retry_after=3), times=2)
    for _ in range(2):
        busy = client.ask("PUT", "b", b"x")
        assert (busy.status, busy.headers["Retry-After"], b"<Code>SlowDown<" in busy.read()) == (503, "3", True)
    assert bucket.get("b") is None
    assert client.get() == BODY
    assert client.ask("PUT", "b", b"x").status == 200


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (faults.denied(), 403, "AccessDenied"),
        (faults.missing_key(), 404, "NoSuchKey"),
        (faults.missing_bucket(), 404, "NoSuchBucket"),
        (faults.redirect(), 307, "TemporaryRedirect"),
    ],
)
def test_refusals_are_as_s3_writes_them(proxy, client, ministack, bucket, answer, status, code):
    """A real client reads their code."""
    proxy.on("GET", answer=answer)
    with pytest.raises(ClientError) as caught:
        ministack.client(proxy.endpoint).get_object(Bucket=bucket.name, Key="a")
    said = caught.value.response
    assert (said["ResponseMetadata"]["HTTPStatusCode"], said["Error"]["Code"]) == (status, code)


def test_the_answer_to_a_write_is_lost_after_it_happened(proxy, client, bucket):
    """The client sees a reset, the object is there."""
    proxy.on("PUT", lose_answer=True, times=1)
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        client.ask("PUT", "b", b"x")
    assert bucket.get("b") == b"x"


def test_a_write_is_cut_before_it_is_whole(proxy, client, bucket):
    """The server never has all of it."""
    proxy.on("PUT", cut_request_after=50_000, times=1)
    with pytest.raises((ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)):
        client.ask("PUT", "b", BODY)
    assert bucket.get("b") is None


@pytest.mark.parametrize("reset", [True, False])
def test_a_body_ends_early(proxy, client, reset):
    """After so many bytes, by a reset or by a clean end, which the length in the head shows."""
    proxy.on("GET", cut_after=70_000, reset=reset, times=1)
    got = b""
    with pytest.raises(ConnectionResetError if reset else http.client.IncompleteRead) as caught:
        answer = client.ask("GET", "a")
        while True:
            got += answer.read(10_000)
            if len(got) == 70_000 and not reset:
                answer.read()
    assert got + getattr(caught.value, "partial", b"") == BODY[: len(got)]
    client.link.close()
    assert client.get() == BODY


@pytest.mark.parametrize(
    ("rewrite", "body"),
    [
        (faults.flipped_bit(), BODY[: len(BODY) // 2] + bytes([BODY[len(BODY) // 2] ^ 1]) + BODY[len(BODY) // 2 + 1 :]),
        (faults.body_of(b"xyz"), (b"xyz" * len(BODY))[: len(BODY)]),
        (faults.shortened(10), BODY[:10]),
        (faults.ok_with_error(), faults.error_body("InternalError")),
    ],
    ids=["a flipped bit", "another key's bytes", "a short body that says it is whole", "an error that says 200"],
)
def test_what_comes_back_is_wrong(proxy, client, rewrite, body):
    """With status 200 and a length that fits."""
    proxy.on("GET", rewrite_answer=rewrite, times=1)
    answer = client.ask("GET", "a")
    assert (answer.status, answer.read()) == (200, body)
    assert client.get() == BODY


def test_a_body_is_changed_on_its_way_to_the_server(proxy, make_bucket, object_server):
    """ministack stores what it got, radosgw sees that it does not fit its signature."""
    bucket = make_bucket()
    proxy.upstream = object_server.address
    proxy.on("PUT", rewrite_request=faults.flipped_bit())
    through = object_server.client(proxy.endpoint)
    through.meta.events.register("before-sign.s3.PutObject", _sign_the_body)
    if object_server.kind == "ministack":
        through.put_object(Bucket=bucket.name, Key="a", Body=b"abc")
        assert bucket.get("a") == b"acc"
    else:
        with pytest.raises(ClientError, match="XAmzContentSHA256Mismatch"):
            through.put_object(Bucket=bucket.name, Key="a", Body=b"abc")
        assert bucket.get("a") is None


def _sign_the_body(request, **_):
    request.context["payload_signing_enabled"] = True


def test_a_body_drips(proxy, client):
    """At the rate told, and a healed route ends it."""
    proxy.on("GET", bytes_per_s=20_000, times=1)
    began = time.monotonic()
    answer = client.ask("GET", "a")
    assert answer.read(10_000) == BODY[:10_000]
    assert time.monotonic() - began > 0.4
    proxy.forward()
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        answer.read()


def test_nothing_comes_back(proxy, client):
    """A black hole swallows requests, and the server never sees them."""
    proxy.on("PUT", silent=True)
    client.link.timeout = 0.3
    with pytest.raises(TimeoutError):
        client.ask("PUT", "b", b"x")


def test_an_answer_comes_late(proxy, client):
    """The rest of it is as always."""
    proxy.on("GET", wait_s=0.3, times=1)
    began = time.monotonic()
    assert client.get() == BODY
    assert time.monotonic() - began >= 0.3


def test_the_servers_clock_is_off(proxy, client, ministack, bucket):
    """In the answer's date, in an object's, and in listings alike."""
    proxy.on(rewrite_answer=faults.clock_off(timedelta(days=-2)))
    answer = client.ask("GET", "a")
    answer.read()
    for name in ("Date", "Last-Modified"):
        assert timedelta(days=1, hours=23) < datetime.now(UTC) - parsedate_to_datetime(answer.headers[name])
    listed = ministack.client(proxy.endpoint).list_objects_v2(Bucket=bucket.name)["Contents"][0]["LastModified"]
    assert timedelta(days=1, hours=23) < datetime.now(UTC) - listed < timedelta(days=2, minutes=5)


def test_ranges_may_come_as_200(proxy, client):
    """With the range's bytes, or with everything."""
    proxy.on("GET", rewrite_answer=faults.part_as_whole, times=1)
    proxy.on("GET", rewrite_answer=faults.whole_instead_of_part(BODY), times=1)
    for body in (BODY[1:4], BODY):
        answer = client.ask("GET", "a", Range="bytes=1-3")
        assert (answer.status, answer.headers["Content-Range"], answer.read()) == (200, None, body)


def test_events_are_told_before_and_after_the_server_acted(proxy, client, bucket):
    """Whoever waits for a moment in a write can act in it."""
    told: list[bytes | None] = []
    proxy.on("PUT", before=lambda: told.append(bucket.get("b")), after=lambda: told.append(bucket.get("b")))
    client.ask("PUT", "b", b"x").read()
    assert told == [None, b"x"]


def test_the_store_goes_away_and_comes_back(proxy, client):
    """Connections end, new ones are refused; then it is back at the same address."""
    assert client.get() == BODY
    proxy.stop()
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        client.get()
    client.link.close()
    with pytest.raises(ConnectionRefusedError):
        client.get()
    proxy.start()
    client.link.close()
    assert client.get() == BODY
