"""A trainer's own result on its way to the manifest.

The claim it is computed under, and the worker that publishes it.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fstore.broker import WRITE_QUEUE, ComputeRequest, PublishRequest
from fstore.compute import Computation, Publisher, failure_for
from fstore.errors import BrokerUnavailable, FeatureStoreError, ManifestUnavailable
from fstore.model import Claim, Locator
from fstore.postgres import Jobs
from fstore.resources import Resources
from fstore.results import check_faithful, encode_result
from fstore.runtime import deadline

PUBLISHED_WITHIN_S = 30.0  # by a worker; then its queue has none, or only those that die of it
GIVEN_UP_WITHIN_S = 1.0  # or the lease runs out


class OwnClaim:
    """A claim of this process, given back when its work ends before it is done.

    Its caller may be interrupted, or the process end. As if it had never been made: others need not wait for the
    lease, and a start that somebody broke off is none that ended its process. It is made by the thread that
    computes, which no signal interrupts halfway.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._pid = jobs, os.getpid()
        self._guard = threading.Lock()
        self._claim: Claim | None = None
        self.is_given_up = False
        self.is_left = False  # its caller waits no more

    @contextmanager
    def claimed(self, key: str, request: ComputeRequest) -> Iterator[Claim | None]:
        """Claim for as long as the block runs.

        None when somebody else holds the claim, or the caller has gone.
        """
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
                self._jobs.complete(self._claim)


def publish_by_worker(
    resources: Resources,
    computation: Computation,
    claim: Claim,
    result: object,
    took: float,
    refused: list[FeatureStoreError],
) -> Locator | None:
    """Have a worker publish; what that worker leaves as its failure goes to ``refused``."""
    key, publisher = computation.key, Publisher.of(resources)
    staged = resources.staging.write_result(key, encode_result(result))
    try:
        restored = resources.staging.read_result(staged)
        check_faithful(result, restored.table)
        facts = computation.facts(took)
        resources.broker.send_publish(
            PublishRequest.of(facts, claim, staged_path=staged, staged_digest=restored.digest)
        )
    except BrokerUnavailable:
        resources.staging.discard(staged)
        return publisher.publish(computation, claim, result, took)
    except BaseException:
        resources.staging.discard(staged)
        raise
    if _is_settled(resources, key, claim, refused):
        return resources.manifest.find_live(key)
    resources.recorder.degraded("publish queue", f"no worker of queue {WRITE_QUEUE} published {key[:12]} in time")
    found = publisher.publish(computation, claim, result, took)
    # Not before: where this process may not publish, a worker that comes late still can.
    resources.staging.discard(staged)
    return found


def _is_settled(resources: Resources, key: str, claim: Claim, refused: list[FeatureStoreError]) -> bool:
    """Wait until the publishing task ended the job, for as long as others may wait for the dead.

    The lease is renewed meanwhile.
    """
    ends_at = time.monotonic() + PUBLISHED_WITHIN_S
    with resources.notifier.subscribe([key]) as subscription:
        while time.monotonic() < ends_at:
            view = resources.jobs.look([key])[key]
            if view.entry is not None or view.job is None or view.job.owner != claim.shown_owner:
                return True
            if (error := failure_for(view, waited=True)) is not None:
                refused.append(error)
                return True
            subscription.wait(0.2)
    return False
