"""The production stack's files against the published schema, each other, and reality."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from beat.schedule import schedule
from fstore.broker.tasks import QUEUES, ROUTES
from fstore.cli import secrets as secret_files
from fstore.settings.loading import gather_settings
from tests.conftest import REPOSITORY
from tests.integration.ops import compose_file
from tests.integration.ops.compose_file import RULES

OPS = REPOSITORY / "ops"
WORKERS = ("worker-compute", "worker-write", "worker-upkeep")
OURS = (*WORKERS, "migrate", "beat", "flower", "metrics")
ONCE = ("migrate", "bucket")
WITH_A_BUCKET = {
    "COMPOSE_PROFILES": "object-store",
    "STORE_PATH": "s3://fstore/store",
    "S3_ENDPOINT_URL": "http://object-store:7480",
    "S3_ALLOW_HTTP": "true",
}
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
    scheduled = schedule(gather_settings({"redis_url": "redis://x"}, environ={}))

    assert sorted(served) == sorted(QUEUES)
    assert {entry["options"]["queue"] for entry in scheduled.values()} <= set(served)
    assert {entry["task"] for entry in scheduled.values()} <= set(ROUTES)


def test_every_secret_is_a_file(services: dict[str, Any], secret_names: set[str]) -> None:
    """Secrets come from files that ``--init-secrets`` writes, each is used, and no variable carries one."""
    declared = compose_file.load()["secrets"]
    used = {name for service in services.values() for name in service.get("secrets", ())}

    assert {name: f"./secrets/{name}" for name in declared} == {n: about["file"] for n, about in declared.items()}
    assert used == set(declared)
    assert set(declared) <= secret_names
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|URL|AUTH|KEY|COOKIE", variable.replace("S3_ENDPOINT_URL", "")):
                assert variable.endswith("_FILE"), (name, variable)
                assert value.removeprefix("/run/secrets/") in service["secrets"], (name, variable)


@pytest.mark.parametrize("given", [{}, WITH_A_BUCKET], ids=["folder", "bucket"])
def test_settings_are_known(given: dict[str, str]) -> None:
    """Every FEATURE_STORE_* variable names a setting, and its value is taken, whether the root is a folder or a bucket."""
    for name in OURS:
        environment = {
            key: str(value)
            for key, value in compose_file.load(given)["services"][name]["environment"].items()
            if key.startswith("FEATURE_STORE_") and not key.endswith("_FILE")
        }
        settings = gather_settings(environ={**environment, "FEATURE_STORE_REDIS_URL": "redis://redis:6379/0"})
        assert str(settings.path) == given.get("STORE_PATH", "/data/store")
        assert settings.cache_folder is None


def test_each_role_comes_to_the_bucket_as_itself(services: dict[str, Any]) -> None:
    """Whoever reads or writes entries has the keys of its role, whole, and nobody those of another; no other service has any."""
    roles = dict.fromkeys(("worker-compute", "worker-write"), "worker") | {
        "worker-upkeep": "upkeep",
        "migrate": "upkeep",
        "bucket": "owner",
    }
    for name, service in services.items():
        held = {secret for secret in service.get("secrets", ()) if secret.startswith("s3_")}
        if name == "object-store":
            assert held == {f"s3_{user}_{part}" for user in secret_files.S3_USERS for part in ("key_id", "secret")}
            continue
        role = roles.get(name)
        assert held == ({f"s3_{role}_key_id", f"s3_{role}_secret"} if role else set()), name
        environment = service.get("environment", {})
        told = {key: value for key, value in environment.items() if "S3_" in key and key.endswith("_FILE")}
        assert set(told.values()) == {f"/run/secrets/{secret}" for secret in held}, name


def test_the_object_store_is_a_profile(services: dict[str, Any]) -> None:
    """Without the profile nothing waits for it; with it the bucket is made before the migration, by whoever owns it."""
    assert {n for n, s in services.items() if s.get("profiles") == ["object-store"]} == {"object-store", "bucket"}
    assert services["bucket"]["depends_on"] == {"object-store": {"condition": "service_healthy"}}
    assert services["migrate"]["depends_on"]["bucket"] == {
        "condition": "service_completed_successfully",
        "required": False,
    }
    lines = re.search(r"^# (COMPOSE_PROFILES=.*)\.$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
    assert lines
    assert dict(item.split("=", 1) for item in lines[1].split(", ")) == WITH_A_BUCKET


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    """Images, those of the Dockerfile too, carry a tag with a number."""
    images = {service["image"] for service in services.values()}
    for file in (OPS / "Dockerfile", OPS / "object-store" / "Dockerfile"):
        images |= set(re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE))
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), image


def test_one_service_builds_the_image(services: dict[str, Any]) -> None:
    """Each service with a ``build`` would make an image of its own, and every start after a build would replace them all."""
    assert [name for name, service in services.items() if "build" in service] == ["migrate", "object-store"]
    assert len({services[name]["image"] for name in (*OURS, "bucket")}) == 1
    assert services["object-store"]["image"] != services["migrate"]["image"]


def test_health_checks_need_no_secret_and_no_python(services: dict[str, Any]) -> None:
    """A changed password fails no check before its services are restarted, and watching costs less than what is watched."""
    for name, service in services.items():
        if name in ONCE:
            continue
        check = service["healthcheck"]
        words = " ".join(check["test"])
        assert not re.search(r"/run/secrets|PASSWORD|_AUTH|\bpython\b|\bcelery\b|\bfstore \w", words), (name, words)
        assert int(check["start_period"].removesuffix("s")) >= 180, name  # a loaded host was seen to take that long
        assert int(check["interval"].removesuffix("s")) >= 15, name


def test_features_are_named_where_they_are_mounted(services: dict[str, Any]) -> None:
    """Who is told which features there are finds their files, and nobody else tries to import them."""
    for name in OURS:
        mounted = any(":/features:" in volume for volume in services[name]["volumes"])
        named = "FEATURE_STORE_FEATURE_MODULES" in services[name]["environment"]
        assert named <= mounted, name
        assert named == (name in WORKERS), name


def test_versions_agree() -> None:
    """The package's version is that of the image, wherever it is written."""
    version = re.search(r'^version = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    places = ("docker-compose.yml", ".env.example", "ops/Dockerfile", "ops/README.md")
    found = {place: set(re.findall(r"fstore:(\d[\w.]*)", (REPOSITORY / place).read_text())) for place in places}
    assert found == {place: {version[1]} for place in places}
    assert f"ARG VERSION={version[1]}\n" in (OPS / "Dockerfile").read_text()


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
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    assert {name for name, service in services.items() if service.get("ports")} == {"flower", "metrics", "grafana"}
    assert {n for n, s in services.items() if s["networks"] == ["back"]} == set(services) - {
        "flower",
        "metrics",
        "grafana",
    }
    assert compose_file.load()["networks"]["back"] == {"internal": "true"}


def test_start_order_and_grace(services: dict[str, Any]) -> None:
    """Everything of ours waits for the migration, and stopping workers get more than their soft shutdown."""
    for name in set(OURS) - {"migrate"}:
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name
    for name in WORKERS:
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > SOFT_SHUTDOWN_S, name
    assert {n for n, s in services.items() if s.get("profiles") == ["monitoring"]} == {"prometheus", "grafana"}


def test_example_names_every_variable() -> None:
    """``.env.example`` lists every variable of the file, commented out, with the default that holds without it."""
    listed = dict(re.findall(r"^#([A-Z_0-9]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE))
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
