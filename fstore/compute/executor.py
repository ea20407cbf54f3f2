"""The worker's half: claim, run, publish. One published result a key, whatever dies on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fstore import errors
from fstore.broker import ComputeRequest
from fstore.calling import is_stop
from fstore.compute.failures import cause_of, error_of, failure_for, is_anothers_refusal, note_of
from fstore.compute.lease import hold_claims
from fstore.compute.planning import Computation, plan
from fstore.compute.publishing import Publisher, publishing_ends_at
from fstore.compute.raw_data import Ready, read_raw
from fstore.compute.recovery import Recovery
from fstore.compute.segments import SegmentLoader
from fstore.entries import quarantine_entry
from fstore.errors import EntryCorrupt, FeatureStoreError
from fstore.model import Claim, Locator, Status
from fstore.resources import Resources
from fstore.runtime import logs, tracing
from fstore.runtime.finishing import finishing

Phase = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended; without a locator somebody else is still computing."""

    key: str
    status: Status
    locator: Locator | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the small JSON form that a task answers with; ``path`` is relative to the store's root."""
        found = self.locator
        return {
            "status": str(self.status),
            "key": self.key,
            "path": found.path if found else None,
            "rows": found.rows if found else None,
            "file_size_bytes": found.file_size_bytes if found else None,
            "seconds": round(self.seconds, 6),
        }


def execute(resources: Resources, request: ComputeRequest, *, phase: Phase, until: float = float("inf")) -> Outcome:
    """Answer one request in a worker: the live entry, or a computation if nobody else runs it.

    It is published ``until`` then at the latest, if the task began before this request. Returns without a locator when another worker holds the claim: a waiter never
    occupies a worker. Raises the typed error of a failure that is still remembered.
    """
    began = time.monotonic()
    try:
        computation = plan(resources, request)
    except FeatureStoreError as error:
        refuse(resources, request, error)
        raise
    logs.bind(key=computation.key)  # a plain Celery client does not know it
    until = min(until, publishing_ends_at(resources.settings, computation.feature.timeout_s))
    claim = resources.jobs.claim(
        computation.key, computation.request.wire()
    )  # first: a key that has a live entry cannot be claimed
    if claim is None and _forgot_anothers_refusal(resources, computation):
        claim = resources.jobs.claim(computation.key, computation.request.wire())
    if claim is None:
        return _why_not(resources, computation.key, began)
    if claim.revivable and (found := _revived(resources, computation.key)) is not None:
        resources.jobs.complete(claim)
        resources.notifier.announce([computation.key], {})
        return Outcome(computation.key, Status.HIT, found, time.monotonic() - began)
    if claim.starts > 1:  # an earlier start did not end: its worker died, froze or was stopped
        resources.recorder.count("takeovers")
    publish = Publisher.of(resources).publish
    found = perform(resources, computation, claim, phase=phase, publish=publish, until=until)
    if found is None and computation.segment is not None:  # what it was copied from may have been withdrawn meanwhile
        claim = resources.jobs.claim(computation.key, computation.request.wire())
        if claim is not None:
            found = perform(resources, computation, claim, phase=phase, publish=publish, until=until)
    return Outcome(computation.key, Status.COMPUTED, found, time.monotonic() - began)


def give_up(resources: Resources, claim: Claim, error: BaseException) -> bool:
    """Leave a note of why a claim comes to nothing and wake its waiters.

    Returns whether the claim still held.
    """
    failed = resources.jobs.fail(claim, note_of(error))
    if failed:
        resources.notifier.announce([claim.key], {"failed": 1})
    return failed


def perform(
    resources: Resources,
    computation: Computation,
    claim: Claim,
    *,
    phase: Phase,
    publish: Callable[[Computation, Claim, object, float], Locator | None],
    read: Callable[[], Ready] | None = None,
    until: float | None = None,
) -> Locator | None:
    """Compute under a claim and publish, ``until`` then.

    An error becomes a note on the job that all waiters share. Returns the entry that answers for the key now, None
    when the claim was lost and nobody has published yet. Raises what the function raised as ``ComputeFailed``, be
    it one of fstore's, and errors of fstore's own work as they are.
    """
    with hold_claims(resources.jobs, [claim], every_s=resources.settings.renew_seconds):
        try:
            phase("READING")
            with tracing.span("fstore.read", symbol=computation.parts.symbol, key=computation.key):
                raw = read() if read is not None else _read(resources, computation)
            phase("COMPUTING")
            began = time.monotonic()
            with tracing.span("fstore.compute", feature=computation.feature.name, key=computation.key):
                result = raw.result(computation.feature, computation.config)
            with finishing(until):
                seconds = time.monotonic() - began
                resources.recorder.took("compute_seconds", seconds)
                del raw
                phase("WRITING")
                with tracing.span("fstore.publish", key=computation.key):
                    return publish(computation, claim, result, seconds)
        except errors.ManifestUnavailable:
            raise  # no note can be written either; the lease lapses and the job is taken over
        except BaseException as error:
            with finishing(until):
                if is_stop(error):
                    with suppress(errors.ManifestUnavailable):
                        resources.jobs.release(claim)  # another worker need not wait for the lease
                    raise
                note = note_of(error)
                resources.jobs.fail(claim, note)
                resources.notifier.announce([computation.key], {"failed": 1})
            raise error_of(computation.key, note) from cause_of(error)


def refuse(resources: Resources, request: ComputeRequest, error: FeatureStoreError) -> None:
    """Tell those who wait for a request that this worker cannot run it.

    Without a note they would wait to their deadlines.
    """
    if request.key is None:
        return
    claim = resources.jobs.claim(request.key, request.wire())
    if claim is not None:
        resources.jobs.fail(claim, note_of(error))
        resources.notifier.announce([request.key], {"failed": 1})


def _why_not(resources: Resources, key: str, began: float) -> Outcome:
    found = resources.manifest.find_live(key)
    if found is not None:
        resources.jobs.delete_published([key])
        return Outcome(key, Status.HIT, found, time.monotonic() - began)
    Recovery.of(resources).bury([key])
    status = resources.jobs.look([key])[key]
    error = failure_for(status)
    if error is not None:
        raise error
    return Outcome(key, Status.COALESCED, status.entry, time.monotonic() - began)


def _forgot_anothers_refusal(resources: Resources, computation: Computation) -> bool:
    """Drop a note that refuses somebody else's source because it is not this worker's.

    The key is free then.
    """
    job = resources.jobs.look([computation.key])[computation.key].job
    if job is None or job.failure is None or not is_anothers_refusal(job.failure, computation.request):
        return False
    return resources.jobs.reset_failure(computation.key, job.owner)


def _revived(resources: Resources, key: str) -> Locator | None:
    """Take a condemned entry back instead of computing it again, if its file is still right."""
    found = resources.manifest.revive(key, youngest_s=resources.settings.gc_grace_hours * 3600 / 2)
    if found is None:
        return None
    try:
        resources.entries.read_bytes(found)
    except EntryCorrupt as error:
        quarantine_entry(resources.manifest, resources.entries, resources.recorder, found, error.fault)
        return None
    resources.recorder.used(key)
    return found


def _read(resources: Resources, computation: Computation) -> Ready:
    if computation.segment is not None:
        loader = SegmentLoader(resources)
        return loader.load_referenced(
            computation.parts, computation.feature, computation.segment, computation.request.raw_data
        )
    return read_raw(
        computation.request.raw_data,
        resources.staging,
        resources.settings,
        computation.fingerprint,
        wanted=computation.feature.input,
    )
