"""From a result in memory to a row that answers for its key: write durably, read back, insert under the claim."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

import pyarrow as pa

from fstore import results
from fstore.errors import BrokerUnavailable, NotPermitted
from fstore.files import Stored
from fstore.messages import ComputeRequest
from fstore.model import Claim, HashMethod, KeyParts, Locator, NewEntry
from fstore.resources import Resources

log = logging.getLogger("fstore.publishing")


def publish_result(
    resources: Resources, request: ComputeRequest, source_digest: str, claim: Claim, result: object, seconds: float
) -> Locator | None:
    """Write the result durably, read it back, and insert its row if the claim still holds."""
    key = request.known_key
    table = results.encode(result)
    stored = resources.files.publish(key, table)
    try:
        found = Locator(key, stored.path, table.num_rows, stored.file_size_bytes, stored.content_digest)
        results.check_faithful(result, resources.files.read(found))
    except BaseException:
        resources.files.discard(stored.path)
        raise
    return insert(resources, request, source_digest, claim, table, stored, seconds)


def insert(
    resources: Resources,
    request: ComputeRequest,
    source_digest: str,
    claim: Claim,
    table: pa.Table,
    stored: Stored,
    seconds: float,
) -> Locator | None:
    """Insert the row of a durable file and tell the waiters; a file that lost its claim is removed."""
    entry = _new_entry(request, source_digest, table, stored, seconds)
    try:
        outcome = resources.manifest.publish([(entry, claim)])[entry.key]
    except NotPermitted:  # a trainer's role reads only: nothing can have been committed
        resources.files.discard(stored.path)
        raise
    resources.recorder.took("lock_wait_seconds", outcome.lock_wait_s)
    resources.recorder.took("lock_hold_seconds", outcome.lock_hold_s)
    if outcome.live_path != stored.path:
        log.info("superseded: key=%s attempt=%s live=%s", entry.key[:12], claim.attempt, outcome.live_path)
        resources.files.discard(stored.path)
        return resources.manifest.find_live(entry.key)
    announce(resources, entry.key, computed=1)
    return Locator(entry.key, stored.path, entry.rows, stored.file_size_bytes, stored.content_digest)


def _new_entry(
    request: ComputeRequest, source_digest: str, table: pa.Table, stored: Stored, seconds: float
) -> NewEntry:
    start, end = results.time_bounds(table)
    return NewEntry(
        key=request.known_key,
        parts=KeyParts(
            request.symbol,
            request.feature,
            request.feature_version or "",
            request.canonical_config or "{}",
            request.fingerprint or "",
        ),
        hash_method=HashMethod(request.hash_method or HashMethod.FULL),
        source_digest=source_digest,
        path=stored.path,
        rows=table.num_rows,
        file_size_bytes=stored.file_size_bytes,
        content_digest=stored.content_digest,
        start_ts=start,
        end_ts=end,
        compute_seconds=seconds,
        library_versions=library_versions(),
        source=request.raw_data.model_dump(),
    )


@cache
def library_versions() -> Mapping[str, str]:
    """Return what computed a result: the interpreter and the libraries whose change may change numbers."""
    names = {"fstore": "intraday-fstore", "pandas": "pandas", "pyarrow": "pyarrow", "numpy": "numpy"}
    return {
        "python": platform.python_version(),
        **{name: version(distribution) for name, distribution in names.items()},
    }


def announce(resources: Resources, key: str, **counters: int) -> None:
    """Count what was done and tell waiters that a key is settled, if Redis is there; they poll anyway."""
    try:
        resources.coordination.announce([key], counters)
    except BrokerUnavailable:
        for name, n in counters.items():
            resources.recorder.count(name, n)
