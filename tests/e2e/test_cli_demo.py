"""``fstore demo`` as a newcomer runs it: real servers, real processes, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fstore.cli.demo.incremental import run_incremental
from fstore.cli.demo.sandbox import DemoOptions
from tests.waiting import eventually

REPOSITORY = Path(__file__).parent.parent.parent
DATA = Path(os.environ.get("FSTORE_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
REAL = ("esh4_orders_2023-12-25", "btcperp_1m_2022-01", "gbpusd_bid_1m_2012-02", "eurusd_quote_ticks_2020-01-01")
FIELDS = {
    "trainers", "requests", "succeeded", "failed", "wrong_results", "unique_keys", "computed", "hits", "coalesced",
    "hit_ms", "joblib_hit_ms", "miss_ms", "manifest_rows", "gc", "integrity", "flower_url", "seconds",
}  # fmt: skip


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder for temporary files of one demo, which the servers' account can reach too."""
    with tempfile.TemporaryDirectory(prefix="fstore-room-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def start(room: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a demo whose environment names a store that must not be touched."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FEATURE_STORE_", "CELERY_"))}
    environment = {
        **kept,
        "TMPDIR": str(room),
        "PYTHONPATH": str(REPOSITORY),
        "FEATURE_STORE_PATH": str(room / "production"),
        "FEATURE_STORE_POSTGRES_URL": "postgresql://production:secret@127.0.0.1:1/production",
        "FEATURE_STORE_REDIS_URL": "redis://127.0.0.1:1/0",
        "FEATURE_STORE_GC_RETENTION_WEEKS": "1",
    }
    command = [sys.executable, "-m", "fstore.cli", "demo", *arguments]
    return subprocess.Popen(
        command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with no settings in its environment."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FEATURE_STORE_", "CELERY_"))}
    command = [sys.executable, "-m", "fstore.cli", *arguments]
    environment = {**kept, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def processes_of(room: Path) -> list[str]:
    """Return the command lines of the processes that work in a room."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.environ().get("TMPDIR") == str(room) or str(room) in line:
                found.append(line)
        except psutil.Error:
            continue
    return found


def assert_nothing_left(room: Path) -> None:
    """No process and no file remains of a demo."""
    eventually(lambda: processes_of(room) == [], seconds=5, what="its processes to end")  # those of Python's own, too
    assert list(room.iterdir()) == []


def assert_all_right(report: dict[str, Any], *, trainers: int, requests: int) -> None:
    """The account is complete and shows one compute a key and right frames for all."""
    assert set(report) == FIELDS
    assert (report["trainers"], report["requests"]) == (trainers, trainers * requests)
    assert (report["succeeded"], report["failed"], report["wrong_results"]) == (trainers * requests, 0, 0)
    assert report["computed"] == report["unique_keys"] == report["manifest_rows"] > 1
    assert report["hits"] + report["coalesced"] + report["computed"] == report["requests"]
    assert report["coalesced"] >= 4, "five ask for one key at the same moment, one of them leads"
    assert 0 < report["hit_ms"]["p50"] <= report["hit_ms"]["p99"]
    assert 0 < report["joblib_hit_ms"]["p50"] <= report["joblib_hit_ms"]["p99"], "the same hits by joblib.Memory"
    assert 0 < report["miss_ms"]["p50"] <= report["miss_ms"]["p99"]
    assert report["integrity"]["integrity_ok"]
    assert report["integrity"]["checked"] == report["manifest_rows"]
    assert report["gc"]["summary"]["total_files_deleted"] == 0
    assert report["flower_url"].startswith("http://")


def test_the_main_job_on_made_up_data(room: Path) -> None:
    """Six trainers share one cache, the account is right, other stores are not touched and nothing is left behind."""
    demo = start(room, "--trainers", "6", "--requests", "6", "--json")
    out, err = demo.communicate(timeout=170)

    assert demo.returncode == 0, err
    assert err == ""
    assert_all_right(json.loads(out), trainers=6, requests=6)
    assert_nothing_left(room)


@pytest.mark.slow
def test_a_demo_that_is_kept_can_be_looked_at(room: Path) -> None:
    """With --keep the stack stays, on real data if there are any: every look finds what the demo left, down stops it."""
    root = room / "kept here"
    files = [argument for name in REAL if DATA.is_dir() for argument in ("--data", str(DATA / f"{name}.parquet"))]
    demo = start(room, "--trainers", "4", "--requests", "4", "--keep", "--root", str(root), *files)
    out, err = demo.communicate(timeout=170)
    try:
        assert demo.returncode == 0, out + err
        assert "16 by 4 trainers: 16 succeeded, 0 failed" in out
        assert "every one compared with a direct call: 0 wrong" in out
        assert "still runs" in out

        status = ask("status", "--root", str(root), "--json")
        assert (status.returncode, json.loads(status.stdout)["healthy"]) == (0, True)
        assert "********" in status.stdout
        again = ask("up", "--root", str(root))
        assert (again.returncode, "already" in again.stderr) == (0, True)
        assert f"fstore down --root '{root}'" in again.stdout
        listed = json.loads(ask("ls", "--root", str(root), "--json").stdout)
        assert listed["shown"] == listed["in_store"] > 1
        doctor = ask("doctor", "--root", str(root))
        assert doctor.returncode == 0, doctor.stdout
        assert "7 processes run" in doctor.stdout
        second = ask("demo", "--root", str(root), "--json")
        assert (second.returncode, json.loads(second.stdout)["error"]["type"]) == (3, "ConfigurationError")
        assert ask("status", "--root", str(root)).returncode == 0, "a demo that was refused stops nothing"
    finally:
        down = ask("down", "--root", str(root), "--json")
    assert (down.returncode, json.loads(down.stdout)["was_running"]) == (0, True)
    assert "nothing runs" in ask("down", "--root", str(root)).stdout
    stopped = ask("status", "--root", str(root), "--json")
    assert (stopped.returncode, json.loads(stopped.stdout)["running"]) == (1, False)
    assert processes_of(room) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_nothing_behind(room: Path, number: signal.Signals) -> None:
    """Ctrl-C while servers are starting stops and removes everything, and says so with exit code 130."""
    demo = start(room, "--trainers", "3")
    eventually(lambda: any("postgres" in line for line in processes_of(room)), seconds=60, what="Postgres to start")

    demo.send_signal(number)
    _, err = demo.communicate(timeout=60)

    assert demo.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert_nothing_left(room)


def test_a_folder_in_use_is_refused(room: Path) -> None:
    """A root that holds the files of an earlier demo is left alone, whatever is in it."""
    root = room / "mine"
    (root / "demo-files").mkdir(parents=True)
    (root / "demo-files" / "thesis.txt").write_text("years of work")

    demo = start(room, "--root", str(root), "--json")
    out, _ = demo.communicate(timeout=60)

    assert demo.returncode == 3
    assert "another --root" in json.loads(out)["error"]["message"]
    assert (root / "demo-files" / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
def test_a_new_day_computes_one_day(room: Path) -> None:
    """Of three symbols over a month, on a stack of its own: one day each, and two for a corrected tick."""
    outcome = run_incremental(
        DemoOptions(1, 1, root=room / "root"), say=lambda _: None, on_answer=lambda *_: None, symbols=3, days=22
    )

    assert outcome.troubles == ()
    told = [(step["days"], step["computed"], step["copied"], step["read"]) for step in outcome.report["steps"]]
    assert told[0] == (66, 66, 0, 0) and told[3:] == [(69, 0, 0, 69), (69, 69, 0, 0)]
    assert (told[1][1], told[2][1]) == (3, 2)
    assert not (room / "root" / "demo-files").exists()


def test_the_two_demos_do_not_mix() -> None:
    """What the one is told means nothing to the other."""
    said = ask("demo", "--incremental", "--trainers", "3")
    assert (said.returncode, "requests of its own" in said.stderr) == (2, True)
