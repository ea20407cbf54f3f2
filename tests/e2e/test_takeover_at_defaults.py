"""The promise in real time: with the settings as they come, nobody waits on the dead for more than 45 seconds."""

from __future__ import annotations

import threading
import time

import pandas as pd
import pytest

from tests import sample_features
from tests.conftest import stop_group
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})


@pytest.mark.slow
def test_a_killed_worker_delays_its_waiters_by_at_most_45_seconds(house, tmp_path):
    """Killed in the middle of a computation with all its processes; another worker takes over when the lease is out."""
    config = {"seconds": 1.0, "marks": str(tmp_path / "marks")}
    doomed = house.start(concurrency=1)
    frames: list[pd.DataFrame] = []
    asking = threading.Thread(
        target=lambda: frames.append(house.store.get_or_compute("SLOW", RAW, config, sample_features.slow, timeout=90))
    )
    asking.start()
    eventually(lambda: list(tmp_path.glob("marks/*")), seconds=30, what="the computation to start")

    stop_group(doomed)
    killed_at = time.monotonic()
    house.start(concurrency=1)
    asking.join(60)

    assert time.monotonic() - killed_at < 45
    assert frames[0].equals(RAW)
    assert len(list(tmp_path.glob("marks/*"))) == 2
    assert len(list(house.root.glob("entries/*/*.parquet"))) == 1
    assert house.store.resources.jobs.count_by_state() == {}
    assert house.store.resources.redis_server._link.call("looking", lambda client: client.keys("fstore:dedup:*")) == []
