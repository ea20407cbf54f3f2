"""``fstore doctor`` sends no-ops through each queue: workers that take messages and do nothing are found, and named as such."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fstore.broker.tasks import QUEUES
from fstore.cli.doctor.worker_checks import SLOW_S
from tests import sample_features
from tests.conftest import House
from tests.support.commands import Said, fstore
from tests.waiting import eventually

KEY = "a-key-of-this-test-" + "k" * 32


def of_queues(said: Said) -> dict[str, Mapping[str, Any]]:
    """Return the findings about workers by the queue that each names."""
    found = [f for f in said.json["findings"] if f["check"] == "workers"]
    return {queue: next(f for f in found if queue in f["detail"]) for queue in QUEUES}


def child_of(process: subprocess.Popen[bytes]) -> int:
    """Return the one child of a worker that computes."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("settings", [{}, {"FEATURE_STORE_SIGNING_KEY": KEY}], ids=["unsigned", "signed"])
def test_each_queue_is_timed(house: House, settings: Mapping[str, str]) -> None:
    """A well worker does all no-ops within moments; how long it took stands in the text and in the JSON."""
    house.start(concurrency=1, **settings)

    said = fstore(house, "doctor", "--json", **settings)

    assert said.code == 0, said.out
    for queue, found in of_queues(said).items():
        figures = found["figures"]
        assert found["level"] == ("ok" if figures["slowest_s"] <= SLOW_S else "warning")  # a machine may be busy
        assert (figures["queue"], figures["sent"], figures["answered"], figures["workers"]) == (queue, 3, 3, 1)
        assert 0 < figures["slowest_s"] < figures["deadline_s"]
        assert "3 no-ops, the slowest in " in found["detail"]
    assert "3 no-ops, the slowest in " in fstore(house, "doctor", **settings).out
    server = house.store.resources.redis_server
    assert [server.queue_length(queue) for queue in QUEUES] == [0, 0, 0]


def test_a_worker_whose_child_does_nothing_is_found(house: House) -> None:
    """Its main process answers every question, so that all else looks well; afterwards nothing is left of the trial."""
    worker = house.start(concurrency=1)
    stopped = child_of(worker)
    os.kill(stopped, signal.SIGSTOP)

    said = fstore(house, "doctor", "--json")

    assert said.code == 1
    for queue, found in of_queues(said).items():
        assert found["level"] == "fault", found
        assert f"1 serve {queue}" in found["detail"]
        assert "nobody did a no-op within 10 s" in found["detail"]
        assert "fstore restart" in found["advice"]
        assert found["figures"]["answered"] == 0
        assert found["figures"]["slowest_s"] is None
    os.kill(stopped, signal.SIGCONT)
    server = house.store.resources.redis_server
    eventually(lambda: not any(map(server.queue_length, QUEUES)), seconds=30, what="the no-ops being taken")
    assert fstore(house, "doctor", "--json").code == 0


def test_a_stopped_worker_beside_a_well_one_is_found(house: House) -> None:
    """It holds the message that it took before its neighbour; who looks only at answers sees one worker less."""
    house.start(concurrency=1)
    stopped = house.start(concurrency=1)
    os.kill(child_of(stopped), signal.SIGSTOP)

    said = fstore(house, "doctor", "--json")

    assert said.code == 1
    found = of_queues(said)
    assert {f["level"] for f in found.values()} <= {"fault", "ok"}
    partly = [f for f in found.values() if f["level"] == "fault"]
    assert partly
    assert all(0 < f["figures"]["answered"] < 3 for f in partly)
    assert all("a worker takes messages and does not work on them" in f["detail"] for f in partly)
    os.kill(child_of(stopped), signal.SIGCONT)


def test_a_stopped_worker_alone_is_no_worker(house: House) -> None:
    """It answers nothing at all, as if there were none; nothing is left lying in its queues."""
    stopped = house.start(concurrency=1)
    os.kill(stopped.pid, signal.SIGSTOP)

    said = fstore(house, "doctor", "--json")

    os.kill(stopped.pid, signal.SIGCONT)
    assert said.code == 1
    for queue, found in of_queues(said).items():
        assert (found["level"], found["figures"]) == ("fault", {})
        assert f"nobody serves {queue}: no answer in time" in found["detail"]
    assert not any(map(house.store.resources.redis_server.queue_length, QUEUES))


def test_a_worker_that_computes_is_not_called_stuck(house: House, tmp_path: Path) -> None:
    """Its one child has a computation of a minute: no-ops wait behind it, which is a warning and no fault."""
    house.start(concurrency=1)
    raw = pd.DataFrame({"x": [1.0]})
    house.store.submit("S", raw, {"seconds": 60, "marks": str(tmp_path / "marks")}, sample_features.slow)
    eventually(lambda: any(tmp_path.glob("marks/*")), seconds=30, what="its start")

    said = fstore(house, "doctor", "--json")

    assert said.code == 0, said.out
    for found in of_queues(said).values():
        assert found["level"] == "warning"
        assert "1 of 1 compute" in found["detail"]
