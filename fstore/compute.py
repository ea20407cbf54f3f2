"""The worker's half: claim, run, stage, publish. One published result a key, whatever dies on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fstore import errors, features, fingerprint, keys, logs, rawdata
from fstore.errors import EntryCorrupt, FeatureStoreError, InvalidRequest, VersionMismatch
from fstore.failures import error_of, note_of, verdict
from fstore.features import Feature
from fstore.lease import lease
from fstore.messages import ComputeRequest, PublishRequest
from fstore.model import Claim, Fingerprint, HashMethod, KeyParts, Locator, ParquetSource, Status
from fstore.publishing import announce, insert, publish_result
from fstore.resources import Resources

Phase = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Work:
    """One key to compute: what the key commits to, the function, and the request as it stands in the job row."""

    key: str
    parts: KeyParts
    feature: Feature
    fingerprint: Fingerprint
    request: ComputeRequest


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
        _refuse(resources, request, error)
        raise
    logs.bind(key=work.key)  # a plain Celery client does not know it
    found = resources.manifest.find_live(work.key) or _revived(resources, work.key)
    if found is not None:
        resources.jobs.settle([work.key])
        return Outcome(work.key, Status.HIT, found, time.monotonic() - began)
    claim = resources.jobs.claim(work.key, work.request.wire())
    if claim is None:
        return _why_not(resources, work.key, began)
    if claim.starts > 1:  # an earlier start did not end: its worker died, froze or was stopped
        resources.recorder.count("takeovers")
    found = perform(resources, work, claim, phase=phase, publish=publish_here)
    return Outcome(work.key, Status.COMPUTED, found, time.monotonic() - began)


def get_or_compute_many(
    resources: Resources, requests: Sequence[ComputeRequest], *, phase: Phase
) -> list[dict[str, Any]]:
    """Answer several requests one after the other; each has its own answer, or its own ``error``, in their order."""
    answers = []
    for request in requests:
        try:
            answers.append(get_or_compute(resources, request, phase=phase).as_dict())
        except FeatureStoreError as error:
            note = note_of(error)
            answers.append(
                {"status": "failed", "key": request.key, "error": {"type": note.error_type, "message": note.detail}}
            )
    return answers


def publish_here(resources: Resources, work: Work, claim: Claim, result: object, seconds: float) -> Locator | None:
    """Publish a result from this process; see ``publishing.publish_result``."""
    return publish_result(resources, work.request, work.feature.source_digest, claim, result, seconds)


def publish_staged(resources: Resources, request: PublishRequest) -> Outcome:
    """Publish a result that was computed outside a worker, under the claim of whoever computed it."""
    began = time.monotonic()
    claim = Claim(request.key, request.attempt, request.owner)
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
    table = resources.files.read_staged_result(request.staged_path)
    stored = resources.files.publish(request.key, table)
    found = insert(resources, compute_request, request.source_digest, claim, table, stored, request.compute_seconds)
    resources.files.discard(request.staged_path)
    return Outcome(request.key, Status.COMPUTED if found else Status.COALESCED, found, time.monotonic() - began)


def plan(resources: Resources, request: ComputeRequest) -> Work:
    """Derive the key from what this worker knows, and check whatever the caller claims to know.

    Raises ``VersionMismatch`` when the worker would run other code than the caller's
    key commits to.
    """
    feature = features.resolve(request.feature)
    if request.feature_version is not None and request.feature_version != feature.version:
        raise VersionMismatch(feature.name, request.feature_version, feature.version)
    config = request.canonical_config if request.canonical_config is not None else keys.canonical_config(request.config)
    keys.restore_config(config)  # refuses any text that is not in canonical form
    taken = _claimed_fingerprint(request) or _taken_fingerprint(resources, request)
    parts = KeyParts(keys.check_symbol(request.symbol), feature.name, feature.version, config, str(taken))
    key = keys.key_of(parts)
    if request.key is not None and request.key != key:
        raise InvalidRequest(
            "key", "is not the key of the other fields; trainer and worker run different versions of fstore"
        )
    known = request.model_copy(
        update={
            "key": key,
            "feature_version": feature.version,
            "canonical_config": config,
            "config": {},
            "fingerprint": str(taken),
            "hash_method": taken.method.value,
        }
    )
    return Work(key, parts, feature, taken, known)


def perform(
    resources: Resources,
    work: Work,
    claim: Claim,
    *,
    phase: Phase,
    publish: Callable[[Resources, Work, Claim, object, float], Locator | None],
    read: Callable[[], Any] | None = None,
) -> Locator | None:
    """Compute under a claim and publish; an error becomes a note on the job that all waiters share.

    Returns the entry that answers for the key now, None when the claim was lost and
    nobody has published yet. Raises what the function raised as ``ComputeFailed``,
    and fstore's own errors as they are.
    """
    with lease(resources.jobs, claim, every_s=resources.settings.renew_seconds):
        try:
            phase("READING")
            raw = read() if read is not None else _read(resources, work)
            phase("COMPUTING")
            began = time.monotonic()
            result = work.feature.func(raw, keys.restore_config(work.parts.config))
            seconds = time.monotonic() - began
            resources.recorder.took("compute_seconds", seconds)
            del raw
            phase("WRITING")
            return publish(resources, work, claim, result, seconds)
        except errors.ManifestUnavailable:
            raise  # no note can be written either; the lease lapses and the job is taken over
        except (SystemExit, KeyboardInterrupt):
            with suppress(errors.ManifestUnavailable):
                # This process is told to stop: another worker need not wait for the lease. The start stays
                # counted, for a feature that calls sys.exit() looks the same.
                resources.jobs.release(claim)
            raise
        except Exception as error:
            note = note_of(error)
            resources.jobs.fail(claim, note)
            announce(resources, work.key, failed=1)
            raise error_of(work.key, note) from error


def _refuse(resources: Resources, request: ComputeRequest, error: FeatureStoreError) -> None:
    """Tell those who wait for a request that this worker cannot run it; without a note they would wait to their deadlines."""
    if request.key is None:
        return
    claim = resources.jobs.claim(request.key, request.wire())
    if claim is not None:
        resources.jobs.fail(claim, note_of(error))
        announce(resources, request.key, failed=1)


def _why_not(resources: Resources, key: str, began: float) -> Outcome:
    resources.jobs.bury([key])
    view = resources.jobs.look([key])[key]
    error = verdict(view)
    if error is not None:
        raise error
    return Outcome(key, Status.COALESCED, view.entry, time.monotonic() - began)


def _revived(resources: Resources, key: str) -> Locator | None:
    """Take a condemned entry back instead of computing it again, if its file is still right."""
    if not resources.jobs.look([key])[key].condemned:
        return None  # looked at first: an UPDATE of the manifest, even of no row, waits for whoever publishes
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
    announce(resources, key)
    return found


def _read(resources: Resources, work: Work) -> Any:
    return rawdata.read(
        work.request.raw_data, resources.files, resources.settings, work.fingerprint, wanted=work.feature.input
    )


def _claimed_fingerprint(request: ComputeRequest) -> Fingerprint | None:
    if request.fingerprint is None or request.hash_method is None:
        return None
    taken = Fingerprint(HashMethod(request.hash_method), request.fingerprint.rpartition(":")[2])
    if str(taken) != request.fingerprint:
        raise InvalidRequest("fingerprint", f"{request.fingerprint!r} is not of this version's form ({taken})")
    return taken


def _taken_fingerprint(resources: Resources, request: ComputeRequest) -> Fingerprint:
    if request.raw_data.kind == "staged":
        raise InvalidRequest("fingerprint", "staged raw data need the fingerprint they were staged under")
    source = ParquetSource(rawdata.allowed_path(request.raw_data.path, resources.files, resources.settings))
    chosen = resources.settings
    taken = fingerprint.identify(
        source, threshold_bytes=chosen.threshold_bytes, policy=chosen.hash_policy, memo=resources.memo
    )
    return taken.fingerprint
