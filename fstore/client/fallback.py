"""What becomes of a question when something is away: computed here, with or without being stored, or an error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fstore.broker.messages import RawReference
from fstore.calling.own_settings import settings_set_here
from fstore.client import local_compute
from fstore.client.request import Question
from fstore.compute import raw_data as rawdata
from fstore.compute.lease import hold_claims
from fstore.compute.raw_data import Taker
from fstore.compute.staged_results import may_be_stored, not_trusted
from fstore.errors import (
    BrokerUnavailable,
    FeatureStoreError,
    ManifestUnavailable,
    StorageUnavailable,
)
from fstore.features.local_features import LocalFeature
from fstore.model import JobState, Locator, Status
from fstore.resources import Resources


@dataclass(frozen=True, slots=True)
class Answer:
    """How a question was answered: by an entry, by a result that could not be stored, or by an error."""

    asked: Question
    status: Status
    locator: Locator | None = None
    result: object = None
    error: FeatureStoreError | None = None


class Fallback:
    """Answers questions without what is away; ``left`` tells the seconds until the caller's deadline."""

    def __init__(self, resources: Resources, left: Callable[[], float]) -> None:
        self._resources = resources
        self._left = left
        self._taker = Taker()

    @property
    def is_allowed(self) -> bool:
        """Whether the settings let a trainer compute for itself."""
        return self._resources.settings.on_unavailable == "compute"

    def compute_here(self, asked: Question, reference: RawReference, *, by_worker: bool) -> Answer | None:
        """Compute under a job lease in this process and publish; None while somebody else holds the claim."""
        try:
            local = local_compute.compute_and_publish(
                self._resources, asked, reference, self._taker, by_worker=by_worker, seconds=self._left()
            )
        except (ManifestUnavailable, StorageUnavailable, BrokerUnavailable):
            raise
        except FeatureStoreError as error:
            return Answer(asked, Status.COMPUTED, error=error)
        if local is None:
            return None
        if local.why_not_stored is not None:
            self._resources.recorder.degraded("not stored", str(local.why_not_stored))
        if local.locator is None and local.result is None:
            return None
        return Answer(asked, Status.COMPUTED, local.locator, local.result)

    def without_redis(self, asked: Question, error: BrokerUnavailable) -> Answer | None:
        """No worker can be asked: compute here under the job's lease and publish.

        What any worker could compute is kept only where trainers are believed, and only if
        this process would find the same: the key says nothing of what a caller set for his
        own work.
        """
        if not self.is_allowed:
            return Answer(asked, Status.COALESCED, error=error)
        self._resources.recorder.degraded("redis", str(error))
        if not isinstance(asked.feature, LocalFeature) and (changed := settings_set_here()):
            return self._alone(asked, f"this process set {', '.join(changed)}; a worker has not")
        if not may_be_stored(self._resources.settings, asked.feature.name):
            return self._alone(asked, str(not_trusted(asked.feature.name)))
        try:
            reference = rawdata.stage(self._resources.staging, asked.raw, asked.taken)
            return self.compute_here(asked, reference, by_worker=False)
        except StorageUnavailable as full:
            return self.not_stored(asked, "store folder", full)

    def not_stored(self, asked: Question, mode: str, cause: FeatureStoreError) -> Answer:
        """Compute here and keep nothing."""
        if not self.is_allowed:
            return Answer(asked, Status.COALESCED, error=cause)
        return self._unstored(asked, mode, str(cause))

    def _alone(self, asked: Question, why: str) -> Answer | None:
        """Compute here for this caller only; None where a worker is at it or may soon be.

        A message whose send failed may be in its queue all the same, and where Redis
        answers again the job is sent anew: the worker's result is everybody's.
        """
        jobs = self._resources.jobs
        job = jobs.look([asked.key])[asked.key].job
        if job is None or job.state not in {JobState.QUEUED, JobState.RUNNING}:
            return self._unstored(asked, "not stored", why)
        if self._resources.redis_server.is_up():
            return None
        claim = jobs.claim(asked.key, asked.request(local_compute.CALLER_ONLY).wire())
        if claim is None:
            return None
        try:
            with hold_claims(jobs, [claim], every_s=self._resources.settings.renew_seconds):
                return self._unstored(asked, "not stored", why)
        finally:
            with suppress(ManifestUnavailable):  # or the lease lapses
                jobs.complete(claim)

    def _unstored(self, asked: Question, mode: str, why: str) -> Answer:
        self._resources.recorder.degraded(mode, why)
        try:
            result = local_compute.compute_only(asked, self._taker, seconds=self._left())
            return Answer(asked, Status.COMPUTED, result=result)
        except FeatureStoreError as error:
            return Answer(asked, Status.COMPUTED, error=error)
