"""What object stores answer when they do not do what was asked, and what networks do to what they answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from tests.faults.harness.http_messages import Message
from tests.faults.harness.http_rules import Rewrite


def error_body(code: str, message: str = "") -> bytes:
    """Write an error as S3 does."""
    text = f"<Code>{code}</Code><Message>{message or code}</Message><RequestId>0123456789ABCDEF</RequestId>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()


def error(status: int, code: str, *, message: str = "", date: datetime | None = None, **headers: str) -> Message:
    """Make an error's answer; a header's underscores are dashes."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Message(
        f"HTTP/1.1 {status} {code}",
        [("Content-Type", "application/xml"), ("Date", http_date(date or datetime.now(UTC))), *named],
        error_body(code, message),
    )


def slow_down(*, retry_after: int | None = None) -> Message:
    """Make what a busy partition answers."""
    return error(503, "SlowDown", **({} if retry_after is None else {"Retry_After": str(retry_after)}))


def denied() -> Message:
    """Make what an account without the right gets; its message quotes what no log may show."""
    return error(403, "AccessDenied", message="User arn:aws:iam::123456789012:user/secretive is not authorized")


def missing_key() -> Message:
    """Make what is answered for an object that is not there."""
    return error(404, "NoSuchKey")


def missing_bucket() -> Message:
    """Make what is answered for a bucket that is not there."""
    return error(404, "NoSuchBucket")


def redirect(location: str = "http://127.0.0.1:9/elsewhere") -> Message:
    """Make what a bucket of another region answers."""
    return error(307, "TemporaryRedirect", Location=location)


def ok_with_error(code: str = "InternalError") -> Rewrite:
    """Say 200 over an error's body, as long operations of S3 do."""

    def rewrite(answer: Message) -> None:
        answer.first = "HTTP/1.1 200 OK"
        answer.set("Content-Type", "application/xml")
        answer.body = error_body(code)

    return rewrite


def page_of_somebody() -> Rewrite:
    """Say 200 over a page for people, as a login on the way does."""

    def rewrite(answer: Message) -> None:
        answer.first, answer.body = "HTTP/1.1 200 OK", b"<html>please log in</html>"
        answer.headers = [("Content-Type", "text/html")]

    return rewrite


def flipped_bit(at: int = -1) -> Rewrite:
    """Flip one bit of a body; in the middle unless told where."""

    def rewrite(message: Message) -> None:
        body = bytearray(message.body)
        if body:
            body[len(body) // 2 if at < 0 else at] ^= 1
        message.body = bytes(body)

    return rewrite


def body_of(other: bytes) -> Rewrite:
    """Answer with another object's bytes, padded or cut to the right length, as mixed-up connections do."""

    def rewrite(answer: Message) -> None:
        answer.body = (other * (len(answer.body) // max(len(other), 1) + 1))[: len(answer.body)]

    return rewrite


def shortened(left: int) -> Rewrite:
    """Say that a body is complete which is not."""

    def rewrite(answer: Message) -> None:
        answer.body = answer.body[:left]

    return rewrite


def whole_instead_of_part(body: bytes) -> Rewrite:
    """Answer 200 with everything where a range was asked for."""

    def rewrite(answer: Message) -> None:
        answer.first, answer.body = "HTTP/1.1 200 OK", body
        answer.drop("Content-Range")

    return rewrite


def part_as_whole(answer: Message) -> None:
    """Answer 200 with the range's bytes, as some servers do."""
    answer.first = "HTTP/1.1 200 OK"
    answer.drop("Content-Range")


def clock_off(by: timedelta) -> Rewrite:
    """Shift what the server says of time: the date of its answer, of objects in headers and in listings."""

    def rewrite(answer: Message) -> None:
        for name in ("Date", "Last-Modified"):
            if value := answer.header(name):
                answer.set(name, http_date(parsedate_to_datetime(value) + by))
        answer.body = _shifted(answer.body, by)

    return rewrite


def http_date(moment: datetime) -> str:
    """Write a moment as HTTP does."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _shifted(xml: bytes, by: timedelta) -> bytes:
    opening, closing = b"<LastModified>", b"</LastModified>"
    head, *rest = xml.split(opening)
    parts = [head]
    for piece in rest:
        stamp, _, tail = piece.partition(closing)
        moment = datetime.fromisoformat(stamp.decode().replace("Z", "+00:00")) + by
        parts.append(opening + moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3].encode() + b"Z" + closing + tail)
    return b"".join(parts)
