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

from fstore.broker import ComputeRequest, in_chunks
from fstore.calling import is_stop
from fstore.compute.batches.groups import GROUP_S, LOOK_EVERY_S, Group
from fstore.compute.executor import Outcome, Phase, execute, give_up, refuse
from fstore.compute.failures import note_of
from fstore.compute.lease import HeldClaims, hold_claims
from fstore.compute.planning import Computation, plan
from fstore.compute.publishing import PendingEntry, Publisher, SmallResult, publishing_ends_at
from fstore.compute.raw_data import Reader, Ready
from fstore.compute.segments import SegmentLoader
from fstore.errors import BrokerUnavailable, FeatureStoreError, ManifestUnavailable
from fstore.model import Claim, FailureNote, Locator, Status
from fstore.resources import Resources
from fstore.runtime import logs, tracing
from fstore.runtime.finishing import finishing
from fstore.runtime.heartbeat import heartbeat

CHUNK_S = 5.0  # after which what is left of a chunk is given back

_Claimed = tuple[Computation, Claim]


def execute_batch(resources: Resources, requests: Sequence[ComputeRequest], *, phase: Phase) -> list[dict[str, Any]]:
    """Answer several requests in one task; each has its own answer, or its own ``error``, in their order.

    A key that another worker computes, or that was given back to another task, is
    answered ``coalesced`` without a path.
    """
    until = publishing_ends_at(resources.settings)
    answers: dict[int, dict[str, Any]] = {}
    first: dict[str, tuple[int, Computation]] = {}
    planned: dict[int, Computation] = {}
    for position, request in enumerate(requests):
        try:
            computation = plan(resources, request)
        except FeatureStoreError as error:
            refuse(resources, request, error)
            answers[position] = _failed(request.key, note_of(error))
            continue
        first.setdefault(computation.key, (position, computation))
        planned[position] = computation
    claims = resources.jobs.claim_many({key: computation.request.wire() for key, (_, computation) in first.items()})
    with hold_claims(resources.jobs, claims.values(), every_s=resources.settings.renew_seconds) as held:
        ends_at = time.monotonic() + min(CHUNK_S, resources.settings.compute_time_limit_s / 4)
        phase("COMPUTING")
        claimed = [(computation, claims[key]) for key, (_, computation) in first.items() if key in claims]
        backlog = _Backlog(resources, claimed, ends_at=ends_at)
        _Batch(resources, held, backlog, lambda key, answer: answers.update({first[key][0]: answer}), until=until).run()
    left = [position for position in planned if position not in answers]
    live = resources.manifest.find_live_many([planned[position].key for position in left])
    if live:
        resources.jobs.delete_published(list(live))
    begun = bool(claims)
    for (
        position
    ) in left:  # computed elsewhere, started before, condemned, copied from what was withdrawn, or asked for twice
        computation = planned[position]
        if computation.key in live:
            answers[position] = Outcome(computation.key, Status.HIT, live[computation.key], 0.0).as_dict()
        elif begun and time.monotonic() > ends_at:  # or the time limit, which is one task's, would end an innocent one
            answers[position] = _pass_on(resources, computation)
        else:
            answers[position] = _answer_alone(resources, requests[position], phase, until)
            begun = True
    return [answers[position] for position in range(len(requests))]


class _Backlog:
    """What of a chunk was not begun.

    It is given back in time, however long the computation that runs takes.
    """

    def __init__(self, resources: Resources, claimed: Iterable[_Claimed], *, ends_at: float) -> None:
        self._resources = resources
        self._guard = threading.Lock()
        self._todo = deque(claimed)
        self._began_at, self._ends_at = time.monotonic(), ends_at
        self._begun = 0

    def next(self) -> _Claimed | None:
        """Return the next to compute, the first in any case, as long as there is time."""
        with self._guard:
            if not self._todo or (self._begun and self.is_due):
                return None
            self._begun += 1
            return self._todo.popleft()

    @property
    def is_due(self) -> bool:
        """Whether the time of the chunk is over."""
        return time.monotonic() > self._ends_at

    def give_back(self) -> list[str]:
        """Give back what is left and send it again in smaller chunks; return the keys."""
        with self._guard:
            if not self._todo:
                return []
            self._resources.jobs.return_unstarted([claim for _, claim in self._todo])
            # All of them, also those that were lost meanwhile: a key that is not free turns its message away.
            left = [computation for computation, _ in self._todo]
            self._todo.clear()
            per_item_s = (time.monotonic() - self._began_at) / max(1, self._begun)
        with suppress(BrokerUnavailable):  # whoever waits, or the reconciler, sends them again
            for chunk in in_chunks(
                [one.request.model_copy(update={"waits": False}) for one in left], per_item_s=per_item_s
            ):
                self._resources.broker.send_compute_many(chunk)
        return [computation.key for computation in left]


