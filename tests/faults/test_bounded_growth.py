"""A store with a byte budget stays within it, however much is published."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from fstore.collect import collect_garbage
from fstore.model import Locator
from fstore.reading import read_entry
from tests.integration.shelf import RULES, Shelf, key

BUDGET = 5_000_000
PUBLISHES, PERIOD = 600, 50


def publish(shelf: Shelf, name: str, seed: int) -> Locator:
    """Publish 3,000 random numbers, about 25 kB that do not compress."""
    table = pa.table({"x": np.random.default_rng(seed).random(3000)})
    claim = shelf.claim(name)
    stored = shelf.resources.files.publish(key(name), table)
    found = Locator(key(name), stored.path, 3000, stored.file_size_bytes, stored.content_digest)
    assert shelf.insert(name, claim, found)
    return found


def folder_bytes(shelf: Shelf) -> int:
    """Return the size of all files of the store."""
    return sum((shelf.root / path).stat().st_size for path in shelf.files())


def test_the_folder_never_outgrows_budget_and_period(house):
    """Through 15 MB of publishes under a 5 MB budget the folder holds at most the budget and one period more, and reads stay right."""
    shelf = Shelf(house.store.resources)
    rules = replace(RULES, grace=timedelta(0), max_bytes=BUDGET)
    rng = random.Random(3)
    seen: list[tuple[int, Locator]] = []
    since_collection = 0
    for i in range(PUBLISHES):
        found = publish(shelf, f"e{i}", seed=i)
        seen.append((i, found))
        since_collection += found.file_size_bytes
        seed, earlier = rng.choice(seen)
        current = shelf.resources.manifest.find_live(earlier.key)
        table = read_entry(shelf.resources, current) if current else None
        if table is not None:
            np.testing.assert_array_equal(table["x"].to_numpy(), np.random.default_rng(seed).random(3000))
        if i % PERIOD == PERIOD - 1:
            assert folder_bytes(shelf) <= BUDGET + since_collection
            collect_garbage(shelf.resources, rules, force=True)
            since_collection = 0
            assert folder_bytes(shelf) <= BUDGET

    assert shelf.resources.manifest.find_live(seen[-1][1].key) is not None
    assert house.store.get_cache_stats()["bytes_freed"] >= 9_000_000
