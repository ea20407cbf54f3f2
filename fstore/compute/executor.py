"""The worker's half: claim, run, publish. One published result a key, whatever dies on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fstore import errors
from fstore.broker.messages import ComputeRequest, PublishRequest
from fstore.calling.call import call, is_stop
from fstore.compute.failures import error_of, is_anothers_refusal, note_of, verdict
from fstore.compute.lease import lease
from fstore.compute.planning import Work, plan
from fstore.compute.publishing import Offer, announce, insert, new_entry, publish_result
from fstore.compute.raw_data import Loaded, read_raw
from fstore.errors import EntryCorrupt, FeatureStoreError, InvalidRequest
from fstore.features import keys
from fstore.model import Claim, KeyParts, Locator, Status
from fstore.resources import Resources
from fstore.runtime import logs, tracing
from fstore.runtime.versions import library_versions

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


def get_or_compute(resources: Resources, request: ComputeRequest, *, phase: Phase) -> Outcome:
    """Answer one request in a worker: the live entry, or a computation if nobody else runs it.

    Returns without a locator when another worker holds the claim: a waiter never
    occupies a worker. Raises the typed error of a failure that is still remembered.
    """
    began = time.monotonic()
    try:
        work = plan(resources, request)
    except FeatureStoreError as error:
        refuse(resources, request, error)
        raise
    logs.bind(key=work.key)  # a plain Celery client does not know it
    claim = resources.jobs.claim(work.key, work.request.wire())  # first: a key that has a live entry cannot be claimed
    if claim is None and _forgot_anothers_refusal(resources, work):
        claim = resources.jobs.claim(work.key, work.request.wire())
    if claim is None:
        return _why_not(resources, work.key, began)
    if claim.revivable and (found := _revived(resources, work.key)) is not None:
        resources.jobs.finish(claim)
        announce(resources, work.key)
        return Outcome(work.key, Status.HIT, found, time.monotonic() - began)
    if claim.starts > 1:  # an earlier start did not end: its worker died, froze or was stopped
        resources.recorder.count("takeovers")
    found = perform(resources, work, claim, phase=phase, publish=publish_here)
    return Outcome(work.key, Status.COMPUTED, found, time.monotonic() - began)


def publish_here(resources: Resources, work: Work, claim: Claim, result: object, seconds: float) -> Locator | None:
    """Publish a result from this process; see ``publishing.publish_result``."""
    return publish_result(resources, work.request, work.feature, claim, result, seconds)


def publish_staged(resources: Resources, request: PublishRequest) -> Outcome:
    """Publish a result that was computed outside a worker, under the claim of whoever computed it.

    The bytes that the caller compared with its result are published as they are.
    Whatever goes wrong becomes a note on the job, so that nobody waits for it; a
    server that is away is left to the task's retries.
    """
    began = time.monotonic()
    claim = Claim(request.key, request.attempt, request.owner)
    try:
        found = _publish_staged(resources, request, claim)
    except (errors.ManifestUnavailable, errors.BrokerUnavailable, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not give_up(resources, claim, error):  # somebody else's by now, or published: this task ran before
            found = resources.manifest.find_live(request.key)
            if found is not None:
                return Outcome(request.key, Status.COALESCED, found, time.monotonic() - began)
        resources.files.discard(request.staged_path)
        raise error_of(request.key, note_of(error)) from error
    resources.files.discard(request.staged_path)
    return Outcome(request.key, Status.COMPUTED if found else Status.COALESCED, found, time.monotonic() - began)


def give_up(resources: Resources, claim: Claim, error: BaseException) -> bool:
    """Leave a note of why a claim comes to nothing and wake its waiters; return whether the claim still held."""
    failed = resources.jobs.fail(claim, note_of(error))
    if failed:
        announce(resources, claim.key, failed=1)
    return failed


def bury(resources: Resources, keys: Sequence[str] | None = None) -> list[str]:
    """Mark jobs dead that were started too often without an end, among ``keys`` or all; count them and wake their waiters."""
    buried = resources.jobs.bury(keys)
    if buried:
        announce(resources, *buried, dead=len(buried))
    return buried


def _publish_staged(resources: Resources, request: PublishRequest, claim: Claim) -> Locator | None:
    compute_request = ComputeRequest(
        symbol=request.symbol, feature=request.feature, raw_data={"kind": "staged", "path": request.staged_path},  # type: ignore[arg-type]
        feature_version=request.feature_version, key=request.key, fingerprint=request.fingerprint,
        hash_method=request.hash_method, canonical_config=request.canonical_config,
    )  # fmt: skip
    parts = KeyParts(
        request.symbol, request.feature, request.feature_version, request.canonical_config, request.fingerprint
    )
    if keys.key_of(parts) != request.key:
        raise InvalidRequest("key", "is not the key of the other fields")
    table, data, _ = resources.files.read_staged_result(request.staged_path, digest=request.staged_digest)
    stored = resources.files.publish_bytes(request.key, data)
    versions = request.library_versions or library_versions()
    try:
        entry = new_entry(compute_request, request.source_digest, table, stored, request.compute_seconds, versions)
    except BaseException:
        resources.files.discard(stored.path)
        raise
    return insert(resources, [Offer(entry, claim)])[request.key]


def perform(
    resources: Resources,
    work: Work,
    claim: Claim,
    *,
    phase: Phase,
    publish: Callable[[Resources, Work, Claim, object, float], Locator | None],
    read: Callable[[], Loaded] | None = None,
) -> Locator | None:
    """Compute under a claim and publish; an error becomes a note on the job that all waiters share.

    Returns the entry that answers for the key now, None when the claim was lost and
    nobody has published yet. Raises what the function raised as ``ComputeFailed``,
    and fstore's own errors as they are.
    """
    with lease(resources.jobs, [claim], every_s=resources.settings.renew_seconds):
        try:
            phase("READING")
            with tracing.span("fstore.read", symbol=work.parts.symbol, key=work.key):
                raw = read() if read is not None else _read(resources, work)
            phase("COMPUTING")
            began = time.monotonic()
            with tracing.span("fstore.compute", feature=work.feature.name, key=work.key):
                result = raw.settle(call(work.feature, raw.value, keys.restore_config(work.parts.config)))
            seconds = time.monotonic() - began
            resources.recorder.took("compute_seconds", seconds)
            del raw
            phase("WRITING")
            with tracing.span("fstore.publish", key=work.key):
                return publish(resources, work, claim, result, seconds)
        except errors.ManifestUnavailable:
            raise  # no note can be written either; the lease lapses and the job is taken over
        except BaseException as error:
            if is_stop(error):
                with suppress(errors.ManifestUnavailable):
                    resources.jobs.release(claim)  # another worker need not wait for the lease; the start stays counted
                raise
            note = note_of(error)
            resources.jobs.fail(claim, note)
            announce(resources, work.key, failed=1)
            raise error_of(work.key, note) from error


def refuse(resources: Resources, request: ComputeRequest, error: FeatureStoreError) -> None:
    """Tell those who wait for a request that this worker cannot run it; without a note they would wait to their deadlines."""
    if request.key is None:
        return
    claim = resources.jobs.claim(request.key, request.wire())
    if claim is not None:
        resources.jobs.fail(claim, note_of(error))
        announce(resources, request.key, failed=1)


def _why_not(resources: Resources, key: str, began: float) -> Outcome:
    found = resources.manifest.find_live(key)
    if found is not None:
        resources.jobs.settle([key])
        return Outcome(key, Status.HIT, found, time.monotonic() - began)
    bury(resources, [key])
    view = resources.jobs.look([key])[key]
    error = verdict(view)
    if error is not None:
        raise error
    return Outcome(key, Status.COALESCED, view.entry, time.monotonic() - began)


def _forgot_anothers_refusal(resources: Resources, work: Work) -> bool:
    """Drop a note that tells somebody whose source is another that this worker's is not his; the key is free then."""
    job = resources.jobs.look([work.key])[work.key].job
    if job is None or job.failure is None or not is_anothers_refusal(job.failure, work.request):
        return False
    return resources.jobs.forget_failure(work.key, job.owner)


def _revived(resources: Resources, key: str) -> Locator | None:
    """Take a condemned entry back instead of computing it again, if its file is still right."""
    found = resources.manifest.revive(key, youngest_s=resources.settings.gc_grace_hours * 3600 / 2)
    if found is None:
        return None
    try:
        resources.files.read_bytes(found)
    except EntryCorrupt:
        resources.manifest.quarantine(key, found.path)
        resources.files.quarantine(found.path)
        resources.recorder.count("corrupt_detected")
        return None
    resources.recorder.used(key)
    return found


def _read(resources: Resources, work: Work) -> Loaded:
    return read_raw(
        work.request.raw_data, resources.files, resources.settings, work.fingerprint, wanted=work.feature.input
    )
