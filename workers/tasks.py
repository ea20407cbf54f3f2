"""The wire surface: every task that fstore's workers know, each a door to a use case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from celery.exceptions import Ignore

from fstore.broker import (
    COLLECT_GARBAGE,
    FLUSH_USAGE,
    GET_OR_COMPUTE,
    GET_OR_COMPUTE_MANY,
    PING,
    PUBLISH,
    RECONCILE_JOBS,
    SWEEP_INTEGRITY,
    claim_in,
    parse_compute,
    parse_compute_many,
    parse_publish,
)
from fstore.compute import execute, execute_batch, give_up, publish_staged
from fstore.errors import FeatureStoreError
from fstore.model import Status
from fstore.upkeep import collect_garbage as collect
from fstore.upkeep import flush_usage as flush
from fstore.upkeep import reconcile_jobs as reconcile
from fstore.upkeep import sweep_integrity as sweep
from workers import policy, process, routing
from workers.app import app
from workers.task_class import FstoreTask

_lost: dict[str, Any] = {
    "max_retries": policy.WORKER_LOST_RETRIES,
    "default_retry_delay": process.lease_times().retry_after_s,
    "throws": (FeatureStoreError,),
}


@app.task(name=GET_OR_COMPUTE, bind=True, **_lost)
def get_or_compute(self: FstoreTask, request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request with status, key, path, rows, file_size_bytes and seconds.

    See ``fstore.compute.executor.execute``. A request whose key another worker computes is put back, so that it
    holds no slot, unless nobody waits for this task's answer.
    """
    asked = parse_compute(request)
    if (elsewhere := routing.options_elsewhere(self, asked)) is not None:
        self.apply_async(kwargs={"request": request}, task_id=self.request.id, **elsewhere)
        raise Ignore  # its other message answers under the same id
    try:
        outcome = execute(process.resources(), asked, phase=self.phase)
    except policy.TRANSIENT as error:
        raise policy.try_again(self, error) from error
    if outcome.locator is None and asked.waits:
        raise policy.look_again(self, outcome.key)
    if outcome.status is Status.HIT and self.request.retries:
        outcome = replace(outcome, status=Status.COALESCED)  # it waited for what another request had computed
    return outcome.as_dict()


@app.task(name=GET_OR_COMPUTE_MANY, bind=True, **_lost)
def get_or_compute_many(self: FstoreTask, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answer several requests in one task, each with its own dict.

    See ``fstore.compute.batches.executor``. A key that another worker computes is answered ``coalesced`` without a
    path: ask for it again.
    """
    try:
        return execute_batch(process.resources(), parse_compute_many(requests), phase=self.phase)
    except policy.TRANSIENT as error:
        raise policy.try_again(self, error) from error


@app.task(name=PUBLISH, bind=True, **_lost)
def publish(self: FstoreTask, request: dict[str, Any]) -> dict[str, Any]:
    """Publish a result that a trainer computed and staged.

    See ``fstore.compute.staged_results.publish_staged``.
    """
    try:
        asked = parse_publish(request)
    except FeatureStoreError as error:  # of another version of fstore, for one; whoever waits is told all the same
        if (claim := claim_in(request)) is not None:
            give_up(process.resources(), claim, error)
        raise
    try:
        return publish_staged(process.resources(), asked).as_dict()
    except policy.TRANSIENT as error:
        raise policy.try_again(self, error) from error


@app.task(name=COLLECT_GARBAGE)
def collect_garbage() -> dict[str, Any]:
    """Give up what the policy no longer keeps; see ``fstore.upkeep.api.collect_garbage``."""
    resources = process.resources()
    return collect(resources, dry_run=resources.settings.gc_dry_run, scheduled=True)


@app.task(name=SWEEP_INTEGRITY)
def sweep_integrity() -> dict[str, Any]:
    """Re-read the entries that were longest not verified; see ``fstore.upkeep.api.sweep_integrity``."""
    return sweep(process.resources(), scheduled=True)


@app.task(name=RECONCILE_JOBS)
def reconcile_jobs() -> dict[str, Any]:
    """Send lost jobs again and bury dead ones; see ``fstore.upkeep.api.reconcile_jobs``."""
    return reconcile(process.resources(), scheduled=True)


@app.task(name=FLUSH_USAGE)
def flush_usage() -> dict[str, Any]:
    """Take usage and counters from Redis to Postgres; see ``fstore.upkeep.api.flush_usage``."""
    return flush(process.resources(), scheduled=True)


@app.task(name=PING, ignore_result=True)
def ping(token: str) -> None:
    """Announce that a child of this worker took a message; nothing else is done or noted."""
    process.resources().notifier.announce([str(token)[:64]], {})
