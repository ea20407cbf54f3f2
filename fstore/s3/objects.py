"""What is told of an object beside its bytes, and how its bytes arrive.

In order, of one version, whatever breaks.
"""

from __future__ import annotations

import http.client
import re
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import pyarrow as pa

from fstore.s3.errors import ObjectChanged
from fstore.s3.sending.answers import LONGEST_ERROR, Refusal, raise_if_error

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class ObjectFacts(NamedTuple):
    """An object as its headers show it.

    ``modified_ns`` in whole seconds of the server's clock, 0 where it says none.
    """

    size_bytes: int
    etag: str
    version_id: str | None = None
    modified_ns: int = 0


class Fetched(NamedTuple):
    """Bytes of an object and what is told of it."""

    data: pa.Buffer
    facts: ObjectFacts


class Span(NamedTuple):
    """Bytes of an object: from ``offset`` on, ``length`` of them.

    An ``offset`` of minus ``length`` means its last ones.
    """

    offset: int
    length: int


def facts_of(headers: http.client.HTTPMessage, size_bytes: int) -> ObjectFacts:
    """Read what headers say of an object."""
    try:
        modified_ns = int(parsedate_to_datetime(headers.get("Last-Modified") or "").timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        modified_ns = 0
    version = headers.get("x-amz-version-id")
    return ObjectFacts(size_bytes, headers.get("ETag") or "", None if version == "null" else version, modified_ns)


def told_size(response: http.client.HTTPResponse) -> int:
    """Return the size that the head of an answer tells.

    Raises what a broken connection raises where it tells none.
    """
    told = response.headers.get("Content-Length") or "0"
    if not (told.isascii() and told.isdigit()):
        raise http.client.UnknownTransferEncoding
    return int(told)


class Arrival:
    """The bytes of an object, or of a part of it, as they come.

    What a broken connection left is asked for next.
    """

    def __init__(self, key: str, span: Span | None, pin: ObjectFacts | None) -> None:
        self._key, self._span, self._pin = key, span, pin
        self.forget()

    def forget(self) -> None:
        """Begin anew: what was told was not of the object."""
        self._facts = self._pin
        self._end: int | None = None
        self.received = 0

    @property
    def known(self) -> ObjectFacts:
        """What was told of the object; there was an answer."""
        if self._facts is None:
            raise ValueError("there was no answer")
        return self._facts

    def headers(self) -> dict[str, str]:
        """Return what asks for the bytes that are missing, of the version that is known."""
        headers = {}
        if self._span is not None and self._span.offset < 0:
            return {"Range": f"bytes=-{self._span.length}"}
        offset, end = (self._span.offset, self._span.offset + self._span.length) if self._span else (0, self._end)
        if self._span is not None or (self.received and end is not None):
            headers["Range"] = f"bytes={offset + self.received}-{(end or 0) - 1}"
        if self._facts is not None and self._facts.etag and not self._facts.version_id:
            headers["If-Match"] = self._facts.etag
        return headers

    def begin(self, response: http.client.HTTPResponse) -> int:
        """Look at an answer's head and return how many bytes follow.

        Raises ``ObjectChanged`` for those of anything else.
        """
        if response.length is None:
            raise http.client.UnknownTransferEncoding
        length = total = response.length
        if (asked := self.headers().get("Range")) is not None:
            if response.status != 206:
                self._refuse_error(response, length, response.headers.get("ETag") or "")
                raise ObjectChanged(self._key, "the store answers a range with something else; it cannot be relied on")
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range") or "")
            if found is None:
                raise ObjectChanged(self._key, "the store answers a range and does not say which")
            total = int(found[3])
            if self._span is not None and self._span.offset < 0:
                start = max(0, total - self._span.length)
                self._span = Span(start, total - start)
                asked = f"bytes={start}-{total - 1}"
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            if (int(found[1]), int(found[2])) != (first, min(last, total - 1)) or length != min(
                last + 1, total
            ) - first:
                raise ObjectChanged(self._key, "the store answers with another range than was asked for")
        facts = facts_of(response.headers, total)
        if self._facts is not None and (facts.size_bytes, facts.etag) != (self._facts.size_bytes, self._facts.etag):
            raise ObjectChanged(self._key, "parts of two versions")
        self._facts = self._facts or facts
        self._end = total if self._span is None else min(total, self._span.offset + self._span.length)
        return length

    def has_size(self, expected_bytes: int | None, response: http.client.HTTPResponse, left: int) -> bool:
        """Return whether the object has the size that it is known to have.

        Raises ``Refusal`` for an answer of another size that is none of the object: an error under status 200, or
        the page of somebody on the way, who knows no ETag.
        """
        if expected_bytes is None or self.known.size_bytes == expected_bytes:
            return True
        told = self.known
        self.forget()  # what an error is told with is none of the object
        self._refuse_error(response, left, told.etag)
        self._facts = told
        return False

    @staticmethod
    def _refuse_error(response: http.client.HTTPResponse, left: int, etag: str) -> None:
        raise_if_error(response.read() if left <= LONGEST_ERROR else b"", response.headers)
        if not etag:
            raise Refusal(502, "")

    def read_some(self, response: http.client.HTTPResponse, view: memoryview) -> int:
        """Read once what there is; 0 at the end of what came."""
        if response.fp is None or response.length is None:
            return 0
        # Not 'readinto', which waits for all that was asked for: what came before a break would be lost.
        count: int = response.fp.readinto1(view[: response.length])
        response.length -= count
        self.received += count
        return count
