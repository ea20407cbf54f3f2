"""``fstore worker``, ``beat``, ``flower``, ``ops`` and ``logs``: running it for a team, and what dashboards show."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fstore.broker.dashboard import FLOWER_COLUMNS, FLOWER_SETTINGS, flower_variables
from fstore.broker.tasks import QUEUES
from fstore.cli.commands.start.logs import last_lines
from fstore.stack.choices import Choices
from fstore.stack.layout import Layout
from fstore.stack.plan import Plan, celery_children, place_flower
from tests.conftest import REPOSITORY, House, stop_group
from tests.support.commands import fstore
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
MINE = "import fstore\n@fstore.feature(version='1')\ndef mine(raw, config): return raw * 7\n"


def start(house: House, folder: Path, *arguments: str, **more: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a command of the foreground in a folder; returns the process and what it writes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FEATURE_STORE_", "FLOWER_"))}
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fstore.cli", *arguments],
            env={**kept, **house.environment, "PYTHONPATH": str(REPOSITORY), **more},
            cwd=folder, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    return process, log


def test_a_worker_serves_features_beside_a_stranger_of_its_name(house: House, tmp_path: Path) -> None:
    """In a folder with a ``workers`` of its own ``fstore worker`` runs ours, and finds the modules of the folder."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("raise RuntimeError('the wrong workers')\n")
    (tmp_path / "my_own_features.py").write_text(MINE)
    modules = {"FEATURE_STORE_FEATURE_MODULES": "my_own_features"}
    process, log = start(house, tmp_path, "worker", "-c", "1", "-n", "one@here", **modules)
    try:
        served = eventually(
            lambda: house.store.resources.broker.workers_by_queue(timeout_s=0.5).get(QUEUES[0]), seconds=60, what="it"
        )
        assert served == ["one@here"], "further arguments are Celery's"
        RAW.to_parquet(house.root.parent / "raw.parquet")
        here = Path.cwd()
        os.chdir(tmp_path)
        try:
            said = fstore(
                house,
                "get",
                "A",
                house.root.parent / "raw.parquet",
                "--feature",
                "my_own_features:mine",
                "--json",
                **modules,
            )
        finally:
            os.chdir(here)
        assert (said.code, said.json["status"]) == (0, "computed"), said.out + log.read_text()
    finally:
        stop_group(process)


def test_beat_and_flower_run_as_commands(house: House, tmp_path: Path) -> None:
    """Beat begins its schedule; Flower without a login does not start, with one it does, with the shipped settings."""
    beat, said = start(house, tmp_path, "beat", "-s", str(tmp_path / "schedule"))
    refused, why = start(house, tmp_path, "flower")
    try:
        eventually(lambda: "beat: Starting" in said.read_text(), seconds=60, what="Beat")
        assert refused.wait(60) != 0
        assert "Flower needs a login" in why.read_text()
    finally:
        stop_group(beat)
        stop_group(refused)


