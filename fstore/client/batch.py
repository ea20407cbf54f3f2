"""Many requests in one call: raw data fingerprinted once, few round trips, results as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from fstore.client.read_through import answer_requests
from fstore.client.request import Answer, KeyedRequest, Preparation, warn_of_other_source
from fstore.entries import Returns, in_form
from fstore.errors import FeatureStoreError
from fstore.model import Entry, Request
from fstore.resources import Resources
from fstore.runtime import deadline, tracing

PEEKED_AT_ONCE = 1000
# Containers that hold their items, and run nobody's code to give them.
STILL: tuple[type, ...] = (list, tuple, deque, type({}.values()))


def get_or_compute_many(
    resources: Resources,
    requests: Iterable[Request],
    *,
    seconds: float,
    returns: Returns,
    progress: bool,
    errors: Literal["raise", "return"],
) -> Iterator[tuple[Request, Any]]:
    """Take all requests, then return an iterator of ``(request, frame)`` as results come; see ``FeatureStore.get_or_compute_many``."""
    began = time.monotonic()
    preparation = Preparation(resources, shares=_is_still(requests), copies=not _is_still(requests))
    request_of: dict[int, Request] = {}
    prepared: list[KeyedRequest] = []
    refused: list[tuple[Request, FeatureStoreError]] = []
    for request in requests:
        try:
            with deadline.within(seconds - (time.monotonic() - began)):
                keyed = _prepared(preparation, request)
        except FeatureStoreError as error:
            if errors == "raise":
                raise
            refused.append((request, error))
            continue
        request_of[id(keyed)] = request
        prepared.append(keyed)
    left_s = seconds - (time.monotonic() - began)

    def answers() -> Iterator[tuple[Request, Any]]:
        yield from refused
        for answer in _answers(resources, prepared, left_s, progress=progress):
            value: Any = answer.error
            if value is None:
                try:
                    value = in_form(answer.result, returns)
                except FeatureStoreError as error:
                    value = error
            if errors == "raise" and isinstance(value, FeatureStoreError):
                raise value
            yield request_of[id(answer.request)], value

    return answers()


def peek_many(resources: Resources, requests: Iterable[Request]) -> Iterator[tuple[Request, Entry | None]]:
    """Take all requests, then return an iterator of each with its live entry or None; see ``FeatureStore.peek_many``."""
    preparation = Preparation(resources, shares=_is_still(requests))
    waiting = iter([(request, _prepared(preparation, request)) for request in requests])

    def answers() -> Iterator[tuple[Request, Entry | None]]:
        while chunk := list(islice(waiting, PEEKED_AT_ONCE)):
            found = resources.manifest.find_live_entries([keyed.key for _, keyed in chunk])
            for request, keyed in chunk:
                entry = found.get(keyed.key)
                if entry is not None:
                    warn_of_other_source(resources.manifest, keyed.feature, entry)
                yield request, entry

    return answers()


def _answers(
    resources: Resources, requests: Sequence[KeyedRequest], seconds: float, *, progress: bool
) -> Iterator[Answer]:
    answers = deadline.each_within(answer_requests(resources, requests, seconds=seconds), seconds)
    answers = tracing.each("fstore.get_or_compute_many", answers, requests=str(len(requests)))
    if not progress:
        return answers
    from rich.progress import track  # noqa: PLC0415 a terminal library is no business of a trainer that shows no bar

    return iter(track(answers, description="features", total=len(requests)))


def _prepared(preparation: Preparation, request: Request) -> KeyedRequest:
    return preparation.prepare(request.symbol, request.raw_data, request.config, request.feature)


def _is_still(requests: Iterable[Request]) -> bool:
    """Tell whether nobody's code runs between two requests: that of an iterator may refill a buffer it gave before."""
    return type(requests) in STILL
