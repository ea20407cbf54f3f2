"""Computing in the calling process: features that only it has, and what no worker can be asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fstore import compute, deadline, keys, rawdata, results, tracing
from fstore.asking import Question
from fstore.calling.call import call, is_stop
from fstore.errors import (
    BrokerUnavailable,
    ComputeTimeout,
    FeatureStoreError,
    ManifestUnavailable,
    StorageUnavailable,
)
from fstore.failures import error_of, note_of
from fstore.messages import ComputeRequest, PublishRequest, RawReference
from fstore.model import Claim, Locator
from fstore.planning import Work
from fstore.publishing import publish_result
from fstore.resources import Resources

T = TypeVar("T")
CALLER_ONLY = RawReference(kind="caller", path="-")


@dataclass(frozen=True, slots=True)
class Local:
    """A result computed here: the entry it became, or the bare table when it could not be stored."""

    locator: Locator | None
    result: Any
    why_not_stored: FeatureStoreError | None = None


def compute_and_publish(
    resources: Resources, asked: Question, reference: RawReference, *, by_worker: bool, seconds: float
) -> Local | None:
    """Compute under a job lease in this process and publish; None when somebody else holds the claim.

    ``by_worker`` leaves the write to a worker's task. What cannot be stored is
    returned all the same.
    """
    request = asked.request(reference)
    claim = resources.jobs.claim(asked.key, request.wire())
    if claim is None:
        return None
    kept: list[object] = []

    def publish(resources: Resources, work: Work, claim: Claim, result: object, took: float) -> Locator | None:
        kept.append(result)
        if by_worker:
            return _publish_by_worker(resources, asked, request, claim, result, took)
        return publish_result(resources, work.request, work.feature.source_digest, claim, result, took)

    work = Work(asked.key, asked.parts, asked.feature, asked.taken, request)
    try:
        found = bounded(
            lambda: compute.perform(
                resources, work, claim, phase=lambda _: None, publish=publish, read=lambda: _raw(asked)
            ),
            asked.key,
            seconds,
        )
    except (StorageUnavailable, ManifestUnavailable, BrokerUnavailable) as error:
        if not kept:
            raise
        return Local(None, kept[0], error)
    return Local(found, kept[0] if found is None else None)


def compute_only(asked: Question, *, seconds: float) -> object:
    """Call the function here and keep nothing, as when Postgres or the folder is away; raises ``ComputeFailed``."""

    def act() -> object:
        try:
            result = call(asked.feature, _raw(asked), keys.restore_config(asked.parts.config))
            results.check_faithful(result, results.encode(result))  # what could not be stored is no result here either
            return result
        except BaseException as error:
            if is_stop(error):
                raise
            raise error_of(asked.key, note_of(error)) from error

    return bounded(act, asked.key, seconds)


def bounded(work: Callable[[], T], key: str, seconds: float) -> T:
    """Run ``work`` in a thread and wait at most ``seconds``; past that it goes on, and the caller gets ``ComputeTimeout``."""
    began = time.monotonic()
    try:
        return deadline.bounded(tracing.carried(work), seconds)
    except deadline.Overdue:
        raise ComputeTimeout(key, time.monotonic() - began, "running in this process") from None


def _raw(asked: Question) -> object:
    return rawdata.convert(asked.raw, wanted=asked.feature.input)


def _publish_by_worker(
    resources: Resources, asked: Question, request: ComputeRequest, claim: Claim, result: object, took: float
) -> Locator | None:
    table = results.encode(result)
    results.check_faithful(result, table)
    staged = resources.files.stage_result(asked.key, table)
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
        compute_seconds=took,
    )
    try:
        resources.broker.send_publish(message)
    except BrokerUnavailable:
        resources.files.discard(staged)
        return publish_result(resources, request, asked.feature.source_digest, claim, result, took)
    return _await_row(resources, asked.key, claim)


def _await_row(resources: Resources, key: str, claim: Claim) -> Locator | None:
    """Wait until the publishing task ended the job; the lease is being renewed meanwhile."""
    ends_at = time.monotonic() + resources.settings.request_timeout_s
    with resources.hints.watch([key]) as hint:
        while time.monotonic() < ends_at:
            view = resources.jobs.look([key])[key]
            if view.entry is not None:
                return view.entry
            if view.job is None or view.job.owner != claim.owner:
                return None
            hint.wait(0.2)
    raise StorageUnavailable(
        key, "no worker published the staged result in time; check the workers of queue fstore.write"
    )
