"""Many requests in one call: raw data fingerprinted once, few round trips, results as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

from fstore.client.answer import Delivery, deliver_many
from fstore.client.request import Question, identify, question, warn_of_other_source
from fstore.compute.raw_data import hold_raw, own_raw
from fstore.errors import FeatureStoreError
from fstore.features.keys import canonical_config, check_symbol
from fstore.features.unregistered import find_feature
from fstore.fingerprint.identification import Identified
from fstore.fingerprint.raw_input import RawInput
from fstore.model import Entry, Request
from fstore.resources import Resources
from fstore.results.forms import Returns
from fstore.runtime import deadline, tracing

PEEKED_AT_ONCE = 1000
STILL: tuple[type, ...] = (
    list,
    tuple,
    deque,
    type({}.values()),
)  # hold their items, and run nobody's code to give them


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
    asker = _Asker(resources, requests)
    asked_by: dict[int, Request] = {}
    questions: list[Question] = []
    refused: list[tuple[Request, FeatureStoreError]] = []
    for request in requests:
        try:
            with deadline.within(seconds - (time.monotonic() - began)):
                asked = asker.ask(request)
        except FeatureStoreError as error:
            if errors == "raise":
                raise
            refused.append((request, error))
            continue
        asked_by[id(asked)] = request
        questions.append(asked)
    left_s = seconds - (time.monotonic() - began)

    def answers() -> Iterator[tuple[Request, Any]]:
        yield from refused
        for delivery in _deliveries(resources, questions, left_s, progress=progress):
            try:
                yield asked_by[id(delivery.asked)], delivery.value(returns)
            except FeatureStoreError as error:
                if errors == "raise":
                    raise
                yield asked_by[id(delivery.asked)], error

    return answers()


def peek_many(resources: Resources, requests: Iterable[Request]) -> Iterator[tuple[Request, Entry | None]]:
    """Take all requests, then return an iterator of each with its live entry or None; see ``FeatureStore.peek_many``."""
    asker = _Asker(resources, requests, computes=False)
    waiting = iter([(request, asker.ask(request)) for request in requests])

    def answers() -> Iterator[tuple[Request, Entry | None]]:
        while chunk := list(islice(waiting, PEEKED_AT_ONCE)):
            found = resources.manifest.find_live_entries([asked.key for _, asked in chunk])
            for request, asked in chunk:
                entry = found.get(asked.key)
                if entry is not None:
                    warn_of_other_source(resources, asked.feature, entry)
                yield request, entry

    return answers()


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
    """Builds questions while requests are taken; raw data that several share are fingerprinted once, if nobody can touch them meanwhile.

    Between two requests of an iterator its own code runs, which may refill a buffer
    that it gave us before: raw data are looked at for each of them, and what will be
    computed from is copied at once. Nobody runs between the items of a list.
    """

    def __init__(self, resources: Resources, requests: Iterable[Request], *, computes: bool = True) -> None:
        self._resources = resources
        self._is_still = type(requests) in STILL
        self._computes = computes
        self._held: dict[int, tuple[object, RawInput, Identified]] = {}
        self._copies: dict[str, RawInput] = {}

    def ask(self, request: Request) -> Question:
        symbol = check_symbol(request.symbol)
        feature = find_feature(request.feature, self._resources.settings.on_unregistered)
        canonical = canonical_config(request.config)
        held, identified = self._take(request.raw_data)
        return question(symbol, held, canonical, feature, identified)

    def _take(self, raw: object) -> tuple[RawInput, Identified]:
        if self._is_still:
            if id(raw) not in self._held:
                held = hold_raw(raw, self._resources.settings)
                self._held[id(raw)] = raw, held, identify(self._resources, held)  # kept, so that its id stays its own
            return self._held[id(raw)][1:]
        held = hold_raw(raw, self._resources.settings)
        identified = identify(self._resources, held)
        if held.path is not None or not self._computes:
            return held, identified
        name = str(identified.fingerprint)
        if name not in self._copies:
            self._copies[name] = own_raw(held)
        return self._copies[name], identified
