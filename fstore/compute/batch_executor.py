"""Many computations in one task: claimed at once, run one after the other, published in groups.

A chunk is bounded by time, not by trust: when it takes longer than it was meant to,
what was not begun is given back and sent again in smaller chunks. A job that ended a
worker before is never part of a chunk, so that one that kills its worker takes its
neighbours down once at most, and without losing them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from fstore.broker.chunks import in_chunks
from fstore.broker.messages import ComputeRequest
from fstore.calling.call import call, is_stop
from fstore.compute.executor import Outcome, Phase, get_or_compute, refuse
from fstore.compute.failures import note_of
from fstore.compute.lease import Held, lease
from fstore.compute.planning import Work, plan
from fstore.compute.publishing import Offer, announce, insert, write_result
from fstore.compute.raw_data import Reader
from fstore.errors import BrokerUnavailable, FeatureStoreError, ManifestUnavailable
from fstore.features import keys
from fstore.model import Claim, FailureNote, Locator, Status
from fstore.resources import Resources
from fstore.runtime import logs, tracing
from fstore.runtime.heartbeat import heartbeat

GROUP = 64  # results that share one transaction
GROUP_S = 0.25  # how long a result waits for others at most, unless a computation takes longer
CHUNK_S = 5.0  # after which what is left of a chunk is given back


def get_or_compute_many(
    resources: Resources, requests: Sequence[ComputeRequest], *, phase: Phase
) -> list[dict[str, Any]]:
    """Answer several requests in one task; each has its own answer, or its own ``error``, in their order.

    A key that another worker computes, or that was given back to another task, is
    answered ``coalesced`` without a path.
    """
    answers: dict[int, dict[str, Any]] = {}
    works: dict[str, tuple[int, Work]] = {}
    planned: dict[int, Work] = {}
    for position, request in enumerate(requests):
        try:
            work = plan(resources, request)
        except FeatureStoreError as error:
            refuse(resources, request, error)
            answers[position] = _failed(request.key, note_of(error))
            continue
        works.setdefault(work.key, (position, work))
        planned[position] = work
    claims = resources.jobs.claim_many({key: work.request.wire() for key, (_, work) in works.items()})
    with lease(resources.jobs, claims.values(), every_s=resources.settings.renew_seconds) as held:
        ends_at = time.monotonic() + min(CHUNK_S, resources.settings.compute_time_limit_s / 4)
        phase("COMPUTING")
        _Batch(
            resources,
            held,
            [(work, claims[key]) for key, (_, work) in works.items() if key in claims],
            ends_at=ends_at,
            answer=lambda key, answer: answers.update({works[key][0]: answer}),
        ).run()
    left = [position for position in planned if position not in answers]
    live = resources.manifest.find_live_many([planned[position].key for position in left])
    if live:
        resources.jobs.settle(list(live))
    begun = bool(claims)
    for position in left:  # computed elsewhere, started before, condemned, or asked for twice
        work = planned[position]
        if work.key in live:
            answers[position] = Outcome(work.key, Status.HIT, live[work.key], 0.0).as_dict()
        elif begun and time.monotonic() > ends_at:  # or the time limit, which is one task's, would end an innocent one
            answers[position] = _pass_on(resources, work)
        else:
            answers[position] = _answer_alone(resources, requests[position], phase)
            begun = True
    return [answers[position] for position in range(len(requests))]


class _Batch:
    """One chunk while it is computed.

    A thread of its own publishes and gives back in time, however long the computation
    that runs takes: its neighbours have not asked for it.
    """

    def __init__(
        self,
        resources: Resources,
        held: Held,
        claimed: Iterable[tuple[Work, Claim]],
        *,
        ends_at: float,
        answer: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._resources = resources
        self._held = held
        self._answer = answer
        self._reader = Reader(resources.files, resources.settings)
        self._guard = threading.RLock()
        self._todo = deque(claimed)
        self._now: Claim | None = None
        self._offers: list[Offer] = []
        self._began = self._first_at = time.monotonic()
        self._ends_at = ends_at
        self._begun = 0

    def run(self) -> None:
        """Compute and publish what there is time for, and give the rest back."""
        try:
            with heartbeat("fstore-chunk", GROUP_S, self._tick):
                while (taken := self._next()) is not None:
                    self._compute(*taken)
                    if len(self._offers) >= GROUP:
                        self._publish()
            self._publish()
        except (SystemExit, KeyboardInterrupt):
            with suppress(ManifestUnavailable):
                self._publish()
                if self._now is not None:  # as for a single computation: this start stays counted
                    self._resources.jobs.release(self._now)
                self._give_back()
            raise
        self._give_back()

    def _next(self) -> tuple[Work, Claim] | None:
        with self._guard:
            if not self._todo or (self._begun and time.monotonic() > self._ends_at):
                return None
            self._begun += 1
            work, self._now = self._todo.popleft()
            return work, self._now

    def _tick(self) -> bool:
        with self._guard:
            if self._offers and time.monotonic() - self._first_at > GROUP_S:
                self._publish()
            if time.monotonic() > self._ends_at:
                self._give_back()
        return True

    def _compute(self, work: Work, claim: Claim) -> None:
        logs.bind(key=work.key)
        try:
            with tracing.span("fstore.compute", feature=work.feature.name, key=work.key):
                raw = self._reader.read(work.request.raw_data, work.fingerprint, wanted=work.feature.input)
                began = time.monotonic()
                result = raw.settle(call(work.feature, raw.value, keys.restore_config(work.parts.config)))
                seconds = time.monotonic() - began
            self._resources.recorder.took("compute_seconds", seconds)
            offer = write_result(self._resources, work.request, work.feature, claim, result, seconds)
        except ManifestUnavailable:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            note = note_of(error)
            self._held.drop(work.key)
            self._resources.jobs.fail(claim, note)
            announce(self._resources, work.key, failed=1)
            self._answer(work.key, _failed(work.key, note))
            return
        with self._guard:
            if not self._offers:
                self._first_at = time.monotonic()
            self._offers.append(offer)

    def _publish(self) -> None:
        with self._guard:
            if not self._offers:
                return
            with tracing.span("fstore.publish", entries=str(len(self._offers))):
                answering = insert(self._resources, self._offers)
            for offer in self._offers:
                key = offer.entry.key
                self._held.drop(key)
                self._answer(key, _computed(key, answering[key], offer.entry.compute_seconds))
            self._offers = []

    def _give_back(self) -> None:
        with self._guard:
            if not self._todo:
                return
            self._resources.jobs.hand_back([claim for _, claim in self._todo])
            # All of them, also those that were lost meanwhile: a key that is not free turns its message away.
            again = [work.request.model_copy(update={"waits": False}) for work, _ in self._todo]
            for work, _ in self._todo:
                self._held.drop(work.key)
                self._answer(work.key, Outcome(work.key, Status.COALESCED, None, 0.0).as_dict())
            self._todo.clear()
        per_item_s = (time.monotonic() - self._began) / max(1, self._begun)
        with suppress(BrokerUnavailable):  # whoever waits, or the reconciler, sends them again
            for chunk in in_chunks(again, per_item_s=per_item_s):
                self._resources.broker.send_compute_many(chunk)


def _answer_alone(resources: Resources, request: ComputeRequest, phase: Phase) -> dict[str, Any]:
    try:
        return get_or_compute(resources, request, phase=phase).as_dict()
    except ManifestUnavailable:
        raise
    except FeatureStoreError as error:
        return _failed(request.key, note_of(error))


def _pass_on(resources: Resources, work: Work) -> dict[str, Any]:
    with suppress(BrokerUnavailable):  # whoever waits, or the reconciler, sends it again
        resources.broker.send_compute(work.request.model_copy(update={"waits": False}))
    return Outcome(work.key, Status.COALESCED, None, 0.0).as_dict()


def _computed(key: str, found: Locator | None, seconds: float) -> dict[str, Any]:
    return Outcome(key, Status.COMPUTED if found else Status.COALESCED, found, seconds).as_dict()


def _failed(key: str | None, note: FailureNote) -> dict[str, Any]:
    return {"status": "failed", "key": key, "error": {"type": note.error_type, "message": note.detail}}