def test_flower_shows_the_same_columns_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list stands once; the shipped configuration and the stack of ``fstore up`` hand it on."""
    monkeypatch.setenv("FEATURE_STORE_FLOWER_AUTH", "me:twelve-characters")
    shipped = runpy.run_path(str(REPOSITORY / "ops" / "flowerconfig.py"))
    assert {name: shipped[name] for name in FLOWER_SETTINGS} == FLOWER_SETTINGS
    assert FLOWER_COLUMNS[-1] == "uuid"

    from fstore.settings.loading import gather_settings

    layout = Layout(tmp_path)
    flower = place_flower(gather_settings({"path": tmp_path}, environ={}), Choices(), layout)
    specs = celery_children(Plan(tmp_path, tmp_path), layout, {}, flower, "token")
    environment = next(spec.env for spec in specs if spec.name == "flower")
    assert flower_variables().items() <= dict(environment).items()
    assert environment["FLOWER_TASKS_COLUMNS"] == shipped["tasks_columns"]
    assert environment["FLOWER_READ_ONLY"] == "true"


def test_flower_is_not_told_of_what_runs_three_times_a_minute(house: House, tmp_path: Path) -> None:
    """Reconciling, flushing and the doctor's no-ops send no events; everything that people look for does."""
    code = (
        "from workers.app import app\napp.finalize()\napp.loader.import_default_modules()\n"
        "print(*sorted(name for name, task in app.tasks.items() if name.startswith('fstore.') and not task.send_events))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **house.environment, "PYTHONPATH": str(REPOSITORY)}, cwd=tmp_path,
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.split() == ["fstore.flush_usage", "fstore.ping", "fstore.reconcile_jobs"]


def test_files_of_production_are_written_out_and_never_replaced_unasked(house: House, tmp_path: Path) -> None:
    """``ops export`` writes what is missing; a file that somebody changed stops it, unless it is told to go on."""
    first = fstore(house, "ops", "export", tmp_path / "out", "--json")
    assert first.code == 0
    assert {"docker-compose.yml", "ops/systemd/fstore-worker@.service", "ops/flowerconfig.py"} <= set(
        first.json["written"]
    )
    assert not [name for name in first.json["written"] if name.startswith("ops/bench")]

    changed = tmp_path / "out" / "docker-compose.yml"
    changed.write_text("mine")
    (tmp_path / "out" / "ops" / "README.md").unlink()
    refused = fstore(house, "ops", "export", tmp_path / "out")
    assert (refused.code, changed.read_text()) == (3, "mine")
    assert "docker-compose.yml" in refused.err
    assert fstore(house, "ops", "export", tmp_path / "out", "--force", "--json").json["written"] == [
        "docker-compose.yml", "ops/README.md",
    ]  # fmt: skip
    assert fstore(house, "ops", "export", tmp_path / "out", "--json").json["written"] == []


def test_logs_are_shown_from_their_end_and_followed(house: House, tmp_path: Path) -> None:
    """The last lines of each, by name; ``-f`` goes on with what is added, also after a log was begun anew."""
    logs = Layout(house.root).logs
    logs.mkdir(parents=True)
    (logs / "compute.log").write_text("".join(f"line {n}\n" for n in range(100)))
    (logs / "beat.log").write_text("only\n")

    both = fstore(house, "logs", "-n", "2")
    assert both.out == "beat: only\ncompute: line 98\ncompute: line 99\n"
    assert fstore(house, "logs", "compute", "-n", "1").out == "line 99\n"
    assert fstore(house, "logs", "-n", "1", "--json").json["logs"] == {"beat": ["only"], "compute": ["line 99"]}
    unknown = fstore(house, "logs", "cmpute")
    assert (unknown.code, "there are beat, compute" in unknown.err) == (5, True)

    process, said = start(house, tmp_path, "logs", "-f", "-n", "1", "compute")
    try:
        eventually(lambda: "line 99\n" in said.read_text(), seconds=30, what="the last line")
        with (logs / "compute.log").open("a") as file:
            file.write("added\n")
        eventually(lambda: "added\n" in said.read_text(), seconds=30, what="the added line")
        (logs / "compute.log").write_text("anew\n")
        eventually(lambda: said.read_text().endswith("anew\n"), seconds=30, what="the new log")
    finally:
        stop_group(process)


def test_a_long_log_is_read_from_its_end(tmp_path: Path) -> None:
    """Lines longer than a block, no newline at the end, and no lines at all are all right."""
    path = tmp_path / "x.log"
    path.write_text("a" * 300_000 + "\n" + "b" * 200_000)
    assert last_lines(path, 1) == (["b" * 200_000], 500_001)
    assert [line[:1] for line in last_lines(path, 5)[0]] == ["a", "b"]
    assert last_lines(path, 0)[0] == []
    path.write_text("")
    assert last_lines(path, 5) == ([], 0)
