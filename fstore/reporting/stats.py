"""The store in numbers: the one reader of its counters, and totals of what it holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fstore.coordination import UsageBuffer
from fstore.errors import BrokerUnavailable
from fstore.model import EntryState
from fstore.postgres import Usage
from fstore.resources import Resources
from fstore.runtime.counters import COUNTERS
from fstore.runtime.timings import is_timing

TRIES = 6
PAUSE_S = 0.05
_MB = 1_000_000


def read_counters(usage: Usage, buffer: UsageBuffer) -> Mapping[str, int]:
    """Return every counter of the store: what Postgres has and what Redis has not handed over yet.

    While a flush moves counters they may be in both places: then this waits a moment
    and reads again. What a killed flush left behind counts, since the next one moves
    it. Raises ``ManifestUnavailable`` and ``BrokerUnavailable``.
    """
    written = usage.counters()
    for _ in range(TRIES):
        waiting, moving = buffer.counters()
        before, written = written, usage.counters()
        if not moving and before == written:
            break
        time.sleep(PAUSE_S)
    return Counter(written) + Counter(waiting) + Counter(moving)


def read_available_counters(usage: Usage, buffer: UsageBuffer) -> Mapping[str, int]:
    """Return the same, or what Postgres alone has while Redis is away."""
    try:
        return read_counters(usage, buffer)
    except BrokerUnavailable:
        return usage.counters()


def cache_stats(resources: Resources) -> dict[str, int]:
    """Return the counters since the store was made.

    They are what Postgres has, what waits in Redis and what this process noted.
    ``degraded:<mode>`` tells the degraded requests by cause.
    """
    resources.recorder.flush()
    total = dict.fromkeys(COUNTERS, 0)
    read = read_available_counters(resources.usage, resources.usage_buffer)
    for noted in (read, resources.recorder.pending()):
        for name, value in noted.items():
            total[name] = total.get(name, 0) + value
    return {name: value for name, value in total.items() if not is_timing(name)}


def cache_overview(resources: Resources, *, now: datetime, orphaned_files: int) -> dict[str, Any]:
    """Return what the store holds; ``old_entries_count`` are entries not used within the retention."""
    by_state = resources.manifest.count_by_state()
    live, live_bytes = by_state.get(EntryState.LIVE, (0, 0))
    before = now - timedelta(weeks=resources.settings.gc_retention_weeks)
    old = resources.usage.count_unused_since(before)
    return {
        "manifest_entries": live,
        "total_size_mb": round(live_bytes / _MB, 3),
        "total_size_bytes": live_bytes,
        "old_entries_count": old,
        "orphaned_files": orphaned_files,
        "condemned_entries": by_state.get(EntryState.CONDEMNED, (0, 0))[0],
        "quarantined_entries": by_state.get(EntryState.QUARANTINED, (0, 0))[0],
        "segments": dict(zip(("entries", "partitions"), resources.manifest.count_segments(), strict=True)),
        "jobs": {str(state): n for state, n in resources.jobs.count_by_state().items()},
        "by_symbol": _shares(resources.manifest.totals_by("symbol")),
        "by_feature": _shares(resources.manifest.totals_by("feature")),
    }


def _shares(totals: dict[str, tuple[int, int]]) -> dict[str, dict[str, float]]:
    return {name: {"entries": n, "size_mb": round(size / _MB, 3)} for name, (n, size) in totals.items()}
