"""The store is looked after: garbage collection, sweeps, reconciling, usage."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.upkeep.api import (
        collect_garbage,
        count_orphans,
        flush_usage,
        list_runs,
        reconcile_jobs,
        sweep_integrity,
        verify_entries,
    )
    from fstore.upkeep.by_hand import StoreUpkeep, chosen_entries
    from fstore.upkeep.collection.policy import GarbagePolicy
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "api": "collect_garbage count_orphans flush_usage list_runs reconcile_jobs sweep_integrity verify_entries",
            "by_hand": "StoreUpkeep chosen_entries",
            "collection.policy": "GarbagePolicy",
        },
    )

__all__ = [
    "GarbagePolicy",
    "StoreUpkeep",
    "chosen_entries",
    "collect_garbage",
    "count_orphans",
    "flush_usage",
    "list_runs",
    "reconcile_jobs",
    "sweep_integrity",
    "verify_entries",
]
