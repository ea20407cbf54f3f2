"""What people and upkeep ask of a manifest, against its size: what grows with it, and what does not."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

from harness.figures import timed
from harness.stand import Stand

from fstore import FeatureStore
from fstore.reporting import StoreCollector, cache_overview
from fstore.upkeep import collect_garbage


def by_rows(places: Sequence[Stand], rows: Sequence[int], *, rounds: int) -> dict[str, dict[str, float]]:
    """Return how many milliseconds each takes on every store, medians of turns; a look over all of it once."""
    with ExitStack() as stack:
        stores = [stack.enter_context(place.trainer()) for place in places]
        found: dict[str, dict[str, float]] = {}
        for store, size in zip(stores, rows, strict=True):
            ways = ways_of(store)
            whole = {"a collection's plan", "the overview", "what is exported"}
            found[str(size)] = {
                name: round(
                    statistics.median(timed(way) * 1000 for _ in range(1 if name in whole else rounds)),
                    2,
                )
                for name, way in ways.items()
            }
    return found


def ways_of(store: FeatureStore) -> dict[str, Callable[[], object]]:
    """Return what is timed of one store; nothing of it changes the store."""
    resources = store.resources
    return {
        "the newest 100": lambda: resources.manifest.list_entries(limit=100),
        "the newest 100 of a feature": lambda: resources.manifest.list_entries(feature="bench:f7", limit=100),
        "by the beginning of a key": lambda: resources.manifest.find_by_prefix("abcdef"),
        "the overview": lambda: cache_overview(resources, now=datetime.now(UTC), orphaned_files=0),
        "what is exported": lambda: list(StoreCollector(resources).collect()),
        "a collection's plan": lambda: collect_garbage(resources, dry_run=True, force=True),
    }
