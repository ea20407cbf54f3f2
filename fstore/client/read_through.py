"""Keyed requests in, verified results out: the hit path, and what follows a miss."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from fstore import lazy
from fstore.client.batches.ahead import Begun
from fstore.client.request import Answer, KeyedRequest, concerning, warn_of_other_source
from fstore.entries import read_wanted
from fstore.errors import EntryCorrupt, InvalidRequest, ManifestUnavailable, StorageUnavailable, VersionMismatch
from fstore.features import LocalFeature, registered_features
from fstore.model import Locator, Status
from fstore.projection import Selection
from fstore.resources import Resources
from fstore.results import encode_result, hand_out_frame
from fstore.runtime import deadline, tracing
from fstore.storage import MappedEntry

if TYPE_CHECKING:
    from fstore.client.local_compute import LocalComputing
    from fstore.client.miss_rules import without_store
    from fstore.client.misses import answer_misses, rules_of, start_misses
    from fstore.client.partitions.segments import Composing, covered, owned
else:  # loaded by the first miss: most trainers only hit
    globals().update(lazy.functions("fstore.client.local_compute", "LocalComputing"))
    globals().update(lazy.functions("fstore.client.miss_rules", "without_store"))
    globals().update(lazy.functions("fstore.client.misses", "answer_misses rules_of start_misses"))
    globals().update(lazy.functions("fstore.client.partitions.segments", "Composing covered owned"))

MOST_WRONG = 3  # an entry that is found wrong is computed again, but not for ever


def answer_request(
    resources: Resources, request: KeyedRequest, *, seconds: float, wanted: Selection | None = None
) -> Answer:
    """Answer one request within ``seconds``."""
    if request.segments:
        return _answer_in_parts(resources, request, seconds, wanted)
    with deadline.within(seconds):
        reading = _ReadThrough(resources, [request], seconds, wanted)
        return reading.hit() or next(reading.misses())


def answer_requests(
    resources: Resources,
    requests: Sequence[KeyedRequest],
    *,
    seconds: float,
    wanted: Selection | None = None,
    begun: Begun | None = None,
) -> Iterator[Answer]:
    """Answer requests as their results come, hits first; equal ones are computed once and answered each.

    An entry that turns out wrong when it is read is hidden and asked for again. ``wanted`` is the part of each that is read.
    ``begun`` says what was looked for and begun already.
    """
    composing = Composing(requests, wanted)
    reading = _ReadThrough(resources, composing.parts, seconds, wanted)
    reading.begun = begun or reading.begun
    for answer in chain(reading.hits(), reading.covered(), reading.misses()):
        if (whole := composing.take(answer)) is not None:
            yield whole


def _answer_in_parts(resources: Resources, request: KeyedRequest, seconds: float, wanted: Selection | None) -> Answer:
    """Answer a request whose feature declares partitions, when all of its segments have their answers."""
    with deadline.within(seconds):
        (answer,) = answer_requests(resources, [request], seconds=seconds, wanted=wanted)
        return answer


def start_request(resources: Resources, request: KeyedRequest, *, seconds: float) -> KeyedRequest:
    """Have a request computed without waiting: by a worker, or a local feature by a thread here."""
    if not isinstance(request.feature, LocalFeature):
        start_misses(resources, request.segments or [request], seconds=seconds)
        return request
    own_request = owned(request)  # the caller goes on, and may write to them

    def act() -> None:
        answer_request(resources, own_request, seconds=seconds)

    threading.Thread(target=tracing.carried(act), daemon=True).start()
    return own_request


def load_answered(resources: Resources, key: str, path: str, wanted: Selection | None = None) -> pa.Table | MappedEntry:
    """Read the entry that a task answered with, verified like every read; raises ``EntryCorrupt``."""
    entry = resources.manifest.find_live_entries([key]).get(key)
    if entry is None:
        raise EntryCorrupt(key, path, "is no longer in the manifest; ask for it again")
    result = read_wanted(resources, entry.locator, wanted)
    if result is None:
        raise EntryCorrupt(key, entry.path, "was found wrong and is hidden now; ask for it again")
    feature = registered_features().get(entry.parts.feature)
    if feature is not None and feature.version == entry.parts.feature_version:
        warn_of_other_source(resources.manifest, feature, entry)
    return result


class _ReadThrough:
    """The requests of one call by their keys; those of one key share its answer."""

    def __init__(
        self, resources: Resources, requests: Sequence[KeyedRequest], seconds: float, wanted: Selection | None
    ) -> None:
        self._resources, self._wanted, self.begun = resources, wanted, Begun()
        self._began = time.monotonic()
        self._ends_at = self._began + deadline.at_most(seconds)
        self._sharing: dict[str, list[KeyedRequest]] = {}
        for request in requests:
            self._sharing.setdefault(request.key, []).append(request)
        self._open = {key: same[0] for key, same in self._sharing.items()}
        self._known_missing = False  # whether the manifest said that what is open has no entry

    def hits(self) -> Iterator[Answer]:
        """Answer what has an entry."""
        try:
            found: Mapping[str, Locator | None] = dict.fromkeys(self._open)
            if len(found) > 1:
                found = self.begun.find(self._resources.manifest, list(found))
            looked_s = (time.monotonic() - self._began) / max(1, len(found))
            for key, entry in found.items():
                yield from self._hits_of(key, entry, looked_s)
            self._known_missing = True
        except ManifestUnavailable:
            return  # what follows a miss decides what to do without Postgres
        except StorageUnavailable as error:
            yield from self._all_computed_here(error)

    def hit(self) -> Answer | None:
        """Do what ``hits`` does for the only request there is.

        A generator would have to be closed on every hit.
        """
        (request,) = self._open.values()
        try:
            answers = self._hits_of(request.key, None, time.monotonic() - self._began)
            self._known_missing = True
        except ManifestUnavailable:
            return None
        except StorageUnavailable as error:
            answers = list(self._all_computed_here(error))
        return answers[0] if answers else None

    def covered(self) -> Iterator[Answer]:
        """Answer segments that have no entry by others that hold all of their partitions."""
        if all(getattr(request, "task", None) is None for request in self._open.values()):
            return
        try:
            for key, held, result in covered(self._resources, dict(self._open), self._wanted):
                sharing = self._sharing[key]
                self._resources.recorder.count("cache_hits", len(sharing))
                self._resources.recorder.count("segments_covered", len(sharing))
                del self._open[key]
                for request in sharing:
                    if request.feature.source_digest != held.entry.source_digest:
                        warn_of_other_source(self._resources.manifest, request.feature, held.entry)
                    if isinstance(result, InvalidRequest):
                        yield Answer(request, Status.HIT, held.entry, error=result)
                    else:
                        yield Answer(request, Status.HIT, held.entry, result)
        except (ManifestUnavailable, StorageUnavailable):
            return  # what follows a miss decides what to do without

    def misses(self) -> Iterator[Answer]:
        """Answer the rest: computed now, by whoever leads."""
        if not self._open:
            return
        recorder, wrong = self._resources.recorder, Counter[str]()
        recorder.count("cache_misses", sum(len(self._sharing[key]) for key in self._open))
        while self._open:
            left_s = self._ends_at - time.monotonic()
            known_missing, self._known_missing = self._known_missing, False
            begun, self.begun = self.begun, Begun()
            for found in answer_misses(
                self._resources, self._open.values(), seconds=left_s, known_missing=known_missing, begun=begun
            ):
                key, answer = found.request.key, self._read(found)
                if answer is None:
                    wrong[key] += 1
                    if wrong[key] < MOST_WRONG:
                        continue
                    fault = f"was found wrong {MOST_WRONG} times in a row; check the store's disk"
                    answer = Answer(found.request, found.status, error=EntryCorrupt(key, "its file", fault))
                del self._open[key]
                unconcerned = self._set_apart(answer)
                recorder.took("miss_seconds", time.monotonic() - self._began)
                if found.entry is not None and answer.error is None:
                    self._compare_sources(key, found.entry)
                yield from self._to_each(answer)
                if unconcerned:
                    self._sharing[key], self._open[key] = unconcerned, unconcerned[0]

    def _hits_of(self, key: str, entry: Locator | None, looked_s: float) -> list[Answer]:
        """Read an entry and answer all who share its key; none when it turns out wrong.

        It is looked for first unless it is given.
        """
        recorder, began = self._resources.recorder, time.monotonic()
        if entry is None and (entry := self._resources.manifest.find_live(key)) is None:
            return []
        try:
            result, refusal = read_wanted(self._resources, entry, self._wanted), None
        except InvalidRequest as error:  # of columns that it has not
            result, refusal = None, error
        if result is None and refusal is None:
            return []
        recorder.took("hit_seconds", looked_s + time.monotonic() - began)
        sharing = self._sharing[key]
        recorder.count("cache_hits", len(sharing))
        del self._open[key]
        answers = list[Answer]()
        for request in sharing:
            if request.feature.source_digest != entry.source_digest:
                warn_of_other_source(self._resources.manifest, request.feature, entry)
            answers.append(Answer(request, Status.HIT, entry, result, refusal))
        return answers

    def _all_computed_here(self, cause: StorageUnavailable) -> Iterator[Answer]:
        for key, request in list(self._open.items()):
            del self._open[key]
            yield from self._to_each(self._computed_here(request, cause))

    def _read(self, found: Answer) -> Answer | None:
        """Read the entry of an answer that has one; None when it turns out wrong."""
        if found.entry is None:
            return found if self._wanted is None or found.error is not None else self._part_of(found, self._wanted)
        try:
            is_own = found.status is Status.COMPUTED
            result = read_wanted(self._resources, found.entry, self._wanted, is_own=is_own)
        except InvalidRequest as error:
            return Answer(found.request, found.status, found.entry, error=error)
        except (ManifestUnavailable, StorageUnavailable) as error:
            return self._computed_here(found.request, error)
        if result is None:
            return None
        if found.status is Status.COALESCED:
            self._resources.recorder.count("coalesced")
        return Answer(found.request, found.status, found.entry, result)

    def _part_of(self, answer: Answer, wanted: Selection) -> Answer:
        """Take the part that is wanted out of a result that was computed here and has no entry."""
        try:
            return replace(answer, result=wanted.of(encode_result(answer.result)))
        except InvalidRequest as error:
            return replace(answer, result=None, error=error)

    def _computed_here(self, request: KeyedRequest, cause: ManifestUnavailable | StorageUnavailable) -> Answer:
        """The folder cannot be read: compute here and keep nothing, as long as the settings allow it."""
        from fstore.client.miss_events import Give  # noqa: PLC0415 see above

        action = without_store(request, "store folder", cause, rules_of(self._resources))
        if isinstance(action, Give):
            return action.answer
        seconds = deadline.remaining(self._resources.settings.request_timeout_s)
        answer = LocalComputing(self._resources).unstored(request, action.mode, action.why, seconds=seconds)
        return answer if self._wanted is None or answer.error is not None else self._part_of(answer, self._wanted)

    def _compare_sources(self, key: str, found: Locator) -> None:
        """Of several who ask for one key each has a function of its own, whose source may differ."""
        for request in self._sharing[key]:
            warn_of_other_source(self._resources.manifest, request.feature, found)

    def _set_apart(self, answer: Answer) -> list[KeyedRequest]:
        """Take out those who share a key but not the source that a worker refused.

        Refused was the source of the one who was asked for.
        """
        if not isinstance(answer.error, VersionMismatch):
            return []
        key, refused = answer.request.key, answer.request.feature
        alike, others = list[KeyedRequest](), list[KeyedRequest]()
        for request in self._sharing[key]:
            is_alike = (request.feature.source_digest, request.feature.input) == (refused.source_digest, refused.input)
            (alike if is_alike else others).append(request)
        self._sharing[key] = alike
        return others

    def _to_each(self, answer: Answer) -> Iterator[Answer]:
        *others, last = self._sharing[answer.request.key]
        error = answer.error
        if error is not None:
            error = concerning(error, last.parts.symbol, last.parts.feature)
        for request in others:
            result = answer.result
            if isinstance(result, pd.DataFrame):  # computed here: whoever gets his first may change it before the next
                result = hand_out_frame(result, deep=True)
            yield Answer(request, answer.status, answer.entry, result, error)
        yield Answer(last, answer.status, answer.entry, answer.result, error)
