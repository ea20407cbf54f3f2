"""Whole large objects by ranges side by side, all of one version, into one buffer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import pyarrow as pa

from fstore.runtime.parallel import each_of
from fstore.s3.objects import Fetched, ObjectFacts, Span

IN_RANGES_FROM = 16 << 20
RANGE_BYTES = 8 << 20
RANGES_AT_ONCE = 4

Sink = Callable[[memoryview], object]


class Ranged(Protocol):
    """What gives objects and parts of them."""

    def get(
        self, key: str, span: Span | None = None, *, pin: ObjectFacts | None = None, expected_bytes: int | None = None,
        into: memoryview | None = None, fresh: bool = False, sink: Sink | None = None,
    ) -> Fetched: ...  # fmt: skip


def fetch(
    client: Ranged, key: str, size_bytes: int | None, *, fresh: bool = False, sink: Sink | None = None
) -> Fetched:
    """Return an object; where another size is there than was said, nothing of it but what is told of it."""
    if size_bytes is not None and size_bytes <= IN_RANGES_FROM:
        return client.get(key, expected_bytes=size_bytes, fresh=fresh, sink=sink)
    whole = None if size_bytes is None else pa.allocate_buffer(size_bytes)
    # The first one comes alone, for it says which version the others have to be of: it is the odd, small one.
    alone = (size_bytes or 0) % RANGE_BYTES or RANGE_BYTES
    into = None if whole is None else memoryview(whole)[:alone]
    first = client.get(key, Span(0, alone), expected_bytes=size_bytes, into=into, fresh=fresh, sink=sink)
    total = first.facts.size_bytes
    if (size_bytes is not None and total != size_bytes) or first.data.size == total:
        return first
    if whole is None:
        whole = pa.allocate_buffer(total)
        memoryview(whole)[: first.data.size] = memoryview(first.data)
    view = memoryview(whole)
    under_way = threading.Semaphore(RANGES_AT_ONCE)

    def fill(span: Span) -> memoryview:
        part = view[span.offset : span.offset + span.length]
        with under_way:
            client.get(key, span, pin=first.facts, into=part, fresh=fresh)
        return part

    spans = (Span(at, min(RANGE_BYTES, total - at)) for at in range(first.data.size, total, RANGE_BYTES))
    # More of them than are under way: where one takes its time, those behind it need not wait for it.
    for part in each_of(fill, spans, at_once=4 * RANGES_AT_ONCE):
        if sink is not None:
            sink(part)
    return Fetched(whole, first.facts)
