"""Every Redis user tries every kind of command, on a real server with the ACL file that operations load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import redis

import fstore
from fstore.cli import secrets as secret_files
from fstore.stack.servers.binaries import find_redis
from tests.conftest import REPOSITORY, House, Servers, build_house
from tests.waiting import eventually

RULES = REPOSITORY / "ops" / "redis" / "users.acl"
USERS = secret_files.REDIS_USERS
SCALED = "tests.sample_features:scaled"
EVERYBODY, NOBODY = set(USERS), set[str]()
KOMBU = {"worker", "upkeep"}
# command -> who may run it
MATRIX: dict[tuple[str, ...], set[str]] = {
    ("PING",): EVERYBODY,
    ("SET", "fstore:dedup:f:k", "t", "NX", "PX", "10"): {"trainer", *KOMBU},
    ("HINCRBY", "fstore:counters", "cache_hits", "1"): {"trainer", *KOMBU},
    ("HINCRBY", "fstore:usage", "k", "1"): {"trainer", *KOMBU},
    ("HGETALL", "fstore:counters"): {"trainer", "monitor", *KOMBU},
    ("HGETALL", "fstore:usage"): {"trainer", *KOMBU},
    ("RENAMENX", "fstore:usage", "fstore:flushing:usage"): {"upkeep"},
    ("DEL", "fstore:flushing:counters"): KOMBU,
    ("LPUSH", "fstore:fstore.compute", "{}"): {"trainer", *KOMBU},
    ("LPUSH", "fstore:fstore.write", "{}"): {"trainer", *KOMBU},
    ("LPUSH", "fstore:fstore.upkeep", "{}"): KOMBU,
    ("LLEN", "fstore:fstore.compute"): EVERYBODY,
    ("LLEN", "fstore:fstore.upkeep"): EVERYBODY - {"trainer"},
    ("RPOP", "fstore:fstore.compute"): KOMBU,
    ("BRPOP", "fstore:fstore.write", "0.01"): KOMBU,
    ("LRANGE", "fstore:fstore.compute", "0", "-1"): NOBODY,
    ("HGET", "fstore:unacked", "t"): KOMBU,
    ("GET", "fstore:celery-task-meta-1"): {"trainer", *KOMBU},
    ("SET", "fstore:celery-task-meta-1", "{}"): KOMBU,
    ("PUBLISH", "fstore:done:k", "settled"): {"trainer", *KOMBU},
    ("PUBLISH", "fstore:/0.celery.pidbox", "{}"): {"flower", *KOMBU},
    ("PUBLISH", "fstore:/0.celeryev/task.multi", "{}"): {"flower", *KOMBU},
    ("PUBLISH", "elsewhere", "x"): NOBODY,
    ("EVAL", "return 1", "0"): {"flower", *KOMBU},
    ("GET", "elsewhere"): NOBODY,
    ("SET", "elsewhere", "x"): NOBODY,
    ("TIME",): {"trainer", "flower", *KOMBU},
    ("INFO",): {"upkeep", "monitor"},
    ("KEYS", "*"): NOBODY,
    ("SCAN", "0"): NOBODY,
    ("FLUSHALL",): NOBODY,
    ("FLUSHDB",): NOBODY,
    ("CONFIG", "GET", "dir"): NOBODY,
    ("CONFIG", "SET", "maxmemory", "1"): NOBODY,
    ("OBJECT", "FREQ", "fstore:usage"): NOBODY,
    ("MODULE", "LIST"): NOBODY,
    ("SCRIPT", "FLUSH"): NOBODY,
    ("ACL", "WHOAMI"): NOBODY,
    ("ACL", "SETUSER", "trainer", "+@all"): NOBODY,
    ("CLIENT", "LIST"): NOBODY,
    ("CLIENT", "KILL", "TYPE", "normal"): NOBODY,
    ("MONITOR",): NOBODY,
    ("SHUTDOWN", "NOSAVE"): NOBODY,
    ("REPLICAOF", "127.0.0.1", "1"): NOBODY,
    ("MIGRATE", "127.0.0.1", "1", "fstore:usage", "0", "10"): NOBODY,
    ("RESTORE", "fstore:usage", "0", "x"): NOBODY,
    ("FUNCTION", "LIST"): NOBODY,
}


class Guarded:
    """A Redis with the users of ``ops/redis/users.acl``, and an administrator to look on."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.folder = port, folder

    def url(self, user: str) -> str:
        """Return the URL of a user, as ``fstore config --init-secrets`` wrote it."""
        return (self.folder / f"redis_{user}_url").read_text().strip()

    def client(self, user: str) -> redis.Redis:
        """Connect as a user."""
        return redis.Redis.from_url(self.url(user), decode_responses=True)

    def denied(self) -> list[tuple[str, str]]:
        """Return who was denied what since the start."""
        with redis.Redis(port=self.port, username="admin", password="admin", decode_responses=True) as admin:  # noqa: S106
            return [(entry["username"], entry["object"]) for entry in admin.acl_log()]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """A Redis that knows only the users of operations, and one more to read its log of denials."""
    from fstore.stack.servers.ports import choose_port

    port = choose_port(str(tmp_path))
    folder = tmp_path / "secrets"
    secret_files.init_secrets(folder, RULES.read_text(), redis=f"127.0.0.1:{port}/0")
    acl = tmp_path / "users.acl"
    acl.write_text((folder / secret_files.ACL).read_text() + "user admin on >admin ~* &* +@all\n")
    log = (tmp_path / "redis.log").open("wb")
    process = subprocess.Popen(
        [
            str(find_redis(override=None)),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--aclfile",
            str(acl),
            "--save",
            "",
        ],
        cwd=tmp_path,
        stdout=log,
    )
    try:
        made = Guarded(port, folder)
        eventually(lambda: _answers(made), seconds=10, what="Redis to answer")
        yield made
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        log.close()


