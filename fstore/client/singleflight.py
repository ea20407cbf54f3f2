"""Once for each key: lead or wait, share the result or the error, take over from the dead.

The whole protocol of a miss. A caller looks at the manifest and the job in one query.
Where neither exists it tries to lead (``registering``), at once if it knows already
that there is no entry; from then on the job row speaks. Everybody waits for the row,
woken by a hint or by the clock; whoever finds a job whose message or worker was lost
sends it again. Of many questions a bounded number is open at once, the next as answers
come.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress

from fstore.broker.client import COMPUTE_QUEUE
from fstore.broker.messages import parse_compute
from fstore.client import local_compute
from fstore.client.enqueue import Registrar, is_quick_to_stage
from fstore.client.fallback import Answer, Fallback
from fstore.client.request import Question, is_refused_to_another
from fstore.compute.executor import bury
from fstore.compute.failures import verdict
from fstore.coordination.notifications import Watch
from fstore.errors import (
    BrokerUnavailable,
    ComputeTimeout,
    FeatureStoreError,
    InvalidRequest,
    ManifestUnavailable,
    SourceChanged,
    SourceNotAllowed,
    StorageUnavailable,
)
from fstore.features.local_features import LocalFeature
from fstore.model import JobState, Status
from fstore.postgres.jobs import View
from fstore.resources import Resources
from fstore.runtime import deadline

MOST_OPEN = 512
ADMITTED_AT_ONCE = 128  # the first answers of a batch should not wait until all of it is registered
FIRST_WAIT_S = 0.1  # a hint is quicker; polling more often only takes time from the one who leads
LONGEST_WAIT_S = 1.0
NUDGE_EVERY_S = 2.0
KNOWN_FOR_S = 1.0
START_WITHIN_S = 5.0  # who does not wait for the result does not wait long for a server either
OUTAGE_PATIENCE_S = 5.0  # a restart of Postgres must not make every waiter compute for itself


class Flight:
    """The questions of one call, until each has its answer or the deadline passes."""

    def __init__(
        self, resources: Resources, questions: Iterable[Question], *, seconds: float, known_missing: bool = False
    ) -> None:
        self._resources = resources
        self._waiting = deque(questions)
        self._open: dict[str, Question] = {}
        self._known_missing = known_missing  # which saves a look, for a moment: who registers a job looks again
        self._unseen: set[str] = set()
        self._led: set[str] = set()
        self._offered: set[str] = set()
        self._began = time.monotonic()
        self._seconds = seconds
        self._nudged_at = self._began
        self._reached_at: float | None = None
        self._states: dict[str, str] = {}
        self._registrar = Registrar(resources)
        self._on_made: Callable[[set[str]], None] = lambda made: None
        self._fallback = Fallback(resources, self._left)

    def start(self) -> None:
        """Register what nobody has registered yet, and return without waiting or computing.

        What cannot be registered now is left to whoever waits for it; with
        ``on_unavailable="raise"`` it is an error.
        """
        try:
            with deadline.within(min(START_WITHIN_S, self._seconds)):
                while self._admit():
                    views = self._resources.jobs.look(list(self._open))
                    self._registrar.register(
                        [self._open.pop(key) for key, view in views.items() if self._may_start(view)]
                    )
                    self._open.clear()
        except (BrokerUnavailable, ManifestUnavailable, StorageUnavailable):
            if not self._fallback.is_allowed:
                raise

    def answers(self) -> Iterator[Answer]:
        """Yield every question's answer as it comes; each exactly once."""
        wait_s, looked_at = FIRST_WAIT_S, self._began
        with self._resources.hints.watch() as watch:
            self._on_made = watch.knows_all_about
            due = self._admit(watch)
            while self._open:
                answered = []
                for answer in self._round(due):
                    if self._open.pop(answer.asked.key, None) is not None:
                        answered.append(answer.asked.key)
                        yield answer
                watch.drop(answered)
                due = self._admit(watch)
                left = self._left()
                if left <= 0:
                    yield from self._give_up()
                    return
                if due or not self._open:
                    continue
                wait_s = FIRST_WAIT_S if answered else min(wait_s * 2, LONGEST_WAIT_S)
                heard = watch.wait(min(left, wait_s * random.uniform(0.5, 1.5)))  # noqa: S311 jitter
                if not heard or time.monotonic() - looked_at > LONGEST_WAIT_S:  # hints of others hide no lost one
                    heard, looked_at = set(self._open), time.monotonic()
                due = list(heard)

    def _admit(self, watch: Watch | None = None) -> list[str]:
        """Open more of the questions that wait their turn, and return their keys."""
        room = min(MOST_OPEN - len(self._open), len(self._waiting), ADMITTED_AT_ONCE)
        if room < min(ADMITTED_AT_ONCE, len(self._waiting)):
            return []  # registered in numbers, not one by one as answers come
        admitted = [self._waiting.popleft() for _ in range(room)]
        self._open |= {asked.key: asked for asked in admitted}
        keys = [asked.key for asked in admitted]
        alone = watch.add(keys) if watch is not None and keys else set()
        if self._known_missing and time.monotonic() - self._began < KNOWN_FOR_S:
            # Who is not alone in this process lets the other register, and looks.
            self._unseen.update(asked.key for asked in admitted if asked.key in alone and _may_lead_unseen(asked))
        return keys

    def _round(self, due: Sequence[str]) -> Iterator[Answer]:
        due = yield from self._register_unseen(due)
        if not due:
            return
        try:
            views = self._resources.jobs.look(due)
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
                yield self._fallback.not_stored(asked, "store folder", failure)
            elif self._may_offer_own(asked, failure) or (
                failure is not None and self._forgot_anothers_refusal(asked, view)
            ):
                leaderless.append(asked)
            elif failure is not None:
                yield Answer(asked, Status.COALESCED, error=failure)
            elif _is_free(view):
                leaderless.append(asked)
            elif view.job is not None and (view.job.state is JobState.QUEUED or view.job.lapsed):
                stale.append(asked)
        yield from self._lead(leaderless)
        yield from self._nudge(stale)

    def _register_unseen(self, due: Sequence[str]) -> Generator[Answer, None, list[str]]:
        """Register what is known to be missing, and return what must be looked at: all that did not become this call's own.

        Whatever goes wrong decides nothing here: somebody else may be computing it, or have failed.
        """
        unseen = [self._open[key] for key in due if key in self._unseen]
        self._unseen.clear()
        own: set[str] = set()

        def on_made(keys: set[str]) -> None:
            own.update(keys)
            self._on_made(keys)

        if unseen:
            try:
                self._registrar.register(unseen, on_made=on_made)
                self._reached_at = time.monotonic()
            except BrokerUnavailable as error:  # after the jobs were made, which no worker hears of now
                yield from self._without_redis([self._open[key] for key in own], error)
            except ManifestUnavailable:
                own.clear()
        self._led |= own
        return [key for key in due if key not in own]

    def _lead(self, leaderless: Sequence[Question]) -> Iterator[Answer]:
        shared = [asked for asked in leaderless if not isinstance(asked.feature, LocalFeature)]
        try:
            if shared:
                made, failures = self._registrar.register(shared, on_made=self._on_made)
                self._led |= made
                for key, full in failures.items():
                    yield self._fallback.not_stored(self._open[key], "store folder", full)
        except BrokerUnavailable as error:
            yield from self._without_redis(shared, error)
        except ManifestUnavailable as error:
            yield from self._without_postgres(error)
            return
        yield from self._compute_own(leaderless)

    def _compute_own(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for asked in questions:
            if isinstance(asked.feature, LocalFeature):
                try:
                    answer = self._fallback.compute_here(asked, local_compute.CALLER_ONLY, by_worker=True)
                except BrokerUnavailable as error:
                    answer = self._fallback.without_redis(asked, error)
                except StorageUnavailable as error:
                    answer = self._fallback.not_stored(asked, "store folder", error)
                except ManifestUnavailable as error:
                    yield from self._without_postgres(error)
                    return
                if answer is not None:
                    yield answer

    def _may_offer_own(self, asked: Question, failure: FeatureStoreError | None) -> bool:
        """The data failed on their way, not the computation: a caller with a copy or path of its own offers that, once."""
        if not isinstance(failure, SourceChanged | SourceNotAllowed) or asked.key in self._offered:
            return False
        if asked.raw.path is not None and str(asked.raw.path) == failure.path:
            return False
        self._offered.add(asked.key)
        with suppress(ManifestUnavailable):
            self._resources.jobs.forget(asked.key)
        return True

    def _may_start(self, view: View) -> bool:
        return view.entry is None and (_is_free(view) or self._forgot_anothers_refusal(self._open[view.key], view))

    def _forgot_anothers_refusal(self, asked: Question, view: View) -> bool:
        """A worker refused the source of whoever led; a caller whose source is another asks for himself, and the key is freed."""
        if view.job is None or not is_refused_to_another(self._resources, asked, view):
            return False
        with suppress(ManifestUnavailable):  # nothing can be registered either, and that is seen to
            self._resources.jobs.forget_failure(asked.key, view.job.owner)
        return True

    def _nudge(self, stale: Sequence[Question]) -> Iterator[Answer]:
        """Send again what was lost on its way to a worker, or died with one."""
        stale = [asked for asked in stale if asked.key in self._open]
        if not stale or time.monotonic() - self._nudged_at < NUDGE_EVERY_S:
            return
        self._nudged_at = time.monotonic()
        keys = [asked.key for asked in stale]
        try:
            bury(self._resources, keys)
            idle = self._resources.coordination.is_drained(COMPUTE_QUEUE)
            lost = dict(self._resources.jobs.take_stale(keys, idle=idle))
            try:
                for request in lost.values():  # each by itself: one of them may have ended its worker
                    with suppress(InvalidRequest):  # another version of fstore wrote it, and will know how to send it
                        self._resources.broker.send_compute(parse_compute(request))
            except BrokerUnavailable as error:
                yield from self._without_redis([self._open[key] for key in lost], error)
            yield from self._compute_own(stale)
        except ManifestUnavailable as error:
            yield from self._without_postgres(error)

    def _without_redis(self, questions: Sequence[Question], error: BrokerUnavailable) -> Iterator[Answer]:
        for asked in questions:
            try:
                answer = self._fallback.without_redis(asked, error)
            except ManifestUnavailable as away:
                yield from self._without_postgres(away)
                return
            if answer is not None:
                yield answer

    def _without_postgres(self, error: ManifestUnavailable) -> Iterator[Answer]:
        if self._reached_at is not None and time.monotonic() - self._reached_at < min(
            OUTAGE_PATIENCE_S, self._seconds / 2
        ):
            return
        for asked in list(self._open.values()):
            yield self._fallback.not_stored(asked, "postgres", error)

    def _give_up(self) -> Iterator[Answer]:
        for asked in [*self._open.values(), *self._waiting]:
            spent = time.monotonic() - self._began
            late = ComputeTimeout(asked.key, spent, self._states.get(asked.key, "unknown"))
            yield Answer(asked, Status.COALESCED, error=late)

    def _left(self) -> float:
        return self._seconds - (time.monotonic() - self._began)


def _is_free(view: View) -> bool:
    return view.job is None or (view.job.state is JobState.FAILED and not view.job.remembered)


def _may_lead_unseen(asked: Question) -> bool:
    """What somebody else computes already should not be staged again at length, and not be computed here."""
    return is_quick_to_stage(asked) and not isinstance(asked.feature, LocalFeature)
