"""Parts of one object: near ones by one request, all of one version."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from fstore.runtime.parallel import each_of
from fstore.s3 import ObjectFacts, S3Client, Span
from fstore.storage.interface import ByteRange

GAP_BYTES = 1 << 20
"""Bytes that nobody asked for are cheaper than another request up to here."""
AT_ONCE = 4


def read_parts(client: S3Client, key: str, ranges: Sequence[ByteRange]) -> tuple[list[pa.Buffer], ObjectFacts]:
    """Return the bytes of each range in the order asked for, and what is told of the object.

    None goes beyond its end.
    """
    spans = merged(ranges)
    if not spans:
        return [pa.py_buffer(b"")] * len(ranges), client.head(key)
    first = client.get(key, spans[0])
    data = {spans[0]: first.data}
    if all(span.offset + span.length <= first.facts.size_bytes for span in spans):
        rest = spans[1:]
        found = each_of(lambda span: client.get(key, span, pin=first.facts).data, rest, at_once=AT_ONCE)
        data.update(zip(rest, found, strict=True))
        return [_part(data, wanted) for wanted in ranges], first.facts
    return [], first.facts  # another size than the caller knows, which is what it will look at


def merged(ranges: Sequence[ByteRange]) -> list[Span]:
    """Return what to ask for: sorted, neighbours and what lies between them as one."""
    spans: list[Span] = []
    for offset, length in sorted(ranges):
        if not length:
            continue
        if spans and offset <= spans[-1].offset + spans[-1].length + GAP_BYTES:
            last = spans.pop()
            spans.append(Span(last.offset, max(last.length, offset + length - last.offset)))
        else:
            spans.append(Span(offset, length))
    return spans


def _part(data: dict[Span, pa.Buffer], wanted: ByteRange) -> pa.Buffer:
    if not wanted.length:
        return pa.py_buffer(b"")
    span = next(s for s in data if s.offset <= wanted.offset and wanted.offset + wanted.length <= s.offset + s.length)
    return data[span].slice(wanted.offset - span.offset, wanted.length)
