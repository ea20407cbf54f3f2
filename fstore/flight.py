"""Once for each key: lead or wait, share the result or the error, take over from the dead.

The whole protocol of a miss. A caller looks at the manifest and the job in one
query. Where neither exists it tries to lead: the Redis lock of the key lets one of
many stage the raw data and register the job; from then on the job row speaks, and
the lock is given back. Everybody waits for the row, woken by a hint or by the
clock; whoever finds a job whose message or worker was lost sends it again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fstore import deadline, local_compute, rawdata
from fstore.asking import Question, warn_if_source_changed
from fstore.broker import COMPUTE_QUEUE
from fstore.errors import (
    BrokerUnavailable,
    ComputeTimeout,
    FeatureStoreError,
    ManifestUnavailable,
    SourceChanged,
    SourceNotAllowed,
    StorageUnavailable,
)
from fstore.failures import verdict
from fstore.jobs import View
from fstore.local_features import LocalFeature
from fstore.messages import RawReference, parse_compute
from fstore.model import JobState, Locator, ParquetSource, Status
from fstore.resources import Resources

FIRST_WAIT_S = 0.1  # a hint is quicker; polling more often only takes time from the one who leads
LONGEST_WAIT_S = 1.0
NUDGE_EVERY_S = 2.0
START_WITHIN_S = 5.0  # who does not wait for the result does not wait long for a server either
OUTAGE_PATIENCE_S = 5.0  # a restart of Postgres must not make every waiter compute for itself


@dataclass(frozen=True, slots=True)
class Answer:
    """How a question was answered: by an entry, by a result that could not be stored, or by an error."""

    asked: Question
    status: Status
    locator: Locator | None = None
    result: object = None
    error: FeatureStoreError | None = None


class Flight:
    """The open questions of one call, until each has its answer or the deadline passes."""

    def __init__(self, resources: Resources, questions: Iterable[Question], *, seconds: float) -> None:
        self._resources = resources
        self._open = {asked.key: asked for asked in questions}
        self._led: set[str] = set()
        self._offered: set[str] = set()
        self._began = time.monotonic()
        self._seconds = seconds
        self._nudged_at = self._began
        self._reached_at: float | None = None
        self._states: dict[str, str] = {}

    def start(self) -> None:
        """Register what nobody has registered yet, and return without waiting or computing.

        What cannot be registered now is left to whoever waits for it; with
        ``on_unavailable="raise"`` it is an error.
        """
        try:
            with deadline.within(min(START_WITHIN_S, self._seconds)):
                views = self._resources.jobs.look(list(self._open))
                for asked in [self._open[key] for key, view in views.items() if view.entry is None and _is_free(view)]:
                    self._register_if_first(asked)
        except (BrokerUnavailable, ManifestUnavailable, StorageUnavailable):
            if not self._may_compute:
                raise

    def answers(self) -> Iterator[Answer]:
        """Yield every question's answer as it comes; each exactly once."""
        wait_s = FIRST_WAIT_S
        with self._resources.hints.watch(list(self._open)) as hint:
            while self._open:
                progress = False
                for answer in self._round():
                    del self._open[answer.asked.key]
                    progress = True
                    yield answer
                if not self._open:
                    return
                left = self._left()
                if left <= 0:
                    yield from self._give_up()
                    return
                wait_s = FIRST_WAIT_S if progress else min(wait_s * 2, LONGEST_WAIT_S)
                hint.wait(min(left, wait_s * random.uniform(0.5, 1.5)))  # noqa: S311 jitter
                hint.clear()

    def _round(self) -> Iterator[Answer]:
        try:
            views = self._resources.jobs.look(list(self._open))
            self._reached_at = time.monotonic()
        except ManifestUnavailable as error:
            yield from self._without_postgres(error)
            return
        leaderless: list[Question] = []
        stale: list[Question] = []
        for key, view in views.items():
            asked = self._open[key]
            waited = self._states.get(key) in {JobState.QUEUED, JobState.RUNNING} or key in self._led
            self._states[key] = str(view.job.state) if view.job else "unknown"
            failure = verdict(view, waited=waited)
            if view.entry is not None:
                yield Answer(asked, Status.COMPUTED if key in self._led else Status.COALESCED, view.entry)
            elif isinstance(failure, StorageUnavailable):
                yield self._not_stored(asked, "store folder", failure)
            elif self._may_offer_own(asked, failure):
                leaderless.append(asked)
            elif failure is not None:
                yield Answer(asked, Status.COALESCED, error=failure)
            elif _is_free(view):
                leaderless.append(asked)
            elif view.job is not None and (view.job.state is JobState.QUEUED or view.job.lapsed):
                stale.append(asked)
        yield from self._lead(leaderless)
        yield from self._nudge(stale)

    def _lead(self, leaderless: Sequence[Question]) -> Iterator[Answer]:
        for asked in leaderless:
            try:
                if isinstance(asked.feature, LocalFeature):
                    yield from self._compute_here(asked, local_compute.CALLER_ONLY, by_worker=True)
                else:
                    self._register_if_first(asked)
            except BrokerUnavailable as error:
                yield from self._without_redis(asked, error)
            except StorageUnavailable as error:
                yield self._not_stored(asked, "store folder", error)
            except ManifestUnavailable as error:
                yield from self._without_postgres(error)
                return

    def _register_if_first(self, asked: Question) -> None:
        lead = self._resources.coordination.lead(str(asked.taken), asked.key)
        if lead is None:
            return
        # Staging may outlast the lock, which is kept alive meanwhile; a source of the user's needs no staging.
        staging = not isinstance(asked.raw, ParquetSource)
        led_at = time.monotonic()
        with self._resources.coordination.holding(lead, renewed=staging):
            self._register(asked)
        self._resources.recorder.took("dedup_hold_seconds", time.monotonic() - led_at)

    def _register(self, asked: Question) -> None:
        warn_if_source_changed(self._resources, asked)
        request = asked.request(rawdata.stage(self._resources.files, asked.raw, asked.taken))
        if self._resources.jobs.enqueue({asked.key: request.wire()}):
            self._led.add(asked.key)
            self._resources.broker.send_compute(request)

    def _may_offer_own(self, asked: Question, failure: FeatureStoreError | None) -> bool:
        """The data failed on their way, not the computation: a caller with a copy or path of its own offers that, once."""
        if not isinstance(failure, SourceChanged | SourceNotAllowed) or asked.key in self._offered:
            return False
        if isinstance(asked.raw, ParquetSource) and str(asked.raw.path) == failure.path:
            return False
        self._offered.add(asked.key)
        with suppress(ManifestUnavailable):
            self._resources.jobs.forget(asked.key)
        return True

    def _nudge(self, stale: Sequence[Question]) -> Iterator[Answer]:
        """Send again what was lost on its way to a worker, or died with one."""
        stale = [asked for asked in stale if asked.key in self._open]
        if not stale or time.monotonic() - self._nudged_at < NUDGE_EVERY_S:
            return
        self._nudged_at = time.monotonic()
        keys = [asked.key for asked in stale]
        try:
            self._resources.jobs.bury(keys)
            for key, request in self._resources.jobs.take_stale(keys, idle=self._queue_is_empty()):
                try:
                    self._resources.broker.send_compute(parse_compute(request))
                except BrokerUnavailable as error:
                    yield from self._without_redis(self._open[key], error)
            for asked in stale:
                if isinstance(asked.feature, LocalFeature):
                    yield from self._compute_here(asked, local_compute.CALLER_ONLY, by_worker=True)
        except ManifestUnavailable as error:
            yield from self._without_postgres(error)

    def _queue_is_empty(self) -> bool:
        with suppress(BrokerUnavailable):
            return self._resources.coordination.queue_length(COMPUTE_QUEUE) == 0
        return False

    def _without_redis(self, asked: Question, error: BrokerUnavailable) -> Iterator[Answer]:
        if not self._may_compute:
            yield Answer(asked, Status.COALESCED, error=error)
            return
        self._resources.recorder.degraded("redis", str(error))
        try:
            reference = rawdata.stage(self._resources.files, asked.raw, asked.taken)
            yield from self._compute_here(asked, reference, by_worker=False)
        except StorageUnavailable as full:
            yield self._not_stored(asked, "store folder", full)

    def _compute_here(self, asked: Question, reference: RawReference, *, by_worker: bool) -> Iterator[Answer]:
        try:
            local = local_compute.compute_and_publish(
                self._resources, asked, reference, by_worker=by_worker, seconds=self._left()
            )
        except (ManifestUnavailable, StorageUnavailable, BrokerUnavailable):
            raise
        except FeatureStoreError as error:
            yield Answer(asked, Status.COMPUTED, error=error)
            return
        if local is None:
            return  # somebody else computes it under a claim of theirs
        if local.why_not_stored is not None:
            self._resources.recorder.degraded("not stored", str(local.why_not_stored))
        if local.locator is not None or local.result is not None:
            yield Answer(asked, Status.COMPUTED, local.locator, local.result)

    def _without_postgres(self, error: ManifestUnavailable) -> Iterator[Answer]:
        if self._reached_at is not None and time.monotonic() - self._reached_at < min(
            OUTAGE_PATIENCE_S, self._seconds / 2
        ):
            return
        for asked in list(self._open.values()):
            yield self._not_stored(asked, "postgres", error)

    def _not_stored(self, asked: Question, mode: str, cause: FeatureStoreError) -> Answer:
        if not self._may_compute:
            return Answer(asked, Status.COALESCED, error=cause)
        self._resources.recorder.degraded(mode, str(cause))
        try:
            return Answer(asked, Status.COMPUTED, result=local_compute.compute_only(asked, seconds=self._left()))
        except FeatureStoreError as error:
            return Answer(asked, Status.COMPUTED, error=error)

    def _give_up(self) -> Iterator[Answer]:
        for key, asked in list(self._open.items()):
            spent = time.monotonic() - self._began
            yield Answer(asked, Status.COALESCED, error=ComputeTimeout(key, spent, self._states.get(key, "unknown")))

    @property
    def _may_compute(self) -> bool:
        return self._resources.settings.on_unavailable == "compute"

    def _left(self) -> float:
        return self._seconds - (time.monotonic() - self._began)


def _is_free(view: View) -> bool:
    return view.job is None or (view.job.state is JobState.FAILED and not view.job.remembered)