def _answers(made: Guarded) -> bool:
    try:
        return bool(made.client("monitor").ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("user", USERS)
def test_command_matrix(guarded: Guarded, user: str) -> None:
    """A user may run exactly the commands of its column."""
    may = set()
    for command in MATRIX:
        with guarded.client(user) as client:
            try:
                client.execute_command(*command)
            except redis.exceptions.NoPermissionError:
                continue
            except redis.ResponseError as error:  # allowed, and then refused for another reason
                assert "permission" not in str(error).lower(), command
            may.add(command)

    assert may == {command for command, users in MATRIX.items() if user in users}


def test_nobody_enters_without_a_password(guarded: Guarded) -> None:
    """The default user is off."""
    with pytest.raises(redis.AuthenticationError), redis.Redis(port=guarded.port) as client:
        client.ping()


def test_the_probe_may_ping_and_nothing_else(guarded: Guarded) -> None:
    """A health check needs no password, and nobody gets further by it than to know that Redis is there."""
    may = set()
    for command in MATRIX:
        with redis.Redis(port=guarded.port, username="probe", password="probe") as client:  # noqa: S106 it is none
            try:
                client.execute_command(*command)
            except redis.exceptions.NoPermissionError:
                continue
            may.add(command)
    assert may == {("PING",)}


@pytest.mark.slow
def test_every_user_can_do_its_work(guarded: Guarded, servers: Servers, tmp_path: Path) -> None:
    """Trainers, workers, upkeep, Beat's ping and Flower's questions all pass, and the server's log shows no denial."""
    raw = pd.DataFrame({"p": np.arange(100.0)})
    with ExitStack() as stack:
        house = build_house(Servers(servers.postgres_url, servers.redis_url), tmp_path, stack)
        _start(house, guarded, "worker", "fstore.compute,fstore.write", stack, tmp_path)
        _start(house, guarded, "upkeep", "fstore.upkeep", stack, tmp_path)
        trainer = stack.enter_context(house.open(redis_url=guarded.url("trainer")))

        for _ in range(2):
            assert trainer.get_or_compute("AAPL", raw, {"factor": 3}, SCALED, timeout=60).equals(raw * 3)
        local = fstore.local(lambda raw, config: raw + 1, version="1")
        assert trainer.get_or_compute("AAPL", raw, {}, local, timeout=60).equals(raw + 1)
        assert trainer.get_cache_stats()["computed"] == 2
        assert trainer.get_cache_stats()["degraded"] == 0
        assert _plain_celery(house, guarded, tmp_path) == "hit"
        assert "pong" in _celery(house, guarded.url("upkeep"), tmp_path, "-A", "beat.app", "inspect", "ping", "-t", "5")
        assert "pong" in _celery(
            house, guarded.url("flower"), tmp_path, "-A", "workers.app", "inspect", "ping", "-t", "5"
        )

    assert guarded.denied() == []


def _start(house: House, guarded: Guarded, user: str, queues: str, stack: ExitStack, folder: Path) -> None:
    house.start(concurrency=1, queues=queues, FEATURE_STORE_REDIS_URL=guarded.url(user))


def _plain_celery(house: House, guarded: Guarded, folder: Path) -> str:
    """Ask as people do who know Celery only, and return the status of the answer."""
    pd.DataFrame({"p": np.arange(10.0)}).to_parquet(folder / "ticks.parquet")
    request = {"symbol": "MSFT", "raw_data": str(folder / "ticks.parquet"), "config": {"factor": 2}, "feature": SCALED}
    code = (
        "from workers.tasks import get_or_compute\n"
        f"request = {request!r}\n"
        "get_or_compute.delay(request).get(timeout=60)\n"
        "print(get_or_compute.delay(request).get(timeout=60)['status'])"
    )
    return _python(house, guarded.url("trainer"), folder, "-c", code).strip()


def _celery(house: House, redis_url: str, folder: Path, *arguments: str) -> str:
    return _python(house, redis_url, folder, "-m", "celery", *arguments)


def _python(house: House, redis_url: str, folder: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        **house.environment,
        "FEATURE_STORE_REDIS_URL": redis_url,
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
