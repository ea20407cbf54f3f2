"""A trainer's question in, a verified frame out: the hit path, and what follows a miss."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.client import local_compute
from fstore.client.fallback import Answer
from fstore.client.request import Question, warn_of_other_source
from fstore.client.singleflight import Flight
from fstore.compute.raw_data import Taker
from fstore.entries import read_entry
from fstore.errors import EntryCorrupt, FeatureStoreError, ManifestUnavailable, StorageUnavailable, VersionMismatch
from fstore.model import Locator, Status
from fstore.resources import Resources
from fstore.results.codec import hand_out_frame
from fstore.results.forms import FORMS, Returns
from fstore.runtime import deadline
from fstore.storage.local_cache import Mapped

MOST_WRONG = 3  # an entry that is found wrong is computed again, but not for ever


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a question came to: a table or bare result, or an error; and how."""

    asked: Question
    status: Status
    result: Any = None
    error: FeatureStoreError | None = None

    def value(self, returns: Returns) -> Any:
        """Return the frame in the wanted form, or raise the error."""
        if self.error is not None:
            raise self.error
        return in_form(self.result, returns)


def in_form(result: Any, returns: Returns) -> Any:
    """Return a table, a mapped entry or a bare result in the form that is wanted."""
    form = FORMS[returns]
    return result.in_form(form) if isinstance(result, Mapped) else form.of_result(result)


def deliver(resources: Resources, asked: Question, *, seconds: float) -> Delivery:
    """Answer one question within ``seconds``."""
    with deadline.within(seconds):
        return next(deliver_many(resources, [asked], seconds=seconds))


def deliver_many(resources: Resources, questions: Sequence[Question], *, seconds: float) -> Iterator[Delivery]:
    """Answer questions as their results come, hits first; equal questions are computed once and answered each.

    An entry that turns out wrong when it is read is hidden and asked for again.
    """
    began = time.monotonic()
    ends_at = began + seconds
    waiting: dict[str, list[Question]] = {}
    for asked in questions:
        waiting.setdefault(asked.key, []).append(asked)
    open_keys = {key: same[0] for key, same in waiting.items()}
    known_missing = yield from _hits(resources, open_keys, waiting)
    if open_keys:
        resources.recorder.count("cache_misses", sum(len(waiting[key]) for key in open_keys))
    wrong: Counter[str] = Counter()
    while open_keys:
        left_s = ends_at - time.monotonic()
        flight = Flight(resources, open_keys.values(), seconds=left_s, known_missing=known_missing)
        known_missing = False
        for answer in flight.answers():
            read = _read(resources, answer)
            if read is None:
                wrong[answer.asked.key] += 1
                if wrong[answer.asked.key] < MOST_WRONG:
                    continue
                fault = f"was found wrong {MOST_WRONG} times in a row; check the store's disk"
                read = Delivery(answer.asked, answer.status, error=EntryCorrupt(answer.asked.key, "its file", fault))
            del open_keys[answer.asked.key]
            unconcerned = _set_apart(read, waiting)
            resources.recorder.took("miss_seconds", time.monotonic() - began)
            if answer.locator is not None and read.error is None:
                _compare_sources(resources, waiting[answer.asked.key], answer.locator)
            yield from _each(read, waiting)
            if unconcerned:
                waiting[answer.asked.key], open_keys[answer.asked.key] = unconcerned, unconcerned[0]


def _hits(
    resources: Resources, open_keys: dict[str, Question], waiting: dict[str, list[Question]]
) -> Generator[Delivery, None, bool]:
    """Yield what is there; returns whether the manifest said that the rest is not."""
    began = time.monotonic()
    try:
        found = (
            resources.manifest.find_live_many(list(open_keys))
            if len(open_keys) > 1
            else {key: entry for key in open_keys if (entry := resources.manifest.find_live(key)) is not None}
        )
        looked_s = (time.monotonic() - began) / max(1, len(found))
        for key, entry in found.items():
            began = time.monotonic()
            table = read_entry(resources, entry)
            if table is not None:
                resources.recorder.took("hit_seconds", looked_s + time.monotonic() - began)
                resources.recorder.count("cache_hits", len(waiting[key]))
                _compare_sources(resources, waiting[key], entry)
                yield from _each(Delivery(open_keys.pop(key), Status.HIT, table), waiting)
    except ManifestUnavailable:
        return False  # the flight decides what to do without Postgres
    except StorageUnavailable as error:
        for delivery in _without_store(resources, open_keys, error):
            yield from _each(delivery, waiting)
    return True


def _compare_sources(resources: Resources, askers: Sequence[Question], found: Locator) -> None:
    """Of several who ask for one key each has a function of its own, whose source may differ."""
    for asked in askers:
        warn_of_other_source(resources, asked.feature, found)


def _set_apart(read: Delivery, waiting: dict[str, list[Question]]) -> list[Question]:
    """Take out, when a worker refused the source of the one who was asked for, those who share the key but not that source."""
    if not isinstance(read.error, VersionMismatch):
        return []
    refused, alike, others = read.asked.feature, list[Question](), list[Question]()
    for asked in waiting[read.asked.key]:
        is_alike = (asked.feature.source_digest, asked.feature.input) == (refused.source_digest, refused.input)
        (alike if is_alike else others).append(asked)
    waiting[read.asked.key] = alike
    return others


def _without_store(
    resources: Resources, open_keys: dict[str, Question], error: StorageUnavailable
) -> Iterator[Delivery]:
    """The folder cannot be read: compute here and keep nothing, as long as the settings allow it."""
    for key, asked in list(open_keys.items()):
        del open_keys[key]
        yield _computed_here(resources, asked, error)


def _read(resources: Resources, answer: Answer) -> Delivery | None:
    if answer.error is not None:
        return Delivery(answer.asked, answer.status, error=answer.error)
    if answer.locator is None:
        return Delivery(answer.asked, answer.status, answer.result)
    try:
        is_own = answer.status is Status.COMPUTED
        table: pa.Table | Mapped | None = read_entry(resources, answer.locator, is_own=is_own)
    except (ManifestUnavailable, StorageUnavailable) as error:
        return _computed_here(resources, answer.asked, error)
    if table is None:
        return None
    if answer.status is Status.COALESCED:
        resources.recorder.count("coalesced")
    return Delivery(answer.asked, answer.status, table)


def _computed_here(resources: Resources, asked: Question, cause: FeatureStoreError) -> Delivery:
    if resources.settings.on_unavailable != "compute":
        return Delivery(asked, Status.COALESCED, error=cause)
    resources.recorder.degraded("store folder", str(cause))
    try:
        seconds = deadline.remaining(resources.settings.request_timeout_s)
        return Delivery(asked, Status.COMPUTED, local_compute.compute_only(asked, Taker(), seconds=seconds))
    except FeatureStoreError as error:
        return Delivery(asked, Status.COMPUTED, error=error)


def _each(delivery: Delivery, waiting: dict[str, list[Question]]) -> Iterator[Delivery]:
    *others, last = waiting[delivery.asked.key]
    for asked in others:
        result = delivery.result
        if isinstance(
            result, pd.DataFrame
        ):  # computed here: whoever gets his first may have changed it before the next
            result = hand_out_frame(result, deep=True)
        yield Delivery(asked, delivery.status, result, delivery.error)
    yield Delivery(last, delivery.status, delivery.result, delivery.error)
