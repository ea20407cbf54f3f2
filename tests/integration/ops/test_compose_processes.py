"""Every service of the production stack, run by its own command under its own users."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.postgres.schema import wanted_revision
from fstore.stack import temporary_servers
from tests.conftest import REPOSITORY, Servers
from tests.integration.ops.compose_file import Site
from tests.waiting import eventually

OPS = REPOSITORY / "ops"
WORKERS = ("worker-compute", "worker-write", "worker-upkeep")
SOFT_SHUTDOWN_S = 30


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Every service of the file, started in its order, as processes of this machine."""
    lines = (OPS / "postgres" / "postgresql.conf").read_text().splitlines()
    given = dict(re.findall(r"^(\w+) = '?([^'#]*?)'?$", "\n".join(lines), re.MULTILINE))
    del given["listen_addresses"]  # the embedded server listens on a socket, so that tests need no port
    with temporary_servers(postgres_settings=given) as running:
        built = Site(tmp_path_factory.mktemp("site"), Servers(running.postgres_url, running.redis_url))
        try:
            built.make_roles()
            built.write_redis_config()
            built.start("redis")
            eventually(lambda: built.is_healthy("redis"), seconds=30, what="redis")
            assert built.start("migrate").wait(120) == 0, built.log("migrate").read_text()
            for name in (*WORKERS, "beat", "flower", "metrics"):
                built.start(name)
            yield built
        finally:
            built.close()


def trainer(site: Site) -> fstore.FeatureStore:
    """Open the store as a trainer on the stack's network does."""
    return fstore.FeatureStore(
        site.folder / "store",
        postgres_url=site.secret("postgres_trainer_url"),
        redis_url=site.secret("redis_trainer_url"),
        signing_key=site.secret("signing_key"),
        data_roots=str(site.folder / "raw"),
    )


def ticks() -> pd.DataFrame:
    """Make trades of one minute."""
    index = pd.date_range("2026-01-02 14:30", periods=60, freq="s", tz="UTC")
    return pd.DataFrame({"price": np.linspace(100, 101, 60), "size": 10}, index=index)


@pytest.mark.timeout(300)
def test_every_service_becomes_healthy(site: Site) -> None:
    """Each service runs by its own command and passes its own health check within its start period."""
    for name in ("postgres", "redis", *WORKERS, "beat", "flower", "metrics"):
        eventually(lambda name=name: site.is_healthy(name), seconds=90, what=f"{name} to be healthy")  # type: ignore[misc]


@pytest.mark.timeout(300)
def test_the_stack_serves_trainers(site: Site) -> None:
    """A trainer under its own two users gets a computed frame, a hit and a local result; upkeep runs by itself; doctor finds no fault."""
    raw = ticks()
    with trainer(site) as store:
        feature = "fstore.intraday:log_returns"
        first = store.get_or_compute("AAPL", raw, {}, feature, timeout=90)
        assert store.get_or_compute("AAPL", raw, {}, feature, timeout=90).equals(first)
        local = fstore.local(lambda raw, config: raw * 2, version="1")
        assert store.get_or_compute("AAPL", raw, {}, local, timeout=90).equals(raw * 2)
        assert store.get_cache_stats()["degraded"] == 0
    done = eventually(lambda: _doctor(site), seconds=60, what="a doctor without faults")
    assert {found["check"] for found in done["findings"]} >= {"workers", "beat", "postgres", "redis"}


@pytest.mark.timeout(300)
def test_a_trainers_doctor_sees_what_a_trainer_may(site: Site) -> None:
    """With a trainer's two users doctor finds no fault, and says what this user of Redis may not ask."""
    given = site.environment("worker-upkeep")
    for name in ("postgres", "redis"):
        given[f"FEATURE_STORE_{name.upper()}_URL_FILE"] = str(site.secrets / f"{name}_trainer_url")
    done = subprocess.run(
        [sys.executable, "-m", "fstore.cli", "doctor", "--json"],
        env=given, cwd=site.folder, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)["findings"]
    for check in ("workers", "redis"):
        assert any("may not" in found["detail"] for found in findings if found["check"] == check)


def _doctor(site: Site) -> dict[str, Any] | None:
    done = site.run("worker-upkeep", ["fstore", "doctor", "--json"])
    found: dict[str, Any] = json.loads(done.stdout)
    beat = [f["level"] for f in found["findings"] if f["check"] == "beat"]
    return found if done.returncode == 0 and beat == ["ok"] else None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["worker-compute", "beat"])
def test_a_frozen_process_is_unhealthy(site: Site, name: str) -> None:
    """A worker or Beat that hangs fails its health check, and passes it again when it goes on."""
    eventually(lambda: site.is_healthy(name), seconds=90, what=f"{name} to be healthy")
    process = site.running[name]
    heartbeat = Path(site.environment(name).get("FEATURE_STORE_HEARTBEAT_FILE", "/nowhere"))

    os.killpg(process.pid, signal.SIGSTOP)
    try:
        if heartbeat.exists():  # as if half a minute had passed
            os.utime(heartbeat, (time.time() - 60, time.time() - 60))
        assert not site.is_healthy(name)
    finally:
        os.killpg(process.pid, signal.SIGCONT)

    eventually(lambda: site.is_healthy(name), seconds=30, what=f"{name} to recover")


@pytest.mark.timeout(300)
def test_a_worker_stops_within_its_grace(site: Site) -> None:
    """The stop signal ends a worker in order, well before it would be killed."""
    process = site.running["worker-write"]
    eventually(lambda: site.is_healthy("worker-write"), seconds=90, what="the worker to be healthy")

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(int(site.services["worker-write"]["stop_grace_period"].removesuffix("s")))

    assert code == 0, site.log("worker-write").read_text()[-2000:]
    assert time.monotonic() - began < SOFT_SHUTDOWN_S
    site.start("worker-write")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dockerfile_installs_in_a_clean_environment(tmp_path: Path) -> None:
    """The image's own install steps, with nothing but the files it copies, give an environment whose commands run."""
    text = (OPS / "Dockerfile").read_text()
    stage = text.split("\nFROM ")[1]
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for names, folder in re.findall(r"^COPY (?!--from)(.+) (\S+)$", stage, re.MULTILINE):
        for name in names.split():
            origin, place = REPOSITORY / name, source / folder
            if origin.is_dir():
                shutil.copytree(origin, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, place)
    steps = re.findall(r"^RUN (.+)$", stage, re.MULTILINE)
    first_sources = stage.index("COPY fstore")
    assert stage.index("install -c constraints.txt") < first_sources < stage.index("install --no-deps .")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FEATURE_STORE_"))}
    for step in steps:
        command = re.sub(r"^(--mount=\S+ )+", "", step).replace("/opt/fstore", str(target))
        command = re.sub(r"^python ", f"{sys.executable} ", command)
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=source if re.search(r"pip|pyproject", step) else tmp_path,
            env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]

    def runs(*command: str) -> str:
        return subprocess.run(
            [str(target / "bin" / command[0]), *command[1:]], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=True, timeout=120,
        ).stdout  # fmt: skip

    assert "metrics" in runs("fstore", "--help")
    assert "5.7" in runs("celery", "--version")
    shown = runs("python", "-c", "from fstore.postgres.schema import wanted_revision; print(wanted_revision())")
    assert shown.strip() == wanted_revision()
