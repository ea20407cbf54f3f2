"""A trainer that only hits loads nothing of what a miss, a worker or upkeep needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd

from tests.conftest import REPOSITORY, House
from tests.sample_features import scaled
from tests.unit.runtime.test_loaded_modules import HEAVY, OF_SETTINGS

TRAINER = """
import json, sys
import fstore
from fstore.client import warming
warming.SETTLED_AFTER_S = 0.0

def loaded():
    return sorted({name.partition(".")[0] for name in list(sys.modules)} | {n for n in list(sys.modules) if n.startswith("fstore.")})

store = fstore.connect()
frame = store.get_or_compute("COLD", fstore.ParquetSource(sys.argv[1]), {"factor": 2}, "tests.sample_features:scaled")
first = loaded()
for _ in range(3):
    store.get_or_compute("COLD", fstore.ParquetSource(sys.argv[1]), {"factor": 2}, "tests.sample_features:scaled")
store.close()
print(json.dumps([len(frame), store.get_cache_stats.__name__, first, loaded()]))
"""
OF_MISSES = {"fstore.client.misses", "fstore.client.local_compute", "fstore.broker.messages", "fstore.broker.transport"}
OF_PARTITIONS = {"fstore.client.partitions.pieces", "fstore.compute.segments", "fstore.increments.execution"}
OF_CALLS = {"fstore.calling.feature_calls"}
OF_UPKEEP = {"fstore.upkeep.api", "fstore.reporting.stats", "fstore.ingest.ingestion"}


def test_a_trainer_that_only_hits_loads_nothing_of_a_miss(staffed: House) -> None:
    """Neither up to its first hit nor once its notes are handed over; Redis' driver is loaded for those alone."""
    path = staffed.root.parent / "cold.parquet"
    source = staffed.store.ingest(pd.DataFrame({"price": [1.0, 2.0, 3.0]}), path)
    staffed.store.get_or_compute("COLD", source, {"factor": 2}, scaled)

    done = subprocess.run(
        [sys.executable, "-c", TRAINER, str(path)],
        env=staffed.child_environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows, _, first, at_the_end = json.loads(done.stdout)
    assert rows == 3
    # redis-py looks for OpenTelemetry
    unwanted = HEAVY - OF_SETTINGS - {"redis", "opentelemetry"} | OF_MISSES | OF_UPKEEP
    assert sorted(set(first) & (OF_PARTITIONS | OF_CALLS)) == []  # of features that declare none
    assert sorted(set(first) & unwanted) == []
    assert sorted(set(at_the_end) & unwanted) == []
