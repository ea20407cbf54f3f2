"""What a refusal means: missing only by its code, and no text of a store in any error."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email.message import Message
from http.client import HTTPMessage

import pytest

from fstore.errors import StorageFull, StorageUnavailable
from fstore.runtime import deadline
from fstore.s3 import (
    BreakerOpen,
    Keys,
    ObjectChanged,
    ObjectMissing,
    S3Client,
    S3Forbidden,
    S3Options,
    S3Unavailable,
)
from fstore.s3.sending.answers import Meaning, parse_refusal
from fstore.s3.sending.breaker import FAILURES, Breaker


def headers(**given: str) -> HTTPMessage:
    made = HTTPMessage()
    for name, value in given.items():
        made[name.replace("_", "-")] = value
    assert isinstance(made, Message)
    return made


def body(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>AKIASECRET</Message><Region>eu-west-1</Region></Error>".encode()


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (404, body("NoSuchKey"), ObjectMissing),
        (404, body("NoSuchVersion"), ObjectMissing),
        (404, body("NoSuchUpload"), ObjectMissing),
        (404, body("NoSuchBucket"), S3Unavailable),
        (404, b"<html>not found</html>", S3Unavailable),
        (404, b"", S3Unavailable),
        (403, body("AccessDenied"), S3Forbidden),
        (401, b"", S3Forbidden),
        (412, body("PreconditionFailed"), ObjectChanged),
        (412, b"", ObjectChanged),
        (507, b"", StorageFull),
        (403, body("QuotaExceeded"), StorageFull),
        (400, body("InvalidRequest"), S3Unavailable),
        (301, body("PermanentRedirect"), S3Unavailable),
    ],
)
def test_each_refusal_has_its_error(status: int, answer: bytes, kind: type[Exception]) -> None:
    """An outage, a proxy's page and a lost bucket never say that an object is missing."""
    error = parse_refusal(status, answer, headers()).as_error("entries/ab/x", "s3://b")
    assert type(error) is kind
    assert "AKIASECRET" not in f"{error!r} {error}"
    assert isinstance(error, StorageUnavailable) != (kind in (ObjectMissing, ObjectChanged))
    if status == 301:
        assert "eu-west-1" in str(error)


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (503, "SlowDown", Meaning.TRY_AGAIN),
        (500, "", Meaning.TRY_AGAIN),
        (409, "ConditionalRequestConflict", Meaning.TRY_AGAIN),
        (400, "XAmzContentSHA256Mismatch", Meaning.TRY_AGAIN),
        (400, "ExpiredToken", Meaning.RENEW_KEYS),
        (403, "InvalidAccessKeyId", Meaning.RENEW_KEYS),
        (403, "", Meaning.RENEW_KEYS),  # to HEAD, whose answers have no body
        (403, "RequestTimeTooSkewed", Meaning.SET_CLOCK),
        (403, "AccessDenied", Meaning.FINAL),
        (404, "NoSuchKey", Meaning.FINAL),
        (412, "PreconditionFailed", Meaning.FINAL),
        (507, "XMinioStorageFull", Meaning.FINAL),
    ],
)
def test_what_is_tried_again(status: int, code: str, meaning: Meaning) -> None:
    """Only what another try can mend."""
    assert parse_refusal(status, body(code) if code else b"", headers()).meaning is meaning


def test_a_server_says_when_to_come_again() -> None:
    """In seconds; what is no number says nothing."""
    assert parse_refusal(503, b"", headers(Retry_After="7")).retry_after_s == 7
    assert parse_refusal(503, b"", headers(Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")).retry_after_s is None


def test_keys_are_not_shown() -> None:
    """In no representation."""
    assert "hidden" not in repr(Keys("id", "hidden", "hidden"))


def test_after_failures_in_a_row_one_tries_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others fail at once until that one came back."""
    now = [100.0]
    monkeypatch.setattr("fstore.s3.sending.breaker.time.monotonic", lambda: now[0])
    breaker = Breaker()
    assert [breaker.failed() for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    assert not breaker.lets_pass()
    now[0] += 5.1
    assert [breaker.lets_pass() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert breaker.lets_pass()
    assert issubclass(BreakerOpen, StorageUnavailable)


@pytest.fixture
def silent_store() -> Iterator[S3Client]:
    """A client of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield S3Client("bucket", S3Options(endpoint_url=address, keys=lambda: Keys("id", "secret"), timeout_s=0.4))


def test_callers_in_a_hurry_say_nothing_about_the_store(silent_store: S3Client) -> None:
    """Some deadlines that are nearly over must not have all others of this process fail at once."""
    for _ in range(2 * FAILURES):
        with deadline.within(0.05), pytest.raises(S3Unavailable, match="get failed"):
            silent_store.get("key")
    for _ in range(FAILURES):
        with pytest.raises(S3Unavailable, match="get failed"):
            silent_store.get("key")
    with pytest.raises(BreakerOpen, match="nothing was sent"):
        silent_store.get("key")
