"""The store in numbers: counters and totals."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fstore.model import EntryState
from fstore.reporting.counters import tally_or_written
from fstore.resources import Resources
from fstore.runtime.counters import COUNTERS
from fstore.runtime.timings import is_timing

_MB = 1_000_000


def cache_stats(resources: Resources) -> dict[str, int]:
    """Return the counters since the store was made: what Postgres has, what waits in Redis, what this process noted.

    ``degraded:<mode>`` tells the degraded requests by cause.
    """
    resources.recorder.flush()
    total = dict.fromkeys((*COUNTERS, "degraded"), 0)
    for noted in (tally_or_written(resources), resources.recorder.pending()):
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
        "jobs": {str(state): n for state, n in resources.jobs.count_by_state().items()},
        "by_symbol": _shares(resources.manifest.totals_by("symbol")),
        "by_feature": _shares(resources.manifest.totals_by("feature")),
    }


def _shares(totals: dict[str, tuple[int, int]]) -> dict[str, dict[str, float]]:
    return {name: {"entries": n, "size_mb": round(size / _MB, 3)} for name, (n, size) in totals.items()}
