"""Beat's sign of life: a file that its loop touches, at least as often as probes look."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from beat.scheduling import WatchedScheduler
from fstore.runtime.probes import touch_probe


@pytest.fixture
def heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is to be touched, in a folder that is not there yet."""
    file = tmp_path / "run" / "beat"
    monkeypatch.setenv("FEATURE_STORE_HEARTBEAT_FILE", str(file))
    monkeypatch.setenv("FEATURE_STORE_REDIS_URL", "redis://127.0.0.1:1/0")
    return file


def test_each_turn_of_the_loop_touches_the_file(heartbeat: Path, tmp_path: Path) -> None:
    """A turn with nothing to send is a sign of life, and the next one is at most ten seconds away."""
    from beat.app import app

    assert app.conf.beat_scheduler == "beat.scheduling:WatchedScheduler"
    scheduler = WatchedScheduler(
        app, schedule_filename=str(tmp_path / "schedule")
    )  # nothing is due in its first seconds
    assert not heartbeat.exists()

    try:
        wait_s = scheduler.tick()
        assert heartbeat.exists()
        os.utime(heartbeat, (0, 0))
        scheduler.tick()
    finally:
        scheduler.close()

    assert time.time() - heartbeat.stat().st_mtime < 60
    assert wait_s <= app.conf.beat_max_loop_interval == 10


def test_a_disk_that_refuses_ends_nobody(tmp_path: Path) -> None:
    """What cannot be touched grows old, which is what the probe sees; without a file there is nothing to do."""
    (tmp_path / "file").write_text("")
    touch_probe(tmp_path / "file" / "below")
    touch_probe(None)
