"""What ``fstore doctor`` asks the workers, and whether each queue's do a no-op in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from fstore.broker import COMPUTE_QUEUE, QUEUES, WRITE_QUEUE, compute_queue
from fstore.cli.doctor.local_checks import Finding, Severity, fault, ok, warning
from fstore.cli.doctor.no_ops import QueueTrial, try_queues
from fstore.cli.doctor.server_checks import is_denied
from fstore.errors import BrokerUnavailable, FeatureStoreError, ManifestUnavailable
from fstore.features import own_queues, registered_features
from fstore.reporting import cache_stats
from fstore.resources import Resources

MANY_MESSAGES = 10_000
SLOW_S = 2.0  # a no-op that nothing waited before takes milliseconds


def check_workers(resources: Resources) -> Iterator[Finding]:
    """Ask for the workers of each queue, send them no-ops, and look whether Beat's tasks have run."""
    try:
        yield from _check_queues(resources)
    except BrokerUnavailable as error:
        yield fault("workers", str(error), "start Redis first")
    try:
        yield from _check_upkeep(resources)
    except (ManifestUnavailable, FeatureStoreError) as error:
        yield fault("beat", str(error), "mend Postgres first")


def _check_queues(resources: Resources) -> Iterator[Finding]:
    queues = (*QUEUES, *map(compute_queue, own_queues()))
    dropped = _dropped(resources)
    try:
        workers = resources.broker.workers_by_queue(queues)
        waiting = {queue: resources.redis_server.queue_length(queue) for queue in queues}
    except BrokerUnavailable as error:
        if not is_denied(error):
            raise
        yield ok("workers", "not asked: this user of Redis may not; 'fstore doctor' in the upkeep worker asks them")
        yield from _try_as_trainer(resources)
        return
    if not any(workers.values()) and _dropped(resources) > dropped:
        yield fault(
            "signing key",
            "workers run but dropped the question unread: it was not signed with their key",
            "give this process the workers' FEATURE_STORE_SIGNING_KEY (or ..._FILE)",
        )
        for queue in queues:
            detail = f"nobody answers for {queue}, {waiting[queue]} messages wait"
            yield warning("workers", detail, "mend the signing key first")
        return
    # Nothing is left lying where nobody serves: an empty queue tells how soon a lost job is sent again.
    trials = try_queues(resources, {queue: len(workers[queue]) for queue in queues if workers.get(queue)})
    late = {name for queue, trial in trials.items() if trial.late for name in workers[queue]}
    busy = resources.broker.busy_workers(late) if late else {}
    for queue in queues:
        serving = workers.get(queue, [])
        if serving:
            yield _judge(trials[queue], len(serving), waiting[queue], sum(bool(busy.get(name)) for name in serving))
        else:
            yield _nobody(queue, waiting[queue])


def _nobody(queue: str, waiting: int) -> Finding:
    own = queue.removeprefix(f"{COMPUTE_QUEUE}.")
    features = [feature.name for feature in registered_features().values() if feature.queue == own]
    wanted = f", which {', '.join(features[:3])} asks for" if features else ""
    name = own if features else queue
    return fault(
        "workers",
        f"nobody serves {queue}{wanted}: no answer in time, {waiting} messages wait",
        f"start one: fstore worker -Q {name} (or celery -A workers.app worker -Q {queue})",
    )


def _judge(trial: QueueTrial, serving: int, waiting: int, busy: int) -> Finding:
    """Say how long the no-ops took, or what it means that some were not done."""
    text = f"{serving} serve {trial.queue}, {waiting} messages wait"
    said = f"{text}; {trial.text}"
    if not trial.late:
        if waiting > MANY_MESSAGES:
            found = warning("workers", said, "start more workers")
        elif (trial.slowest_s or 0) > SLOW_S:
            advice = "look at what computes and waits; where nothing does, start its workers again"
            found = warning("workers", said, advice)
        else:
            found = ok("workers", said)
    elif busy == serving or waiting:
        advice = "ask again when they are done; if that takes longer than any computation, start the workers again"
        found = warning("workers", f"{said}; {busy} of {serving} compute", advice)
    else:
        detail = f"{said}: a worker takes messages and does not work on them"
        advice = f"unless it began a moment ago, start it again: fstore restart, or its service; its work is taken over (queue {trial.queue})"
        found = fault("workers", detail, advice)
    return Finding(found.check, found.level, found.detail, found.advice, figures={**asdict(trial), "workers": serving})


def _try_as_trainer(resources: Resources) -> Iterator[Finding]:
    """A trainer's user may not ask who serves, but may send to these two and listen."""
    for trial in try_queues(resources, dict.fromkeys((COMPUTE_QUEUE, WRITE_QUEUE), 1)).values():
        detail, advice = (
            f"{trial.queue}: {trial.text}",
            "ask where workers may be asked, for example in the upkeep worker",
        )
        level = Severity.WARNING if trial.late else Severity.OK
        yield Finding("workers", level, detail, advice if trial.late else "", figures=asdict(trial))


def _dropped(resources: Resources) -> int:
    """Return how many messages workers dropped unread so far."""
    try:
        return cache_stats(resources).get("messages_rejected", 0)
    except FeatureStoreError:
        return 0


def _check_upkeep(resources: Resources) -> Iterator[Finding]:
    """Beat answers no probe of ours; the most frequent of its tasks leaves its mark in the database."""
    runs = resources.runs.list_runs("reconcile", limit=1)
    period_s = resources.settings.reconcile_period_s
    age_s = (datetime.now(UTC) - runs[0].started_at).total_seconds() if runs else None
    if age_s is None or age_s > 3 * period_s + 10:
        when = "were never reconciled" if age_s is None else f"were last reconciled {age_s:.0f} s ago"
        yield warning(
            "beat",
            f"jobs {when}, it should be every {period_s:g} s",
            "give a stack that was just started a minute; else start Beat (celery -A beat.app beat) and a worker for fstore.upkeep",
        )
    else:
        yield ok("beat", f"jobs were reconciled {age_s:.0f} s ago")
