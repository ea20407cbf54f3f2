"""Beat, worker and Flower as people start them: upkeep runs on schedule, once, and can be seen."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections import Counter
from contextlib import ExitStack

import pytest

from fstore.broker.tasks import COLLECT_GARBAGE, FLUSH_USAGE, RECONCILE_JOBS, SWEEP_INTEGRITY, UPKEEP_QUEUE
from fstore.stack.servers.ports import choose_port
from fstore.upkeep import api as upkeep
from tests.conftest import build_house
from tests.waiting import eventually

KINDS = {
    "gc": COLLECT_GARBAGE,
    "sweep": SWEEP_INTEGRITY,
    "reconcile": RECONCILE_JOBS,
    "flush": FLUSH_USAGE,
}
EVERY_MINUTE = "* * * * *"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_beat_runs_all_upkeep_once_and_flower_shows_it(servers, tmp_path):
    """Two Beats, one of them with a corrupt schedule file: each kind of upkeep runs, collections once a minute, all seen in Flower."""
    with ExitStack() as stack:
        house = build_house(
            servers, tmp_path, stack,
            gc_schedule=EVERY_MINUTE, integrity_schedule=EVERY_MINUTE, reconcile_period_s="2", flush_period_s="2",
        )  # fmt: skip
        port, login = choose_port("beat test"), "fstore:a-password-of-some-length"
        arguments = ("-A", "workers.app", "flower", "--address=127.0.0.1", f"--port={port}")
        house.start_celery("flower", *arguments, FLOWER_BASIC_AUTH=login, FLOWER_READ_ONLY="true")
        house.start(concurrency=1, queues=UPKEEP_QUEUE)
        (tmp_path / "two.schedule").write_bytes(b"\x00garbage" * 100)
        for name in ("one", "two"):
            house.start_celery(name, "-A", "beat.app", "beat", "-s", f"{name}.schedule", "--pidfile=")

        def runs(kind: str) -> list[dict[str, object]]:
            return [run for run in upkeep.list_runs(house.store.resources, kind, limit=100) if run["finished_ts"]]  # type: ignore[arg-type]

        eventually(
            lambda: len(runs("gc")) >= 1 and all(runs(kind) for kind in KINDS), seconds=100, what="every kind of upkeep"
        )

        for kind in KINDS:
            assert not [run for run in runs(kind) if "error" in run["report"]], runs(kind)
        by_minute = Counter(str(run["started_ts"])[:16] for run in runs("gc"))
        assert set(by_minute.values()) == {1}

        def seen() -> set[str]:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/api/tasks?limit=500")
            request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 a literal http address
                return {task["name"] for task in json.load(answer).values() if task["state"] == "SUCCESS"}

        rare = {KINDS["gc"], KINDS["sweep"]}  # what runs every few seconds sends no events
        eventually(lambda: rare <= seen(), seconds=20, what="Flower to show collections and sweeps")
