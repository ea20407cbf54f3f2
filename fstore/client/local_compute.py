"""Computing in the calling process: features that only it has, and what no worker can be asked for."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from fstore.broker.client import WRITE_QUEUE
from fstore.broker.messages import ComputeRequest, PublishRequest, RawReference
from fstore.calling.call import call, is_stop
from fstore.client.request import Question
from fstore.compute import executor as compute
from fstore.compute.failures import error_of, note_of, verdict
from fstore.compute.planning import Work
from fstore.compute.private_copy import private_copy
from fstore.compute.publishing import publish_result, versions_of
from fstore.compute.raw_data import Loaded, Taker
from fstore.errors import (
    BrokerUnavailable,
    ComputeTimeout,
    FeatureStoreError,
    ManifestUnavailable,
    StorageUnavailable,
)
from fstore.features import keys
from fstore.model import Claim, Locator
from fstore.resources import Resources
from fstore.results.codec import check_faithful, encode_result, hand_out_frame
from fstore.runtime import deadline
from fstore.storage.durable import as_read

T = TypeVar("T")
PUBLISHED_WITHIN_S = 30.0  # by a worker; then its queue has none, or only those that die of it
GIVEN_UP_WITHIN_S = 1.0  # or the lease runs out
CALLER_ONLY = RawReference(kind="caller", path="-")


@dataclass(frozen=True, slots=True)
class Local:
    """A result computed here: the entry it became, or the bare table when it could not be stored."""

    locator: Locator | None
    result: Any
    why_not_stored: FeatureStoreError | None = None


def compute_and_publish(
    resources: Resources, asked: Question, reference: RawReference, taker: Taker, *, by_worker: bool, seconds: float
) -> Local | None:
    """Compute under a job lease in this process and publish; None when somebody else holds the claim.

    ``by_worker`` leaves the write to a worker's task. What cannot be stored is
    returned all the same.
    """
    request = asked.request(reference, on_source_change=resources.settings.on_source_change)
    own = _OwnClaim(resources)
    kept: list[object] = []
    refused: list[FeatureStoreError] = []

    def publish(resources: Resources, work: Work, claim: Claim, result: object, took: float) -> Locator | None:
        kept.append(result)
        if own.is_given_up:
            return None
        if by_worker:
            return _publish_by_worker(resources, asked, request, claim, result, took, refused)
        return publish_result(resources, work.request, work.feature, claim, result, took)

    work = Work(asked.key, asked.parts, asked.feature, asked.taken, request)

    def act() -> Local | None:
        with own.claimed(asked.key, request) as claim:
            if claim is None:
                return None
            with deadline.unbounded():
                found = compute.perform(
                    resources, work, claim, phase=lambda _: None, publish=publish, read=lambda: _raw(asked, taker)
                )
        if refused:
            raise refused[0]
        return Local(found, _own(kept[0]) if found is None and kept else None)

    try:
        return bounded(act, asked.key, seconds)
    except (StorageUnavailable, ManifestUnavailable, BrokerUnavailable) as error:
        if not kept:
            raise
        return Local(None, _own(kept[0]), error)
    except FeatureStoreError:
        raise
    except BaseException:  # not of the computation: the caller's own stop, or its signal handler's error
        own.give_up()
        raise


class _OwnClaim:
    """A claim of this process, given back when its caller is interrupted, or the process ends, before the work is done.

    As if it had never been made: others need not wait for the lease, and a start that
    somebody broke off is none that ended its process. It is made by the thread that
    computes, which no signal interrupts halfway.
    """

    def __init__(self, resources: Resources) -> None:
        self._jobs, self._pid = resources.jobs, os.getpid()
        self._guard = threading.Lock()
        self._claim: Claim | None = None
        self.is_given_up = False

    @contextmanager
    def claimed(self, key: str, request: ComputeRequest) -> Iterator[Claim | None]:
        """Claim for as long as the block runs; None when somebody else holds the claim, or the caller has gone."""
        with self._guard:
            if not self.is_given_up:
                self._claim = self._jobs.claim(key, request.wire())
        if self._claim is not None:
            atexit.register(self.give_up)
        try:
            yield self._claim
        finally:
            atexit.unregister(self.give_up)

    def give_up(self) -> None:
        """Give it back; what is still computed for it is not published."""
        if self._pid != os.getpid():  # a fork of the caller, which ends as well
            return
        self.is_given_up = True
        atexit.unregister(self.give_up)
        if self._guard.acquire(timeout=GIVEN_UP_WITHIN_S):
            self._guard.release()
        if self._claim is not None:
            with suppress(ManifestUnavailable), deadline.within(GIVEN_UP_WITHIN_S):
                self._jobs.finish(self._claim)


def compute_only(asked: Question, taker: Taker, *, seconds: float) -> object:
    """Call the function here and keep nothing, as when Postgres or the folder is away; raises ``ComputeFailed``."""

    def act() -> object:
        try:
            raw = _raw(asked, taker)
            with deadline.unbounded():
                result = raw.settle(call(asked.feature, raw.value, keys.restore_config(asked.parts.config)))
            check_faithful(result, as_read(encode_result(result)))  # what cannot be stored is no result here either
            return _own(result)
        except BaseException as error:
            if is_stop(error):
                raise
            raise error_of(asked.key, note_of(error)) from error

    return bounded(act, asked.key, seconds)


def bounded(work: Callable[[], T], key: str, seconds: float) -> T:
    """Run ``work`` in a thread and wait at most ``seconds``; past that it goes on, and the caller gets ``ComputeTimeout``.

    It sees the caller's context as a direct call would, with what numpy, decimal and
    tracing keep there.
    """
    began, context = time.monotonic(), copy_context()
    try:
        return deadline.bounded(lambda: context.run(work), seconds)
    except deadline.Overdue:
        raise ComputeTimeout(key, time.monotonic() - began, "running in this process") from None


def _raw(asked: Question, taker: Taker) -> Loaded:
    asked.feature.require_unchanged()
    return taker.take(asked.raw, asked.taken, wanted=asked.feature.input)


def _own(result: object) -> object:
    """Return a result that is not stored in memory of its own: the function may fill the same frame again next time."""
    if isinstance(result, pd.DataFrame):
        return hand_out_frame(result, deep=True)
    return private_copy(encode_result(result))


def _publish_by_worker(
    resources: Resources,
    asked: Question,
    request: ComputeRequest,
    claim: Claim,
    result: object,
    took: float,
    refused: list[FeatureStoreError],
) -> Locator | None:
    """Have a worker publish; what that worker leaves as its failure goes to ``refused``."""
    staged = resources.files.stage_result(asked.key, encode_result(result))
    try:
        restored, _, digest = resources.files.read_staged_result(staged)
        check_faithful(result, restored)
        message = PublishRequest(
            key=asked.key,
            attempt=claim.attempt,
            owner=claim.owner,
            symbol=asked.parts.symbol,
            feature=asked.feature.name,
            feature_version=asked.feature.version,
            source_digest=asked.feature.source_digest,
            canonical_config=asked.parts.config,
            fingerprint=str(asked.taken),
            hash_method=asked.taken.method.value,
            staged_path=staged,
            staged_digest=digest,
            compute_seconds=took,
            library_versions=dict(versions_of(asked.feature)),
        )
        resources.broker.send_publish(message)
    except BrokerUnavailable:
        resources.files.discard(staged)
        return publish_result(resources, request, asked.feature, claim, result, took)
    except BaseException:
        resources.files.discard(staged)
        raise
    if _is_settled(resources, asked.key, claim, refused):
        return resources.manifest.find_live(asked.key)
    resources.recorder.degraded("publish queue", f"no worker of queue {WRITE_QUEUE} published {asked.key[:12]} in time")
    found = publish_result(resources, request, asked.feature, claim, result, took)
    resources.files.discard(
        staged
    )  # not before: where this process may not publish, a worker that comes late still can
    return found


def _is_settled(resources: Resources, key: str, claim: Claim, refused: list[FeatureStoreError]) -> bool:
    """Wait until the publishing task ended the job, for as long as others may wait for the dead; the lease is renewed meanwhile."""
    ends_at = time.monotonic() + PUBLISHED_WITHIN_S
    with resources.hints.watch([key]) as hint:
        while time.monotonic() < ends_at:
            view = resources.jobs.look([key])[key]
            if view.entry is not None or view.job is None or view.job.owner != claim.owner:
                return True
            if (error := verdict(view, waited=True)) is not None:
                refused.append(error)
                return True
            hint.wait(0.2)
    return False
