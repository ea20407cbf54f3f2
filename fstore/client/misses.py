"""Carries out what ``SingleFlight`` decides, one action at a time.

Knows the servers, the clock and the caller's own process.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from fstore.broker import RawReference
from fstore.calling import settings_set_here
from fstore.client.batches.ahead import Begun
from fstore.client.enqueue import Enqueuer
from fstore.client.local_compute import LocalComputing
from fstore.client.miss_events import (
    WITHOUT_POSTGRES,
    Action,
    Admitted,
    Computed,
    ComputeHere,
    ComputeUnstored,
    DeadlinePassed,
    Done,
    Due,
    Event,
    FolderAway,
    Forget,
    Give,
    Look,
    PostgresAway,
    ProcessDiffers,
    RedisAway,
    Register,
    Registered,
    Resend,
    Viewed,
)
from fstore.client.miss_rules import KeyProgress, MissRules, Step, next_step
from fstore.client.request import Answer, KeyedRequest
from fstore.client.singleflight import SingleFlight
from fstore.compute import Recovery, hold_claims, may_be_stored, not_trusted, stage_raw
from fstore.coordination import Subscription
from fstore.errors import BrokerUnavailable, ManifestUnavailable, StorageUnavailable
from fstore.features import LocalFeature
from fstore.model import JobState
from fstore.resources import Resources
from fstore.runtime import deadline

FIRST_WAIT_S = 0.2  # a notification is quicker; polling more often only takes time from the one who leads
LONGEST_WAIT_S = 1.0
START_WITHIN_S = 5.0  # who does not wait for the result does not wait long for a server either
CALLER_ONLY = RawReference(kind="caller", path="-")


def answer_misses(
    resources: Resources,
    requests: Iterable[KeyedRequest],
    *,
    seconds: float,
    known_missing: bool = False,
    begun: Begun | None = None,
) -> Iterator[Answer]:
    """Yield every request's answer as it comes, each key exactly once; an entry is still to be read.

    ``known_missing`` says that none had an entry a moment ago, ``begun`` which this caller had begun before.
    """
    begun = begun or Begun()
    rules = rules_of(resources)
    now, seconds = time.monotonic(), deadline.at_most(seconds)
    flight = SingleFlight(requests, rules=rules, now=now, seconds=seconds, known_missing=known_missing, begun=begun)
    return _Misses(resources, flight, begun.enqueuer).answers()


def start_misses(resources: Resources, requests: Sequence[KeyedRequest], *, seconds: float) -> None:
    """Register requests unless somebody has, and return without waiting or computing.

    What cannot be registered now is left to whoever waits for it; with
    ``on_unavailable="raise"`` it is an error.
    """
    rules = rules_of(resources)
    try:
        with deadline.within(min(START_WITHIN_S, seconds)):
            views = resources.jobs.look([request.key for request in requests])
            leading = []
            for request in requests:
                view = views[request.key]
                step, _ = next_step(KeyProgress(request), view, rules)
                if step is Step.LEAD_ANEW and view.job is not None:
                    with suppress(ManifestUnavailable):
                        resources.jobs.reset_failure(request.key, view.job.owner)
                if step in {Step.LEAD, Step.LEAD_ANEW}:
                    leading.append(request)
            if leading:
                outcome = enqueuer_of(resources).enqueue(leading)
                if outcome.unsent is not None:
                    raise outcome.unsent
    except (BrokerUnavailable, ManifestUnavailable, StorageUnavailable):
        if not rules.may_compute_here:
            raise


def rules_of(resources: Resources) -> MissRules:
    """Return what the settings say of misses."""
    settings = resources.settings
    return MissRules(
        settings.on_unavailable == "compute",
        settings.lease_times.nudge_every_s,
        settings.on_source_change,
        settings.data_roots,
    )


def enqueuer_of(resources: Resources) -> Enqueuer:
    """Return what registers computations with these servers."""
    return Enqueuer(
        locks=resources.locks,
        staging=resources.staging,
        jobs=resources.jobs,
        broker=resources.broker,
        manifest=resources.manifest,
        recorder=resources.recorder,
        on_source_change=resources.settings.on_source_change,
        data_roots=resources.settings.data_roots,
    )


def _is_for_this_caller(action: Action) -> bool:
    """Tell what is computed here though a worker could, while Redis or Postgres is away."""
    return isinstance(action, ComputeUnstored) or (isinstance(action, ComputeHere) and action.cause is not None)


class _Misses:
    def __init__(self, resources: Resources, flight: SingleFlight, enqueuer: Enqueuer | None = None) -> None:
        self._resources = resources
        self._jobs, self._staging, self._recovery = resources.jobs, resources.staging, Recovery.of(resources)
        self._flight = flight
        self._enqueuer = enqueuer or enqueuer_of(resources)
        self._local = LocalComputing(resources)

    def answers(self) -> Iterator[Answer]:
        flight, wait_s, looked_at = self._flight, FIRST_WAIT_S, time.monotonic()
        with self._resources.notifier.subscribe() as watch:
            agenda = deque(self._admit(watch))
            while agenda or flight.open_keys:
                answered = []
                while agenda:
                    action = agenda.popleft()
                    if isinstance(action, Give):
                        answered.append(action.answer.request.key)
                        yield action.answer
                    elif _is_for_this_caller(action) and flight.left(time.monotonic()) <= 0:
                        continue  # who is late already is told so, and nothing is begun that nobody waits for
                    elif (wanted := flight.narrowed(action)) is not None:
                        event = self._perform(wanted, watch)
                        if isinstance(event, PostgresAway):  # what needs it is not tried again before the next look
                            agenda = deque(other for other in agenda if isinstance(other, WITHOUT_POSTGRES))
                        agenda.extendleft(reversed(flight.observe(event, now=time.monotonic())))
                watch.drop(answered)
                agenda.extend(self._admit(watch))
                left = flight.left(time.monotonic())
                if left <= 0:
                    agenda = deque(flight.observe(DeadlinePassed(), now=time.monotonic()))
                elif not agenda and flight.open_keys:
                    wait_s = FIRST_WAIT_S if answered else min(wait_s * 2, LONGEST_WAIT_S)
                    heard = watch.wait(min(left, wait_s * random.uniform(0.5, 1.5)))  # noqa: S311 jitter
                    now = time.monotonic()
                    if not heard or now - looked_at > LONGEST_WAIT_S:  # what is heard of others hides no lost one
                        heard, looked_at = set(flight.open_keys), now
                    agenda.extend(flight.observe(Due(tuple(heard)), now=now))

    def _admit(self, watch: Subscription) -> list[Action]:
        keys = self._flight.admit()
        if not keys:
            return []
        return self._flight.observe(Admitted(keys, frozenset(watch.add(keys))), now=time.monotonic())

    def _perform(self, action: Action, watch: Subscription) -> Event:
        """Carry out one action, and return what came of it."""
        event: Event = Done()
        try:
            match action:
                case Look(keys=keys):
                    event = Viewed(self._jobs.look(keys))
                case Register(keys=keys):
                    requests = [self._flight.request(key) for key in keys]
                    event = Registered(action, self._enqueuer.enqueue(requests, on_made=watch.acknowledge))
                case Forget():
                    self._forget(action)
                case Resend():
                    event = self._resend(action)
                case ComputeHere(keys=(key,)):
                    event = self._compute_here(self._flight.request(key), action)
                case ComputeUnstored(keys=(key,), mode=mode, why=why):
                    request = self._flight.request(key)
                    event = Computed(key, self._local.unstored(request, mode, why, seconds=self._left()))
        except ManifestUnavailable as error:
            event = PostgresAway(action, error)
        return event

    def _forget(self, action: Forget) -> None:
        for key in action.keys:
            if action.owner is None:
                self._jobs.reset(key)
            else:
                self._jobs.reset_failure(key, action.owner)

    def _resend(self, action: Resend) -> Event:
        self._recovery.bury(action.keys)
        unsent = self._recovery.resend(action.keys).unsent
        return RedisAway(action, next(iter(unsent.values())), tuple(unsent)) if unsent else Done()

    def _compute_here(self, request: KeyedRequest, action: ComputeHere) -> Event:
        """Compute what only this process can, or what no worker can be asked for.

        What any worker could compute is kept only if this process would find the same:
        the key says nothing of what a caller set for his own work.
        """
        is_local, reference = isinstance(request.feature, LocalFeature), CALLER_ONLY
        try:
            if action.cause is not None:
                self._resources.recorder.degraded("redis", str(action.cause))
                if not is_local and (changed := (*settings_set_here(), *request.feature.set_here())):
                    return ProcessDiffers(request.key, changed)
                if not may_be_stored(self._resources.settings, request.feature.name):
                    return self._compute_for_this_caller(request, str(not_trusted(request.feature.name)))
                reference = stage_raw(
                    self._staging,
                    request.raw_data,
                    request.fingerprint,
                    roots=self._resources.settings.data_roots,
                )
            by_worker, seconds = action.cause is None, self._left()
            return Computed(request.key, self._local.stored(request, reference, by_worker=by_worker, seconds=seconds))
        except BrokerUnavailable as error:
            return RedisAway(action, error, (request.key,))
        except StorageUnavailable as error:
            return FolderAway((request.key,), error)

    def _compute_for_this_caller(self, request: KeyedRequest, why: str) -> Event:
        """Compute what nobody else may be given; None where a worker is at it or may soon be.

        A message whose send failed may be in its queue all the same, and where Redis
        answers again the job is sent anew: the worker's result is everybody's.
        """
        key, claim = request.key, None
        job = self._jobs.look([key])[key].job
        if job is not None and job.state in {JobState.QUEUED, JobState.RUNNING}:
            if not self._resources.redis_server.is_up():
                claim = self._jobs.claim(key, request.message(CALLER_ONLY).wire())
            if claim is None:
                return Computed(key, None)
        try:
            with hold_claims(self._jobs, [claim] if claim else [], every_s=self._resources.settings.renew_seconds):
                return Computed(key, self._local.unstored(request, "not stored", why, seconds=self._left()))
        finally:
            if claim is not None:
                with suppress(ManifestUnavailable):  # or the lease lapses
                    self._jobs.complete(claim)

    def _left(self) -> float:
        return self._flight.left(time.monotonic())
