"""Whole large objects by ranges side by side, all of one version, into one buffer."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from fstore.runtime.parallel import each_of
from fstore.s3.objects import Fetched, ObjectFacts, Span

IN_RANGES_FROM = 16 << 20
RANGE_BYTES = 8 << 20
RANGES_AT_ONCE = 4


class Ranged(Protocol):
    """What gives objects and parts of them."""

    def get(
        self, key: str, span: Span | None = None, *, pin: ObjectFacts | None = None, expected_bytes: int | None = None,
        into: memoryview | None = None, fresh: bool = False,
    ) -> Fetched: ...  # fmt: skip


def fetch(client: Ranged, key: str, size_bytes: int | None, *, fresh: bool = False) -> Fetched:
    """Return an object; where another size is there than was said, nothing of it but what is told of it."""
    if size_bytes is not None and size_bytes <= IN_RANGES_FROM:
        return client.get(key, expected_bytes=size_bytes, fresh=fresh)
    whole = None if size_bytes is None else pa.allocate_buffer(size_bytes)
    into = None if whole is None else memoryview(whole)[:RANGE_BYTES]
    first = client.get(key, Span(0, RANGE_BYTES), expected_bytes=size_bytes, into=into, fresh=fresh)
    total = first.facts.size_bytes
    if (size_bytes is not None and total != size_bytes) or first.data.size == total:
        return first
    if whole is None:
        whole = pa.allocate_buffer(total)
        memoryview(whole)[: first.data.size] = memoryview(first.data)
    view = memoryview(whole)

    def fill(span: Span) -> None:
        client.get(key, span, pin=first.facts, into=view[span.offset : span.offset + span.length], fresh=fresh)

    spans = (Span(at, min(RANGE_BYTES, total - at)) for at in range(first.data.size, total, RANGE_BYTES))
    for _ in each_of(fill, spans, at_once=RANGES_AT_ONCE):
        pass
    return Fetched(whole, first.facts)
