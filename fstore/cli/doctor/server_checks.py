"""What ``fstore doctor`` asks Postgres and Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from fstore.cli.doctor.local_checks import Finding, fault, ok, warning
from fstore.cli.output import number_of
from fstore.errors import BrokerUnavailable, FeatureStoreError, StoreMismatch
from fstore.model import JobState
from fstore.postgres import wanted_revision
from fstore.resources import Resources

OLDEST_POSTGRES = 140000
OLDEST_REDIS = (6, 2)
SKEW_S = 2.0


def check_postgres(resources: Resources) -> Iterator[Finding]:
    """Ask Postgres for its version, settings, tables and clock.

    Nothing else can be told when it does not answer.
    """
    try:
        began = time.time()
        server = resources.figures.server()
        ended = time.time()
        text, number, outlasts, lock, deadlock, fsync, replica, now = server
    except FeatureStoreError as error:
        yield fault("postgres", str(error), "start it, or correct FEATURE_STORE_POSTGRES_URL")
        return
    if number < OLDEST_POSTGRES:
        yield fault("postgres", f"version {text}", "14 or newer is needed")
    elif replica:
        yield fault("postgres", "this server is a read-only replica", "connect to the primary")
    else:
        yield ok("postgres", f"version {text} answers in {1000 * (ended - began):.1f} ms")
    if not fsync:
        yield warning(
            "postgres",
            "fsync is off: a crash of the host may lose published entries",
            "switch it on unless this is a test",
        )
    if outlasts:
        yield ok("lock timeout", f"{lock}, above deadlock_timeout of {deadlock}")
    else:
        yield fault(
            "lock timeout",
            f"{lock} is not above deadlock_timeout of {deadlock}: publishing fails while autovacuum runs",
            "lower deadlock_timeout on the server to 1s",
        )
    yield _skew("Postgres", began, ended, now)
    yield from _check_pooler(resources)
    yield from _check_tables(resources)


def check_redis(resources: Resources) -> Iterator[Finding]:
    """Ask Redis for its version, its eviction policy, its persistence and its clock."""
    try:
        began = time.time()
        about, now = resources.redis_server.info()
        ended = time.time()
    except BrokerUnavailable as error:
        if is_denied(error):
            yield ok("redis", "answers; this user may not ask for its version and settings")
            return
        yield fault(
            "redis",
            str(error),
            "start it, or correct FEATURE_STORE_REDIS_URL; until then misses are computed by the callers",
        )
        return
    # Valkey tells the Redis version it is compatible with, and its own.
    version = str(about.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_REDIS:
        yield fault("redis", f"version {version}", "6.2 or newer is needed")
    else:
        yield ok("redis", f"version {version} answers in {1000 * (ended - began):.1f} ms")
    yield _eviction(about)
    yield _persistence(about)
    yield _skew("Redis", began, ended, now)


def is_denied(error: BrokerUnavailable) -> bool:
    """Whether Redis answered that this user may not.

    A trainer's (``ops/redis``) can neither ask Redis about itself nor the workers.
    """
    return "no permissions" in str(error).lower()


def _check_pooler(resources: Resources) -> Iterator[Finding]:
    try:
        why_not = resources.figures.pooler_fault()
    except FeatureStoreError as error:
        yield fault("pooler", str(error), "let it keep connections as long as statements run, see docs/scaling.md")
        return
    if why_not:
        yield fault("pooler", why_not, "set 'pool_mode = transaction' (PgBouncer), see docs/scaling.md")
    elif why_not is not None:
        yield ok("pooler", "stands before Postgres; a transaction stays on one server process")


def _check_tables(resources: Resources) -> Iterator[Finding]:
    found, wanted = resources.figures.revisions(), wanted_revision()
    if found != [wanted]:
        yield fault(
            "tables", f"revision {', '.join(found) or 'none'}, this version needs {wanted}", "run 'fstore migrate'"
        )
        return
    yield ok("tables", f"revision {wanted}")
    store_id, _ = resources.manifest.store_identity()
    try:
        resources.entries.check_identity(store_id)
    except StoreMismatch as error:
        yield fault("store id", str(error), "correct one of the two settings; on a new store run 'fstore migrate'")
    except FeatureStoreError as error:
        yield fault("store id", str(error), "mend the store folder first")
    else:
        yield ok("store id", f"folder and database both carry {store_id}")
    dead = resources.jobs.count_by_state().get(JobState.DEAD, 0)
    if dead:
        yield warning(
            "jobs",
            f"{number_of(dead, 'computation is', 'computations are')} dead: ended the worker again and again, or cancelled",
            "'fstore jobs --state dead' names them, 'fstore jobs retry KEY' starts one anew; see the workers' logs",
        )
    else:
        yield ok("jobs", "none is dead")


def _eviction(about: Mapping[str, Any]) -> Finding:
    """Judge the policy even while memory is unlimited: it acts on the day that somebody sets a limit."""
    policy, most = about.get("maxmemory_policy", "unknown"), int(about.get("maxmemory", 0))
    text = f"maxmemory {most or 'unlimited'}, policy {policy}"
    if policy == "noeviction":
        return ok("redis memory", f"{text}: neither a lock nor a task message is ever evicted")
    return fault(
        "redis memory", f"{text}: locks and task messages may be evicted", "CONFIG SET maxmemory-policy noeviction"
    )


def _persistence(about: Mapping[str, Any]) -> Finding:
    """Tell whether Redis keeps what it holds, and whether it can write.

    It may lose everything without harm to results, but not without loss of time; one that cannot save refuses
    writes.
    """
    failing = [name for name in ("rdb_last_bgsave_status", "aof_last_write_status") if about.get(name, "ok") != "ok"]
    if failing:
        return fault(
            "redis persistence", f"{', '.join(failing)} is not ok: Redis refuses writes", "see its log; free its disk"
        )
    if int(about.get("aof_enabled", 0)):
        return ok("redis persistence", "appendonly yes: a restart loses a second of messages at most")
    return warning(
        "redis persistence",
        "appendonly no: a restart loses messages and usage notes; jobs are sent again later",
        "set appendonly yes, unless a delay after its restarts is no matter",
    )


def _skew(server: str, began: float, ended: float, there: float) -> Finding:
    # Of an answer that took long nobody knows when it was given: no more is told than it shows.
    skew_s = there - (began + ended) / 2 if ended - began < SKEW_S else min(max(0.0, there - ended), there - began)
    if abs(skew_s) > SKEW_S:
        return warning(
            "clock",
            f"{server} is {skew_s:+.1f} s off this host",
            "synchronise the clocks; leases hold all the same, times shown do not",
        )
    return ok("clock", f"{server} is {1000 * skew_s:+.0f} ms off this host")
