"""Results that were computed outside a worker: staged by whoever did, published here under that one's claim."""

from __future__ import annotations

import time
from dataclasses import replace

from fstore import errors
from fstore.broker import PublishRequest
from fstore.compute.executor import Outcome, give_up
from fstore.compute.failures import error_of, note_of
from fstore.compute.publishing import PendingEntry, Publisher, entry_facts
from fstore.errors import InvalidRequest
from fstore.features import key_of
from fstore.model import Claim, Locator, Status
from fstore.resources import Resources
from fstore.runtime.versions import library_versions


def publish_staged(resources: Resources, request: PublishRequest) -> Outcome:
    """Publish a result that was computed outside a worker, under the claim of whoever computed it.

    The bytes that the caller compared with its result are published as they are.
    Whatever goes wrong becomes a note on the job, so that nobody waits for it; a
    server that is away is left to the task's retries.
    """
    began = time.monotonic()
    claim = request.claim
    try:
        found = _publish_staged(resources, request, claim)
    except (errors.ManifestUnavailable, errors.BrokerUnavailable, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not give_up(resources, claim, error):  # somebody else's by now, or published: this task ran before
            found = resources.manifest.find_live(request.key)
            if found is not None:
                return Outcome(request.key, Status.COALESCED, found, time.monotonic() - began)
        resources.staging.discard(request.staged_path)
        raise error_of(request.key, note_of(error)) from error
    resources.staging.discard(request.staged_path)
    return Outcome(request.key, Status.COMPUTED if found else Status.COALESCED, found, time.monotonic() - began)


def _publish_staged(resources: Resources, request: PublishRequest, claim: Claim) -> Locator | None:
    facts = request.facts()
    if key_of(facts.parts) != facts.key:
        raise InvalidRequest("key", "is not the key of the other fields")
    if not facts.library_versions:
        facts = replace(facts, library_versions=library_versions())
    staged = resources.staging.read_result(request.staged_path, digest=request.staged_digest)
    stored = resources.entries.publish_bytes(facts.key, staged.data)
    try:
        pending = PendingEntry(entry_facts(facts, staged.table, stored), claim)
    except BaseException:
        resources.entries.discard(stored.path)
        raise
    return Publisher.of(resources).insert([pending])[facts.key]
