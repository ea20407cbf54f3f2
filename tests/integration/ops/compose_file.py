"""Reads ``docker-compose.yml`` as Compose does, and runs its services as processes of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fstore.cli import secrets as secret_files
from fstore.stack.servers.binaries import find_redis
from fstore.stack.servers.ports import choose_port
from tests.conftest import REPOSITORY, Servers, stop_group

FILE = REPOSITORY / "docker-compose.yml"
RULES = REPOSITORY / "ops" / "redis" / "users.acl"
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::-([^}]*))?\})")
_REDIS_CLI = """\
import os, sys, redis
_, _, user, _, password, *words = sys.argv[1:]
with redis.Redis(port=int(os.environ["REDIS_PORT"]), username=user, password=password, protocol=2) as client:
    print("PONG" if client.execute_command(*words) else "")
"""


def interpolated(value: Any, given: Mapping[str, str]) -> Any:
    """Fill in variables as Compose does: ``${NAME:-default}``, and ``$$`` for a dollar."""
    if isinstance(value, dict):
        return {name: interpolated(item, given) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, given) for item in value]
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda m: "$" if m[1] is None else given.get(m[1]) or m[2] or "", value)


def load(given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file with its variables filled in."""
    document: dict[str, Any] = interpolated(yaml.safe_load(FILE.read_text()), given or {})
    return document


def variables() -> dict[str, str]:
    """Return the variables the file asks for, with their defaults."""
    return {m[1]: m[2] or "" for m in _VARIABLE.finditer(FILE.read_text()) if m[1]}


class Site:
    """A folder that stands for a host: its secrets, volumes and the processes of its services.

    What a container would see at a fixed place is found here by replacing that
    place in commands, files and variables; nothing else is changed.
    """

    def __init__(self, folder: Path, servers: Servers) -> None:
        self.folder = folder
        self.services: dict[str, Any] = load()["services"]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {name: choose_port(f"{folder}{name}") for name in ("redis", "flower", "metrics")}
        socket = re.search(r"host=([^&]+)", servers.postgres_url)
        password = re.search(r"://[^:]+:([^@]+)@", servers.postgres_url)
        assert socket
        assert password
        self._socket = socket[1]
        self.secrets = folder / "secrets"
        self.secrets.mkdir(mode=0o700)
        (self.secrets / "postgres_owner_password").write_text(password[1])
        place = servers.postgres_url.partition("@")[2]
        secret_files.init_secrets(
            self.secrets, RULES.read_text(), postgres=place, redis=f"127.0.0.1:{self.ports['redis']}/0"
        )
        for name in ("bin", "store", "raw", "features", "beat", "redis"):
            (folder / name).mkdir()
        redis_cli = shutil.which("redis-cli")
        self._tool(
            "redis-cli",
            f'#!/bin/sh\nexec {redis_cli} -p "$REDIS_PORT" "$@"\n'
            if redis_cli
            else f"#!{sys.executable}\n{_REDIS_CLI}",
        )
        redis_server = find_redis(override=None)
        self._tool("redis-server", f'#!/bin/sh\nexec "{redis_server}" "$@"\n')

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service's own command with the environment the file gives it."""
        with self.log(name).open("ab") as out:
            process = subprocess.Popen(
                [self._translated(word, name) for word in self.services[name]["command"]],
                env=self.environment(name),
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.running[name] = process
        return process

    def run(self, name: str, command: list[str], *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command as ``docker compose exec`` would."""
        return subprocess.run(
            [self._translated(word, name) for word in command],
            env=self.environment(name), cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def is_healthy(self, name: str) -> bool:
        """Run a service's health check once."""
        process = self.running.get(name)
        if process is not None and process.poll() is not None:
            raise AssertionError(f"{name} ended with {process.returncode}:\n{self.log(name).read_text()[-3000:]}")
        kind, *words = self.services[name]["healthcheck"]["test"]
        command = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
        return self.run(name, command).returncode == 0

    def environment(self, name: str) -> dict[str, str]:
        """Return what a service's processes find: what the image and the file say, and no more."""
        given = {key: str(value) for key, value in self.services[name].get("environment", {}).items()}
        path = os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        image = {"PATH": path, "PYTHONPATH": str(REPOSITORY), "HOME": str(self.folder), "TZ": "UTC"}
        places = {"REDIS_PORT": str(self.ports["redis"]), "FLOWER_PORT": str(self.ports["flower"]), "PGPORT": "5432"}
        return {**image, **places, **{key: self._translated(value, name) for key, value in given.items()}}

    def make_roles(self) -> None:
        """Run the script that the postgres image runs when it creates the database."""
        script = REPOSITORY / "ops" / "postgres" / "initdb.d" / "10-roles.sh"
        password = (self.secrets / "postgres_owner_password").read_text()
        done = subprocess.run(
            ["/bin/sh", "-c", self._translated(script.read_text(), "postgres")],
            env={**self.environment("postgres"), "PGHOST": self._socket, "PGPASSWORD": password},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def write_redis_config(self) -> None:
        """Put ``redis.conf`` where the command looks for it, on a port that is free here."""
        text = (REPOSITORY / "ops" / "redis" / "redis.conf").read_text()
        text = text.replace("port 6379", f"port {self.ports['redis']}").replace("bind * -::*", "bind 127.0.0.1")
        (self.folder / "redis.conf").write_text(self._translated(text, "redis"))

    def log(self, name: str) -> Path:
        """Return where a service's output goes."""
        return self.folder / f"{name}.log"

    def secret(self, name: str) -> str:
        """Return a secret's text."""
        return (self.secrets / name).read_text().strip()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.running.values():
            stop_group(process)

    def _tool(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def _translated(self, text: str, name: str) -> str:
        own = self.folder / f"tmp-{name}"
        own.mkdir(exist_ok=True)
        places = {
            "/run/secrets": str(self.secrets),
            "/data/store": str(self.folder / "store"),
            "/data/raw": str(self.folder / "raw"),
            "/features": str(self.folder / "features"),
            "/var/lib/fstore": str(self.folder / "beat"),
            "/etc/fstore/": f"{REPOSITORY / 'ops'}/",
            "/etc/redis/redis.conf": str(self.folder / "redis.conf"),
            "dir /data": f"dir {self.folder / 'redis'}",
            "/tmp/fstore.heartbeat": str(own / "fstore.heartbeat"),  # noqa: S108 the container's /tmp is its own
            "-h 127.0.0.1 -U": f"-h {self._socket} -U",
            "0.0.0.0": "127.0.0.1",  # noqa: S104 replaced here
            "9464": str(self.ports["metrics"]),
            "5555": str(self.ports["flower"]),
        }
        for place, here in places.items():
            text = text.replace(place, here)
        return text
