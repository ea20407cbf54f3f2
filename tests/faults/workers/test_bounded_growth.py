"""A store with a byte budget stays within it, however much is published."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore import Request
from fstore.entries import read_entry
from fstore.model import Locator
from fstore.upkeep.collection.run import run_collection
from tests.sample_features import noise
from tests.support.shelf import RULES, Shelf, key

BUDGET = 5_000_000
PUBLISHES, PERIOD = 600, 50

FULL_BUDGET, FULL_PUBLISHES, FULL_ROWS = 50_000_000, 2_000, 12_500
FULL_PERIOD = 200
AT_ONCE, AGAIN = 20, 5  # new questions of a batch, and earlier ones asked again


def publish(shelf: Shelf, name: str, seed: int) -> Locator:
    """Publish 3,000 random numbers, about 25 kB that do not compress."""
    table = pa.table({"x": np.random.default_rng(seed).random(3000)})
    claim = shelf.claim(name)
    stored = shelf.resources.entries.publish(key(name), table)
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
            run_collection(shelf.resources, rules, force=True)
            since_collection = 0
            assert folder_bytes(shelf) <= BUDGET

    assert shelf.resources.manifest.find_live(seen[-1][1].key) is not None
    assert house.store.get_cache_stats()["bytes_freed"] >= 9_000_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_full_size_folder_never_outgrows_budget_and_period(house):
    """Two thousand results of 100 kB from real workers under 50 MB, collected after every two hundred: bounded, and every answer right."""
    house.start(concurrency=2)
    shelf = Shelf(house.store.resources)
    rules = replace(RULES, grace=timedelta(0), max_bytes=FULL_BUDGET)
    rng, raw = random.Random(3), pd.DataFrame({"price": [1.0]})
    since = shelf.sql("SELECT now()")[0][0]

    for asked in range(0, FULL_PUBLISHES, AT_ONCE):
        seeds = [*range(asked, asked + AT_ONCE), *(rng.randrange(asked + 1) for _ in range(AGAIN))]
        requests = [Request("SYM", raw, {"seed": seed, "rows": FULL_ROWS}, noise) for seed in dict.fromkeys(seeds)]
        for request, frame in house.store.get_or_compute_many(requests, timeout=120):
            pd.testing.assert_frame_equal(frame, noise(raw, request.config))
        published = shelf.sql(
            "SELECT coalesce(sum(file_size_bytes), 0) FROM manifest WHERE created_ts > %(since)s", since=since
        )
        staged = sum((shelf.root / path).stat().st_size for path in shelf.files() if path.startswith("staging/"))
        assert folder_bytes(shelf) <= FULL_BUDGET + int(str(published[0][0])) + staged
        if (asked + AT_ONCE) % FULL_PERIOD == 0:
            run_collection(shelf.resources, rules, force=True)
            assert folder_bytes(shelf) <= FULL_BUDGET
            since = shelf.sql("SELECT now()")[0][0]

    assert house.store.get_cache_stats()["bytes_freed"] >= FULL_PUBLISHES * FULL_ROWS * 8 - 2 * FULL_BUDGET
