"""The production stack's files against the published schema, each other, and reality."""

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
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml

import fstore
from beat.schedule import schedule
from fstore import broker, schema, secret_files, settings
from fstore.stack import temporary_servers
from tests.conftest import REPOSITORY, Servers
from tests.integration import compose_file
from tests.integration.compose_file import RULES, Site
from tests.waiting import eventually

OPS = REPOSITORY / "ops"
WORKERS = ("worker-compute", "worker-write", "worker-upkeep")
OURS = (*WORKERS, "migrate", "beat", "flower", "metrics")
SOFT_SHUTDOWN_S = 30


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services with the variables at their defaults."""
    found: dict[str, Any] = compose_file.load()["services"]
    return found


@pytest.fixture(scope="module")
def secret_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The secrets that ``fstore config --init-secrets`` writes."""
    made = secret_files.init_secrets(tmp_path_factory.mktemp("made") / "secrets", RULES.read_text())
    return {path.name for path in made}


def test_file_follows_the_published_schema() -> None:
    """The file is what the Compose specification allows."""
    text = resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    jsonschema.validate(yaml.safe_load(compose_file.FILE.read_text()), json.loads(text))


def test_every_queue_has_a_consumer(services: dict[str, Any]) -> None:
    """Each queue is served by exactly one service, and every scheduled task goes to a queue that is served."""
    served = [services[name]["command"][services[name]["command"].index("-Q") + 1] for name in WORKERS]
    scheduled = schedule(settings.load({"redis_url": "redis://x"}, environ={}))

    assert sorted(served) == sorted(broker.QUEUES)
    assert {entry["options"]["queue"] for entry in scheduled.values()} <= set(served)
    assert {entry["task"] for entry in scheduled.values()} <= set(broker.ROUTES)


def test_every_secret_is_a_file(services: dict[str, Any], secret_names: set[str]) -> None:
    """Secrets come from files that ``--init-secrets`` writes, each is used, and no variable carries one."""
    declared = compose_file.load()["secrets"]
    used = {name for service in services.values() for name in service.get("secrets", ())}

    assert {name: f"./secrets/{name}" for name in declared} == {n: about["file"] for n, about in declared.items()}
    assert used == set(declared)
    assert set(declared) <= secret_names
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|URL|AUTH|KEY|COOKIE", variable):
                assert variable.endswith("_FILE"), (name, variable)
                assert value.removeprefix("/run/secrets/") in service["secrets"], (name, variable)


def test_settings_are_known(services: dict[str, Any]) -> None:
    """Every FEATURE_STORE_* variable names a setting, and its value is taken."""
    for name in OURS:
        environment = {
            key: str(value)
            for key, value in services[name]["environment"].items()
            if key.startswith("FEATURE_STORE_") and not key.endswith("_FILE")
        }
        settings.load(environ={**environment, "FEATURE_STORE_REDIS_URL": "redis://redis:6379/0"})


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    """Images, those of the Dockerfile too, carry a tag with a number."""
    images = {service["image"] for service in services.values()}
    images |= set(re.findall(r"^FROM (\S+)", (OPS / "Dockerfile").read_text(), re.MULTILINE))
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), image


def test_services_are_hardened(services: dict[str, Any]) -> None:
    """No root, no writable root, no capabilities, limits, rotation, a health check; only dashboards are published, on loopback."""
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["init"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["user"].partition(":")[0]) > 0, name
        assert {"memory", "cpus", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        assert int(service["logging"]["options"]["max-file"]) > 1, name
        assert "healthcheck" in service, name
        assert service["restart"] == ("no" if name == "migrate" else "unless-stopped"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    assert {name for name, service in services.items() if service.get("ports")} == {"flower", "metrics", "grafana"}
    assert {n for n, s in services.items() if s["networks"] == ["back"]} == set(services) - {
        "flower",
        "metrics",
        "grafana",
    }
    assert compose_file.load()["networks"]["back"] == {"internal": True}


def test_start_order_and_grace(services: dict[str, Any]) -> None:
    """Everything of ours waits for the migration, and stopping workers get more than their soft shutdown."""
    for name in set(OURS) - {"migrate"}:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name
    for name in WORKERS:
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > SOFT_SHUTDOWN_S, name
    assert {n for n, s in services.items() if s.get("profiles") == ["monitoring"]} == {"prometheus", "grafana"}


def test_example_names_every_variable() -> None:
    """``.env.example`` lists every variable of the file, commented out, with the default that holds without it."""
    listed = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE))
    wanted = compose_file.variables()
    assert set(listed) == set(wanted)
    assert {k: v for k, v in listed.items() if k != "FEATURE_MODULES"} == {
        k: v for k, v in wanted.items() if k != "FEATURE_MODULES"
    }


def test_units_ask_for_secrets_that_exist(secret_names: set[str]) -> None:
    """Every credential a systemd unit loads is a secret we write, and every one it points to is loaded."""
    units = sorted((OPS / "systemd").glob("*.service"))
    assert len(units) == 6
    for unit in units:
        text = unit.read_text()
        loaded = dict(re.findall(r"^LoadCredential=(\w+):/etc/fstore/secrets/(\S+)$", text, re.MULTILINE))
        assert set(re.findall(r"%d/(\w+)", text)) == set(loaded), unit.name
        assert set(loaded.values()) <= secret_names, unit.name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_units_are_valid(tmp_path: Path) -> None:
    """systemd finds no fault in the units, but that their programs are not installed here."""
    for unit in (OPS / "systemd").glob("*.service"):
        text = re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name.replace("@.", "@compute.")).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.glob("*.service")))],
        capture_output=True, text=True, env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, check=False,
    )  # fmt: skip
    faults = [line for line in done.stderr.splitlines() if "fstore" in line and "Failed to" not in line]
    assert faults == []


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
def test_a_worker_stops_within_its_grace(site: Site, services: dict[str, Any]) -> None:
    """The stop signal ends a worker in order, well before it would be killed."""
    process = site.running["worker-write"]
    eventually(lambda: site.is_healthy("worker-write"), seconds=90, what="the worker to be healthy")

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(int(services["worker-write"]["stop_grace_period"].removesuffix("s")))

    assert code == 0, site.log("worker-write").read_text()[-2000:]
    assert time.monotonic() - began < SOFT_SHUTDOWN_S
    site.start("worker-write")


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
    assert len(steps) == 3
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FEATURE_STORE_"))}
    for step in steps:
        command = step.replace("/opt/fstore", str(target)).replace("python -m venv", f"{sys.executable} -m venv")
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=source if "pip" in step else tmp_path,
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
    shown = runs("python", "-c", "from fstore import schema; print(schema.wanted_revision())")
    assert shown.strip() == schema.wanted_revision()
