"""Results that were computed outside a worker.

Staged by whoever did, published here under that one's claim.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from fstore import errors
from fstore.broker import PublishRequest
from fstore.compute.executor import Outcome, give_up
from fstore.compute.failures import error_of, note_of
from fstore.compute.publishing import PendingEntry, Publisher, as_stored, entry_facts, publishing_ends_at
from fstore.compute.segments import segment_facts
from fstore.errors import InvalidRequest, ResultNotTrusted, SourceNotAllowed
from fstore.features import LOCAL_PREFIX, key_of
from fstore.model import Claim, Locator, Status
from fstore.resources import Resources
from fstore.results import check_faithful
from fstore.runtime.finishing import finishing
from fstore.runtime.versions import library_versions
from fstore.settings import Settings
from fstore.storage import key_of as key_of_path


def publish_staged(resources: Resources, request: PublishRequest) -> Outcome:
    """Publish a result that was computed outside a worker, under the claim of whoever computed it.

    The bytes that the caller compared with its result are published as they are.
    Whatever goes wrong becomes a note on the job, so that nobody waits for it; a
    server that is away is left to the task's retries.
    """
    with finishing(publishing_ends_at(resources.settings)):
        return _published_or_noted(resources, request)


def _published_or_noted(resources: Resources, request: PublishRequest) -> Outcome:
    began = time.monotonic()
    claim = request.claim
    if not may_be_stored(resources.settings, request.feature):
        resources.recorder.count("results_refused")
        resources.jobs.complete(claim)  # as if it had never been claimed: who asks next has a worker compute it
        resources.notifier.announce([request.key], {})
        raise not_trusted(request.feature)
    try:
        found = _publish_staged(resources, request, claim)
    except (errors.ManifestUnavailable, errors.BrokerUnavailable, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        had_claim = give_up(resources, claim, error)
        if not had_claim:  # somebody else's by now, or published: this task ran before
            found = resources.manifest.find_live(request.key)
            if found is not None:
                return Outcome(request.key, Status.COALESCED, found, time.monotonic() - began)
        if had_claim:
            _discard_own(resources, request)
        raise error_of(request.key, note_of(error)) from error
    if found is not None:
        _discard_own(resources, request)
    return Outcome(request.key, Status.COMPUTED if found else Status.COALESCED, found, time.monotonic() - began)


def may_be_stored(settings: Settings, feature: str) -> bool:
    """Tell whether a result of a feature may be stored that no worker computed.

    Features of a trainer's own have names, hence keys, of their own. For all others a
    worker vouches, unless an administrator believes whoever can sign.
    """
    return feature.startswith(LOCAL_PREFIX) or settings.trust_staged_results


def not_trusted(feature: str) -> ResultNotTrusted:
    """Return the error that says why a result is not stored, and what to do."""
    return ResultNotTrusted(
        "feature",
        f"a trainer's own result of {feature} is not stored, since workers vouch for it: have a worker compute it, "
        "or set FEATURE_STORE_TRUST_STAGED_RESULTS=true for trainers and workers if whoever can sign is to be believed",
    )


def _discard_own(resources: Resources, request: PublishRequest) -> None:
    """Delete a staged result that is of the request's key, whatever path the request names.

    Upkeep finds what stays.
    """
    if key_of_path(request.staged_path) == request.key:
        with suppress(SourceNotAllowed):
            resources.staging.discard(request.staged_path)


def _publish_staged(resources: Resources, request: PublishRequest, claim: Claim) -> Locator | None:
    facts = request.facts()
    if key_of(facts.parts) != facts.key:
        raise InvalidRequest("key", "is not the key of the other fields")
    if key_of_path(request.staged_path) != facts.key:
        raise InvalidRequest("staged_path", "is not a staged result of this key")
    if not facts.library_versions:
        facts = replace(facts, library_versions=library_versions())
    staged = resources.staging.read_result(request.staged_path, digest=request.staged_digest)
    lasting = as_stored(facts.parts, staged.table)
    if lasting is staged.table:
        stored = resources.entries.publish_bytes(facts.key, staged.data)
    else:
        stored = resources.entries.publish(facts.key, lasting, check=lambda back: check_faithful(lasting, back))
    try:
        # By the result's own note, held against the key: whoever staged it names no series of another feature.
        pending = PendingEntry(
            entry_facts(facts, staged.table, stored), claim, segment_facts(facts.parts, staged.table)
        )
    except BaseException:
        resources.entries.discard(stored.path)
        raise
    return Publisher.of(resources).insert([pending])[facts.key]
