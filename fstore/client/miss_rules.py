"""What one look at a key that missed leads to: entry, failure and job as seen, the step as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fstore.client.miss_events import ComputeUnstored, Give
from fstore.client.request import Answer, KeyedRequest, OnSourceChange, is_refused_to_another
from fstore.compute import failure_for
from fstore.errors import FeatureStoreError, SourceChanged, SourceNotAllowed, StorageUnavailable
from fstore.features import LocalFeature
from fstore.model import JobState, KeyStatus, ObjectUrl, Status
from fstore.settings import DataRoot, sent_path


@dataclass(frozen=True, slots=True)
class MissRules:
    """What the settings say of misses."""

    may_compute_here: bool  # when a server is away
    resend_every_s: float  # how often a waiter looks for jobs that were lost
    on_source_change: OnSourceChange = "refuse"
    data_roots: Sequence[DataRoot] = ()


@dataclass(slots=True)
class KeyProgress:
    """What one call knows of one key that it waits for."""

    request: KeyedRequest
    state: str = "unknown"  # of the job, as last seen
    is_led: bool = False  # this call registered the job
    has_offered: bool = False  # its own raw data, after those of another could not be read

    @property
    def is_local(self) -> bool:
        """Whether only this process can compute it."""
        return isinstance(self.request.feature, LocalFeature)

    @property
    def has_waited(self) -> bool:
        """Whether the present computation is one that this call has waited for."""
        return self.is_led or self.state in {JobState.QUEUED, JobState.RUNNING}

    def may_offer_own(self, failure: FeatureStoreError, data_roots: Sequence[DataRoot] = ()) -> bool:
        """The data failed on their way, not the computation.

        A caller with a copy or path of its own offers that, once.
        """
        if not isinstance(failure, SourceChanged | SourceNotAllowed) or self.has_offered:
            return False
        own = self.request.raw_data.path
        if own is None:
            return True
        return failure.path not in (str(own), str(own) if isinstance(own, ObjectUrl) else sent_path(own, data_roots))


class Step(StrEnum):
    """What a look at a key leads to."""

    SERVE = "serve"
    KEEP_NOTHING = "keep nothing"
    OFFER_OWN = "offer own data"
    LEAD_ANEW = "lead anew"
    TELL = "tell"
    LEAD = "lead"
    RESEND = "resend"
    WAIT = "wait"


def next_step(status: KeyProgress, view: KeyStatus, rules: MissRules) -> tuple[Step, FeatureStoreError | None]:
    """Judge one key by what was seen of it: the entry speaks first, then a failure, then the job."""
    if view.entry is not None:
        return Step.SERVE, None
    failure = failure_for(view, waited=status.has_waited)
    if failure is not None:
        return _after(failure, status, view, rules), failure
    if is_free(view):
        return Step.LEAD, None
    is_stale = view.job is not None and (view.job.state is JobState.QUEUED or view.job.lapsed)
    return (Step.RESEND if is_stale else Step.WAIT), None


def _after(failure: FeatureStoreError, status: KeyProgress, view: KeyStatus, rules: MissRules) -> Step:
    """Not every failure is everybody's: some are of the way, of another's data, or of another's source."""
    if isinstance(failure, StorageUnavailable):
        return Step.KEEP_NOTHING
    if status.may_offer_own(failure, rules.data_roots):
        return Step.OFFER_OWN
    if is_refused_to_another(status.request, view.job, rules.on_source_change):
        return Step.LEAD_ANEW
    return Step.TELL


def is_free(view: KeyStatus) -> bool:
    """Tell whether nobody computes it and no failure is remembered."""
    return view.job is None or (view.job.state is JobState.FAILED and not view.job.remembered)


def without_store(
    request: KeyedRequest, mode: str, cause: FeatureStoreError, rules: MissRules
) -> ComputeUnstored | Give:
    """Decide what becomes of a request whose result cannot be stored or read.

    It is computed here and kept nowhere, if settings allow.
    """
    if rules.may_compute_here:
        return ComputeUnstored((request.key,), mode, str(cause))
    return Give(Answer(request, Status.COALESCED, error=cause))
