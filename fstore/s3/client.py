"""A client of one bucket: the few requests that fstore makes, each within its caller's deadline."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from fstore.runtime.parallel import each_of
from fstore.s3.clock import ServerClock
from fstore.s3.errors import ObjectChanged, ObjectMissing, S3Unavailable
from fstore.s3.listing import Listed, Page, Upload, all_uploads, in_order, parse_page
from fstore.s3.objects import Arrival, Fetched, ObjectFacts, Span, facts_of, told_size
from fstore.s3.options import S3Options
from fstore.s3.ranges import Sink, fetch
from fstore.s3.sending.answers import raise_if_error
from fstore.s3.sending.requests import Count, Requests, nothing
from fstore.s3.streaming import stream
from fstore.s3.uploads import copy_in_parts, put_in_parts

PAGE = 1000
SHOWN_BYTES = 256 * 1024
"""What is shown to a sink at most at once: what was just received is still in the processor's cache."""
DELETIONS_AT_ONCE = 16
MOST_COPIED_AT_ONCE = 5 << 30
_COPY_BYTES_PER_CALL = 60 * 1_000_000  # a server may take a minute to copy a large object before it says so


class S3Client:
    """Objects of one bucket.

    Safe between threads, and in a child after a fork; nothing is opened before it is used.
    """

    def __init__(self, bucket: str, options: S3Options | None = None, *, count: Count | None = None) -> None:
        self._requests = Requests(bucket, options or S3Options(), count=count)
        self._clock = ServerClock(self._requests.location)

    @property
    def location(self) -> str:
        """The bucket as people write it."""
        return self._requests.location

    @property
    def counts(self) -> Mapping[str, int]:
        """What this process asked for, by kind."""
        return self._requests.counts

    @property
    def is_slowed_down(self) -> bool:
        """Whether the store asked for less within the last minute."""
        return self._requests.is_slowed_down

    def close(self) -> None:
        """Close what is idle."""
        self._requests.close()

    def get(
        self,
        key: str,
        span: Span | None = None,
        *,
        pin: ObjectFacts | None = None,
        expected_bytes: int | None = None,
        into: memoryview | None = None,
        fresh: bool = False,
        version: str | None = None,
        sink: Sink | None = None,
    ) -> Fetched:
        """Return an object or a part of it, by one request, of the version that is pinned, or has that id.

        Where the whole object is known to have ``expected_bytes`` and has not, no byte is
        read: what comes back is empty and tells the size. ``fresh`` asks over a new
        connection. ``into`` is where the bytes shall lie, of their size. ``sink`` is shown all bytes, once and
        in order, as they arrive. Raises ``ObjectMissing`` and ``ObjectChanged``.
        """
        if span is not None and span.length == 0:
            raise ValueError("a range of no bytes")
        arrival = Arrival(key, span, pin)
        buffer: pa.Buffer | None = None

        def read(response: http.client.HTTPResponse, *_: object) -> None:
            nonlocal buffer
            left = arrival.begin(response)
            if not arrival.has_size(expected_bytes, response, left):
                return
            if buffer is None:
                buffer = pa.allocate_buffer(left) if into is None else pa.py_buffer(into)
            view = (memoryview(buffer) if into is None else into)[arrival.received :]
            if len(view) != left:
                raise ObjectChanged(key, "the rest has another size than was told")
            try:
                while view and (count := arrival.read_some(response, view if sink is None else view[:SHOWN_BYTES])):
                    if sink is not None:
                        sink(view[:count])
                    view = view[count:]
            finally:
                self._requests.count("object_bytes_received", left - len(view))
            if view:
                raise http.client.IncompleteRead(b"", len(view))
            response.read()

        call = self._requests.new_call(span.length if span else expected_bytes or 0)
        try:
            self._requests.send(
                "get", "GET", key, read, query=_version(pin, version), headers=arrival.headers, call=call, fresh=fresh
            )
        except S3Unavailable as error:
            if span is not None and error.code == "InvalidRange":
                return Fetched(pa.py_buffer(b""), self.head(key))
            raise
        return Fetched(buffer if buffer is not None else pa.py_buffer(b""), arrival.known)

    def fetch(
        self, key: str, size_bytes: int | None = None, *, fresh: bool = False, sink: Sink | None = None
    ) -> Fetched:
        """Return a whole object: one request up to 16 MiB, ranges of 8 MiB of one version side by side above.

        ``sink`` is shown its bytes in order, while others are still on their way.
        """
        return fetch(self, key, size_bytes, fresh=fresh, sink=sink)

    def stream(self, key: str, sink: Sink, *, expected_bytes: int | None = None, fresh: bool = False) -> ObjectFacts:
        """Hand an object to ``sink`` piece by piece, by one request, however long the sink takes over each."""
        return stream(self._requests, key, sink, expected_bytes=expected_bytes, fresh=fresh)

    def head(self, key: str) -> ObjectFacts:
        """Return what is told of an object; raises ``ObjectMissing``."""

        def read(response: http.client.HTTPResponse, *_: object) -> ObjectFacts:
            size = told_size(response)
            response.read()
            return facts_of(response.headers, size)

        try:
            return self._requests.send("head", "HEAD", key, read)
        except S3Unavailable as error:
            if error.status != 404:
                raise
        # An answer without a body does not say what is missing: the object, or the bucket.
        self._requests.send("get", "GET", key, nothing, headers={"Range": "bytes=0-0"})
        return self._requests.send("head", "HEAD", key, read)

    def put(self, key: str, data: Any, *, only_new: bool = False, digest: str | None = None) -> ObjectFacts:
        """Put bytes under a name; durable when it returns.

        ``only_new``: ``ObjectChanged`` where servers know how. ``digest`` is the SHA-256 of the bytes where it is
        known.
        """
        body = memoryview(data).cast("B")
        headers = {"If-None-Match": "*"} if only_new else {}
        answered = self._requests.send("put", "PUT", key, nothing, headers=headers, body=body, digest=digest)
        return facts_of(answered, len(body))

    def put_large(self, key: str, data: Any) -> None:
        """Put bytes under a name in parts, four at once; all are there when it returns, or none."""
        put_in_parts(self._requests, key, memoryview(data).cast("B"))

    def delete(self, key: str) -> None:
        """Delete an object; one that is gone is no fault."""
        if not key.strip("/"):
            raise ValueError("no key: that would be the bucket")
        try:
            self._requests.send("delete", "DELETE", key, nothing)
        except ObjectMissing:
            return

    def delete_many(self, keys: Iterable[str]) -> int:
        """Delete objects, 16 at once, and return how many were asked for."""
        return sum(1 for _ in each_of(self.delete, keys, at_once=4 if self.is_slowed_down else DELETIONS_AT_ONCE))

    def copy(self, source: str, target: str, *, pin: ObjectFacts | None = None) -> None:
        """Have the store copy an object.

        Raises ``ObjectMissing``, and ``ObjectChanged`` when it is not the one pinned. Stores copy 5 GiB at once at
        most: a larger one, as far as the pin tells, goes in parts.
        """
        version = f"?versionId={quote(pin.version_id, safe='')}" if pin and pin.version_id else ""
        headers = {"x-amz-copy-source": quote(f"/{self._requests.bucket}/{source}", safe="/~") + version}
        if pin is not None and pin.etag:
            headers["x-amz-copy-source-if-match"] = pin.etag

        if pin is not None and pin.size_bytes > MOST_COPIED_AT_ONCE:

            def check() -> None:
                if not pin.version_id and self.head(source)[:2] != pin[:2]:
                    raise ObjectChanged(source, "another version is there")

            copy_in_parts(self._requests, target, headers, pin.size_bytes, check)
            return

        def read(response: http.client.HTTPResponse, *_: object) -> None:
            raise_if_error(response.read(), response.headers)

        self._requests.send(
            "copy", "PUT", target, read, headers=headers, call=self._requests.new_call(_COPY_BYTES_PER_CALL)
        )

    def list(self, prefix: str, *, start_after: str = "", page_size: int = PAGE) -> Iterator[list[Listed]]:
        """Give the objects below a prefix page by page, in order of their keys."""
        return in_order(self._pages(prefix, start_after, page_size), self.location)

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        """Give the uploads below a prefix that nobody finished."""
        query = {"uploads": "", "prefix": prefix, "max-uploads": str(PAGE)}

        def ask(markers: Mapping[str, str]) -> bytes:
            return self._requests.send("list", "GET", "", _body, query={**query, **markers})

        return all_uploads(ask, self.location)

    def abort_upload(self, key: str, upload_id: str) -> bool:
        """Give up an upload and free its parts; False when there is none."""
        try:
            self._requests.send("abort", "DELETE", key, nothing, query={"uploadId": upload_id})
        except ObjectMissing:
            return False
        return True

    def make_bucket(self) -> None:
        """Make the bucket unless it is there and this caller's own.

        For demos and tests: a team's bucket is its operators'.
        """
        try:
            self._requests.send("bucket", "PUT", "", nothing, body=memoryview(b""))
        except S3Unavailable as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def bucket_document(self, name: str) -> bytes | None:
        """Return how the bucket is set up in one respect, None where it is not.

        The respects are "versioning", "lifecycle", "object-lock".
        """
        try:
            return self._requests.send("bucket", "GET", "", _body, query={name: ""})
        except S3Unavailable as error:
            if error.code.startswith(("NoSuch", "ObjectLockConfigurationNotFound")) and error.code != "NoSuchBucket":
                return None
            raise

    def _dated(self, response: http.client.HTTPResponse, *_: object) -> bytes:
        """Read a listing.

        Raises ``S3Unavailable`` where its clock is another than that of the listing before.
        """
        self._clock.check(response.headers.get("Date"))
        return response.read()

    def _pages(self, prefix: str, start_after: str, page_size: int) -> Iterator[Page]:
        query = {"list-type": "2", "prefix": prefix, "max-keys": str(page_size), "encoding-type": "url"}
        if start_after:
            query["start-after"] = start_after
        while True:
            page = parse_page(self._requests.send("list", "GET", "", self._dated, query=query), self.location)
            yield page
            if page.token is None:
                return
            query["continuation-token"] = page.token


def _body(response: http.client.HTTPResponse, *_: object) -> bytes:
    return response.read()


def _version(pin: ObjectFacts | None, version: str | None) -> dict[str, str] | None:
    wanted = pin.version_id if pin and pin.version_id else version
    return {"versionId": wanted} if wanted else None
