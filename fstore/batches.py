"""Many requests in one call: raw data fingerprinted once, few round trips, results as they come."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from fstore import deadline, tracing
from fstore.answering import Delivery, Returns, deliver_many
from fstore.asking import Question, identify, question, warn_of_other_source
from fstore.errors import FeatureStoreError
from fstore.features import resolve
from fstore.fingerprint import Identified
from fstore.keys import canonical_config, check_symbol
from fstore.model import Entry, Request
from fstore.resources import Resources

PEEKED_AT_ONCE = 1000


def get_or_compute_many(
    resources: Resources,
    requests: Iterable[Request],
    *,
    seconds: float,
    returns: Returns,
    progress: bool,
    errors: Literal["raise", "return"],
) -> Iterator[tuple[Request, Any]]:
    """Yield ``(request, frame)`` as results come; see ``FeatureStore.get_or_compute_many``."""
    began = time.monotonic()
    asker = _Asker(resources)
    asked_by: dict[int, Request] = {}
    questions: list[Question] = []
    for request in list(requests):  # held, so that the id of a frame stays its own
        try:
            with deadline.within(seconds - (time.monotonic() - began)):
                asked = asker.ask(request)
        except FeatureStoreError as error:
            if errors == "raise":
                raise
            yield request, error
            continue
        asked_by[id(asked)] = request
        questions.append(asked)
    for delivery in _deliveries(resources, questions, seconds - (time.monotonic() - began), progress=progress):
        try:
            yield asked_by[id(delivery.asked)], delivery.value(returns)
        except FeatureStoreError as error:
            if errors == "raise":
                raise
            yield asked_by[id(delivery.asked)], error


def peek_many(resources: Resources, requests: Iterable[Request]) -> Iterator[tuple[Request, Entry | None]]:
    """Yield each request with the live entry that would answer it, or None; see ``FeatureStore.peek_many``."""
    asker = _Asker(resources)
    waiting = iter(list(requests))  # held, so that the id of a frame stays its own
    while chunk := list(islice(waiting, PEEKED_AT_ONCE)):
        questions = [asker.ask(request) for request in chunk]
        found = resources.manifest.find_live_entries([asked.key for asked in questions])
        for request, asked in zip(chunk, questions, strict=True):
            entry = found.get(asked.key)
            if entry is not None:
                warn_of_other_source(resources, asked.feature, entry)
            yield request, entry


def _deliveries(
    resources: Resources, questions: Sequence[Question], seconds: float, *, progress: bool
) -> Iterator[Delivery]:
    deliveries = deadline.each_within(deliver_many(resources, questions, seconds=seconds), seconds)
    deliveries = tracing.each("fstore.get_or_compute_many", deliveries, requests=str(len(questions)))
    if not progress:
        return deliveries
    from rich.progress import track  # noqa: PLC0415 a terminal library is no business of a trainer that shows no bar

    return iter(track(deliveries, description="features", total=len(questions)))


class _Asker:
    """Builds questions; raw data that several requests share are fingerprinted once."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._taken: dict[int, Identified] = {}

    def ask(self, request: Request) -> Question:
        symbol, feature = check_symbol(request.symbol), resolve(request.feature)
        canonical = canonical_config(request.config)
        identity = id(request.raw_data)
        if identity not in self._taken:
            self._taken[identity] = identify(self._resources, request.raw_data)
        return question(symbol, request.raw_data, canonical, feature, self._taken[identity])
