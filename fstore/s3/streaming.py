"""An object piece by piece, for whoever takes time over each: only waiting for the store is bounded."""

from __future__ import annotations

import http.client
import math
import time

from fstore.runtime import deadline
from fstore.s3.objects import Arrival, ObjectFacts
from fstore.s3.ranges import Sink
from fstore.s3.sending.requests import SLOWEST_BYTES_PER_S, Requests
from fstore.s3.sending.wire import Call, Connection

PIECE = 1 << 20


def stream(requests: Requests, key: str, sink: Sink, *, expected_bytes: int | None, fresh: bool) -> ObjectFacts:
    """Hand an object's bytes to ``sink`` in order; of one that has not the expected size, none."""
    arrival = Arrival(key, None, None)
    call = requests.new_call()
    piece = bytearray(PIECE)
    sized = False

    def read(response: http.client.HTTPResponse, _: Connection, call: Call) -> None:
        nonlocal sized
        left = arrival.begin(response)
        if not arrival.has_size(expected_bytes, response, left):
            return
        if not sized:
            sized = True
            _extend(call, left / SLOWEST_BYTES_PER_S)
        while left:
            view = memoryview(piece)[: min(left, PIECE)]
            if not (count := arrival.read_some(response, view)):
                raise http.client.IncompleteRead(b"", left)
            left -= count
            requests.count("object_bytes_received", count)
            began = time.monotonic()
            sink(view[:count])
            _extend(call, time.monotonic() - began)
        response.read()

    requests.send("get", "GET", key, read, headers=arrival.headers, call=call, fresh=fresh)
    return arrival.known


def _extend(call: Call, seconds: float) -> None:
    call.ends_at = min(call.ends_at + seconds, time.monotonic() + deadline.remaining(math.inf))
