"""Computing in the calling process: features that only it has, and what no worker can be asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

import pandas as pd

from fstore.broker import RawReference
from fstore.calling import is_stop
from fstore.client.local_publish import OwnClaim, publish_by_worker
from fstore.client.request import Answer, KeyedRequest
from fstore.compute import (
    IN_MEMORY,
    Computation,
    Publisher,
    Ready,
    SegmentLoader,
    Taker,
    cause_of,
    error_of,
    note_of,
    perform,
    private_copy,
    rows_of,
)
from fstore.errors import (
    BrokerUnavailable,
    ComputeTimeout,
    FeatureNotRegistered,
    FeatureStoreError,
    ManifestUnavailable,
    StorageUnavailable,
)
from fstore.features import restore_config
from fstore.model import Claim, Locator, Status
from fstore.resources import Resources
from fstore.results import check_faithful, encode_result, hand_out_frame
from fstore.runtime import deadline
from fstore.storage import as_read

T = TypeVar("T")


class LocalComputing:
    """Runs what one call has to compute for itself, stored or not.

    Raw data that the next one wants too are copied once.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._taker = Taker()

    def stored(
        self, request: KeyedRequest, reference: RawReference, *, by_worker: bool, seconds: float
    ) -> Answer | None:
        """Compute under a job lease and publish; None while somebody else holds the claim.

        ``by_worker`` leaves the write to a worker's task. What cannot be stored is
        answered all the same, and counted. Raises ``StorageUnavailable``,
        ``ManifestUnavailable`` and ``BrokerUnavailable`` when nothing could be computed.
        """
        try:
            answer = self._compute_and_publish(request, reference, by_worker=by_worker, seconds=seconds)
        except (ManifestUnavailable, StorageUnavailable, BrokerUnavailable):
            raise
        except FeatureStoreError as error:
            return Answer(request, Status.COMPUTED, error=error)
        if answer is not None and answer.not_stored is not None:
            self._resources.recorder.degraded("not stored", str(answer.not_stored))
        return answer

    def unstored(self, request: KeyedRequest, mode: str, why: str, *, seconds: float) -> Answer:
        """Compute and keep nothing, and count that as ``mode``; a failure is the answer then."""
        self._resources.recorder.degraded(mode, why)
        try:
            return Answer(request, Status.COMPUTED, result=compute_only(request, self._taker, seconds=seconds))
        except FeatureStoreError as error:
            return Answer(request, Status.COMPUTED, error=error)

    def _compute_and_publish(
        self, request: KeyedRequest, reference: RawReference, *, by_worker: bool, seconds: float
    ) -> Answer | None:
        resources = self._resources
        message = request.message(reference, on_source_change=resources.settings.on_source_change)
        own = OwnClaim(resources.jobs)
        kept: list[object] = []
        refused: list[FeatureStoreError] = []
        rebound: list[Callable[[], str]] = []

        def read() -> Ready:
            rebound.append(request.feature.watch())
            try:
                return _raw(request, self._taker, SegmentLoader(resources))
            except FeatureNotRegistered:
                own.give_up()  # no failure that is told to others: what they hold may be what the key stands for
                raise

        def publish(computation: Computation, claim: Claim, result: object, took: float) -> Locator | None:
            kept.append(result)
            if not own.is_given_up and (changed := _rebound(rebound) or _left_behind(request, own)):
                own.give_up()  # a key says what the function found when it was asked for
                refused.append(
                    FeatureNotRegistered(request.feature.name, f"{changed} while it was computed; ask again")
                )
            if own.is_given_up:
                return None
            if by_worker:
                return publish_by_worker(resources, computation, claim, result, took, refused)
            return Publisher.of(resources).publish(computation, claim, result, took)

        config = restore_config(request.parts.config)
        computation = Computation(
            request.key, request.parts, request.feature, config, request.fingerprint, message, request.task
        )

        def act() -> Answer | None:
            with own.claimed(request.key, message) as claim:
                if claim is None:
                    return None
                with deadline.unbounded():
                    entry = perform(
                        resources,
                        computation,
                        claim,
                        phase=lambda _: None,
                        publish=publish,
                        read=read,
                    )
            if refused:
                raise refused[0]
            if entry is not None:
                return Answer(request, Status.COMPUTED, entry)
            if kept and SegmentLoader(resources).was_withdrawn(kept[0]):
                return None  # and is computed once more, without what it was copied from
            return _bare(request, kept[0]) if kept else None

        try:
            return bounded(act, request.key, seconds)
        except (StorageUnavailable, ManifestUnavailable, BrokerUnavailable) as error:
            if not kept:
                raise
            return _bare(request, kept[0], error)
        except ComputeTimeout:
            own.is_left = True
            raise
        except FeatureStoreError:
            raise
        except BaseException:  # not of the computation: the caller's own stop, or its signal handler's error
            own.give_up()
            raise


def compute_only(request: KeyedRequest, taker: Taker, *, seconds: float) -> object:
    """Call the function here and keep nothing, as when Postgres or the folder is away.

    Raises ``ComputeFailed``.
    """

    def act() -> object:
        try:
            raw = _raw(request, taker, SegmentLoader(None))
            with deadline.unbounded():
                result = raw.result(request.feature, restore_config(request.parts.config))
            check_faithful(result, as_read(encode_result(result)))  # what cannot be stored is no result here either
            return _own(result)
        except BaseException as error:
            if is_stop(error):
                raise
            raise error_of(request.key, note_of(error)) from cause_of(error)

    return bounded(act, request.key, seconds)


def bounded(work: Callable[[], T], key: str, seconds: float) -> T:
    """Run ``work`` in a thread and wait at most ``seconds``.

    Past that it goes on, and the caller gets ``ComputeTimeout``. It sees the caller's context as a direct call
    would, with what numpy, decimal and tracing keep there.
    """
    began, context = time.monotonic(), copy_context()
    try:
        return deadline.bounded(lambda: context.run(work), deadline.at_most(seconds))
    except deadline.Overdue:
        raise ComputeTimeout(key, time.monotonic() - began, "running in this process") from None


def _rebound(watched: list[Callable[[], str]]) -> str:
    name = next((found for look in watched if (found := look())), "")
    return f"{name} was bound anew" if name else ""


def _left_behind(request: KeyedRequest, own: OwnClaim) -> str:
    """Say what changed of a callable whose caller went on at the deadline, if only within a table."""
    if not own.is_left or request.feature.current() is request.feature:
        return ""
    return "what it holds or looks up was changed"


def _raw(request: KeyedRequest, taker: Taker, loader: SegmentLoader) -> Ready:
    request.feature.require_unchanged()
    if request.task is not None:
        where = IN_MEMORY if request.raw_data.path is None else str(request.raw_data.path)
        return loader.load(request.parts, request.feature, request.task, rows_of(request.raw_data), where)
    return taker.take(request.raw_data, request.fingerprint, wanted=request.feature.input)


def _bare(request: KeyedRequest, result: object, why: FeatureStoreError | None = None) -> Answer:
    return Answer(request, Status.COMPUTED, result=_own(result), not_stored=why)


def _own(result: object) -> object:
    """Return a result that is not stored in memory of its own.

    The function may fill the same frame again next time.
    """
    if isinstance(result, pd.DataFrame):
        return hand_out_frame(result, deep=True)
    return private_copy(encode_result(result))
