"""How many computations travel in one message: as many as take about a second together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fstore.broker.messages import ComputeRequest

CHUNK_WORTH_S = 1.0
MOST = 64
MOST_BYTES = 512 * 1024
OVERHEAD_S = 0.005  # what a computation costs beside itself: reading, writing, publishing
UNKNOWN_S = 0.25  # taken for a feature that nobody has computed yet
ENVELOPE_BYTES = 1024  # what a request holds beside its config


def in_chunks(requests: Sequence[ComputeRequest], *, per_item_s: float) -> Iterator[list[ComputeRequest]]:
    """Split requests into chunks worth about a second, none above 64; those that share raw data stand together.

    ``per_item_s`` is what one computation is expected to take. A chunk is computed by one
    worker process: long computations travel alone, so that all workers share them.
    """
    most = max(1, min(MOST, int(CHUNK_WORTH_S / (per_item_s + OVERHEAD_S))))
    chunk: list[ComputeRequest] = []
    size = 0
    for request in sorted(requests, key=lambda request: request.raw_data.path):
        weight = ENVELOPE_BYTES + len(request.canonical_config or "")
        if chunk and (len(chunk) == most or size + weight > MOST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += weight
    if chunk:
        yield chunk
