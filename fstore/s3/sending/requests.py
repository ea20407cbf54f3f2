"""Sends one request until it is answered.

Signed, bounded by the caller's deadline, repeated where that can help.
"""

from __future__ import annotations

import hashlib
import http.client
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import quote

from fstore.runtime import deadline
from fstore.s3.errors import BreakerOpen, S3Unavailable
from fstore.s3.options import S3Options
from fstore.s3.sending.answers import Meaning, Refusal, raise_if_error, refusal_of
from fstore.s3.sending.breaker import Breaker
from fstore.s3.sending.proxies import NoWay
from fstore.s3.sending.signing import EMPTY, Signer
from fstore.s3.sending.wire import BROKEN, Call, Connection, Pool

T = TypeVar("T")

TRIES = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
SLOWEST_BYTES_PER_S = 1e6
MEANINGFUL_WAIT_S = 0.5  # a caller in a greater hurry says nothing about the store

Count = Callable[[str, int], None]
Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]
Read = Callable[[http.client.HTTPResponse, Connection, Call], T]


class Requests:
    """Requests to one bucket. Every one of them may be repeated: none says anything else the second time."""

    def __init__(self, bucket: str, options: S3Options, *, count: Count | None = None) -> None:
        self.bucket, self.options = bucket, options
        self._origin = options.origin(bucket)
        self.location = f"{self._origin.url}/{bucket}" if options.endpoint_url else f"s3://{bucket}"
        self._host = self._origin.host_header
        self._pool = Pool(self._origin, most=options.connections, ca_file=options.ca_file)
        self._signer = Signer(self.location, options.region, options.keys, patience_s=options.timeout_s)
        self._breaker = Breaker()
        self._count_elsewhere = count
        self.counts: Counter[str] = Counter()
        self._slow_until = 0.0

    @property
    def is_slowed_down(self) -> bool:
        """Whether the store asked for less within the last minute."""
        return time.monotonic() < self._slow_until

    def close(self) -> None:
        """Close what is idle."""
        self._pool.close()

    def count(self, name: str, n: int = 1) -> None:
        """Count for this process, and for whoever wants to know."""
        self.counts[name] += n
        if self._count_elsewhere is not None:
            self._count_elsewhere(name, n)

    def new_call(self, size_bytes: int = 0) -> Call:
        """Return the time that a call may take: what its caller has left, or a share for its size."""
        most = self.options.timeout_s + size_bytes / SLOWEST_BYTES_PER_S
        return Call(time.monotonic() + deadline.remaining(most), max(0.2, self.options.timeout_s / 2))

    def target(self, key: str, query: Mapping[str, str] | None = None) -> str:
        """Return the path of a key, with a query, as it is signed and sent."""
        path = f"{self._origin.path}/{quote(key, safe='/~')}" if key or not self._origin.path else self._origin.path
        if not query:
            return path
        return f"{path}?" + "&".join(f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in sorted(query.items()))

    def send(
        self,
        kind: str,
        method: str,
        key: str,
        read: Read[T],
        *,
        query: Mapping[str, str] | None = None,
        headers: Headers | None = None,
        body: memoryview | None = None,
        digest: str | None = None,
        call: Call | None = None,
        fresh: bool = False,
        expected: tuple[int, ...] = (200, 204, 206),
    ) -> T:
        """Send a request and return what ``read`` makes of its answer.

        ``read`` is called anew for each answer; what it raises as a broken connection, or
        as a ``Refusal`` worth another try, is tried again. Raises ``ObjectMissing`` and
        ``ObjectChanged``, else ``StorageUnavailable``.
        """
        call = call or self.new_call(len(body) if body is not None else 0)
        digest = digest or (EMPTY if body is None else hashlib.sha256(body).hexdigest())
        if not self._breaker.lets_pass():
            raise BreakerOpen(
                self.location, "it failed several times in a row; nothing was sent, try again in a few seconds"
            )
        is_patient = call.left_s >= min(MEANINGFUL_WAIT_S, self.options.timeout_s / 2)
        renewed = clock_set = False
        tries, reason = 0, ""
        cause: BaseException | None = None
        while True:
            if tries:
                self.count("object_retries")
            tries += 1
            pause_s: float | None = None
            try:
                found = self._once(kind, method, key, read, query, headers, body, digest, call, expected, fresh=fresh)
            except Refusal as refusal:
                cause, pause_s = refusal, refusal.retry_after_s
                reason = f"{refusal.status} {refusal.code}".strip()
                meaning = refusal.meaning
                if meaning is Meaning.SET_CLOCK and not clock_set and self._signer.set_clock(refusal.date):
                    clock_set, tries = True, tries - 1
                    continue
                if meaning is Meaning.RENEW_KEYS and not renewed:
                    self._signer.forget_keys()
                    renewed, tries = True, tries - 1
                    continue
                if meaning is not Meaning.TRY_AGAIN:
                    self._breaker.succeeded()  # it answers
                    raise refusal.as_error(key, self.location) from None
                if refusal.status in {429, 503}:
                    self._slow_until = time.monotonic() + 60
                    self.count("object_slowdowns")
            except BROKEN as error:
                cause, reason = error, _told(error)
                fresh = True  # what else is idle may be as dead
            else:
                self._breaker.succeeded()
                return found
            most = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**tries)
            pause_s = random.uniform(FIRST_PAUSE_S / 2, most) if pause_s is None else pause_s  # noqa: S311 no secret
            if tries >= TRIES or call.left_s <= pause_s:
                break
            time.sleep(pause_s)
        if is_patient and self._breaker.failed():
            self.count("object_breaker_opened")
        raise S3Unavailable(self.location, f"{kind} failed {tries} times, last: {reason}") from cause

    def _once(
        self,
        kind: str,
        method: str,
        key: str,
        read: Read[T],
        query: Mapping[str, str] | None,
        headers: Headers | None,
        body: memoryview | None,
        digest: str,
        call: Call,
        expected: tuple[int, ...],
        *,
        fresh: bool,
    ) -> T:
        target = self.target(key, query)
        given = {"Host": self._host, **(headers() if callable(headers) else headers or {})}
        if self.options.expected_bucket_owner:
            given["x-amz-expected-bucket-owner"] = self.options.expected_bucket_owner
        self._signer.sign(method, self._origin.url + target, given, digest)
        self.count(f"object_requests:{kind}")
        with self._way(call, fresh=fresh) as connection:
            response = connection.exchange(method, target, given, body, call)
            if body is not None:
                self.count("object_bytes_sent", len(body))
            try:
                if response.status not in expected:
                    raise refusal_of(response)
                return read(response, connection, call)
            finally:
                connection.finish(response)

    @contextmanager
    def _way(self, call: Call, *, fresh: bool) -> Iterator[Connection]:
        try:
            with self._pool.connection(call, fresh=fresh) as connection:
                yield connection
        except NoWay as error:
            raise S3Unavailable(self.location, str(error)) from error


def nothing(response: http.client.HTTPResponse, *_: object) -> http.client.HTTPMessage:
    """Read an answer that has no body, or one that says nothing but an error."""
    if body := response.read():
        raise_if_error(body, response.headers)
    return response.headers


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