class _Batch:
    """One chunk while it is computed.

    A thread of its own publishes and gives back in time: the neighbours of a long
    computation have not asked for it.
    """

    def __init__(
        self,
        resources: Resources,
        held: HeldClaims,
        backlog: _Backlog,
        answer: Callable[[str, dict[str, Any]], None],
        *,
        until: float,
    ) -> None:
        self._resources = resources
        self._until = until
        self._held = held
        self._backlog = backlog
        self._answer = answer
        self._publisher = Publisher.of(resources)
        self._group = Group(self._publisher, self._published, self._unwritten)
        self._reader = Reader(resources.staging, resources.settings)
        self._segments = SegmentLoader(resources)

    def run(self) -> None:
        """Compute and publish what there is time for, and give the rest back."""
        running: Claim | None = None
        try:
            with heartbeat("fstore-chunk", LOOK_EVERY_S, self._tick):
                while (taken := self._backlog.next()) is not None:
                    running = taken[1]
                    self._compute(*taken)
            with finishing(self._until):
                self._group.publish()
            self._reader.last.close()
        except (SystemExit, KeyboardInterrupt):
            with suppress(ManifestUnavailable), finishing(self._until):
                self._group.publish()
                if running is not None:
                    self._resources.jobs.release(running)
                self._give_back()
            raise
        self._give_back()

    def _tick(self) -> bool:
        with finishing(self._until):
            self._group.publish(older_than_s=GROUP_S)
        if self._backlog.is_due:
            self._give_back()
        return True

    def _compute(self, computation: Computation, claim: Claim) -> None:
        key, has_result = computation.key, False
        logs.bind(key=key)
        try:
            with tracing.span("fstore.compute", feature=computation.feature.name, key=key):
                raw = self._read(computation)
                began = time.monotonic()
                result = raw.result(computation.feature, computation.config)
                seconds = time.monotonic() - began
            with finishing(self._until):
                self._resources.recorder.took("compute_seconds", seconds)
                prepared = self._publisher.prepare(computation, claim, result, seconds)
                has_result = True
                self._group.add(prepared)
        except ManifestUnavailable:
            raise
        except BaseException as error:
            if has_result or is_stop(error):
                raise
            with finishing(self._until):
                self._fail(claim, error)

    def _unwritten(self, result: SmallResult, error: BaseException) -> None:
        self._fail(result.claim, error)

    def _fail(self, claim: Claim, error: BaseException) -> None:
        self._held.drop(claim.key)
        give_up(self._resources, claim, error)
        self._answer(claim.key, _failed(claim.key, note_of(error)))

    def _read(self, computation: Computation) -> Ready:
        request = computation.request
        if computation.segment is not None:
            return self._segments.load_referenced(
                computation.parts, computation.feature, computation.segment, request.raw_data
            )
        return self._reader.read(request.raw_data, computation.fingerprint, wanted=computation.feature.input)

    def _published(self, pending: PendingEntry, found: Locator | None) -> None:
        key = pending.facts.key
        self._held.drop(key)
        if found is None and pending.segment is not None:
            return  # what it was copied from may have been withdrawn meanwhile: asked for once more, by itself
        status = Status.COMPUTED if found else Status.COALESCED
        self._answer(key, Outcome(key, status, found, pending.facts.compute_seconds).as_dict())

    def _give_back(self) -> None:
        for key in self._backlog.give_back():
            self._held.drop(key)
            self._answer(key, Outcome(key, Status.COALESCED, None, 0.0).as_dict())


def _answer_alone(resources: Resources, request: ComputeRequest, phase: Phase, until: float) -> dict[str, Any]:
    try:
        return execute(resources, request, phase=phase, until=until).as_dict()
    except ManifestUnavailable:
        raise
    except FeatureStoreError as error:
        return _failed(request.key, note_of(error))


def _pass_on(resources: Resources, computation: Computation) -> dict[str, Any]:
    with suppress(BrokerUnavailable):  # whoever waits, or the reconciler, sends it again
        resources.broker.send_compute(computation.request.model_copy(update={"waits": False}))
    return Outcome(computation.key, Status.COALESCED, None, 0.0).as_dict()


def _failed(key: str | None, note: FailureNote) -> dict[str, Any]:
    return {"status": "failed", "key": key, "error": {"type": note.error_type, "message": note.detail}}
