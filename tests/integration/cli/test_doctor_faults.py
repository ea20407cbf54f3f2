"""Seeded misconfigurations, one at a time: ``fstore doctor --json`` names each, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.conftest import House, run_sql
from tests.pooler import without_pooler
from tests.support.commands import Said, fstore

Seed = Callable[[House, Path], Mapping[str, str]]


@dataclass(frozen=True)
class Case:
    """A misconfiguration: how it comes about, the check that names it, and words of what was found and of what to do."""

    seed: Seed
    check: str
    found: str
    advice: str


def other_password(url: str) -> str:
    """Return the address with a password that opens nothing."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username or ''}:wrong@{parts.netloc.rpartition('@')[2]}").geturl()


def postgres_is_down(house: House, _: Path) -> Mapping[str, str]:
    """Nobody listens where Postgres should be."""
    return {"FEATURE_STORE_POSTGRES_URL": "postgresql://fstore:hush@127.0.0.1:1/fstore"}


def postgres_password(house: House, _: Path) -> Mapping[str, str]:
    """Postgres refuses the password."""
    return {"FEATURE_STORE_POSTGRES_URL": other_password(house.environment["FEATURE_STORE_POSTGRES_URL"])}


def no_tables(house: House, _: Path) -> Mapping[str, str]:
    """Nobody ran the migrations."""
    run_sql(house.environment["FEATURE_STORE_POSTGRES_URL"], "DROP TABLE alembic_version")
    return {}


def impatient_lock(house: House, _: Path) -> Mapping[str, str]:
    """The server looks for deadlocks later than fstore gives up waiting."""
    url = house.environment["FEATURE_STORE_POSTGRES_URL"]
    run_sql(url, f"ALTER DATABASE {urlsplit(url).path.lstrip('/')} SET deadlock_timeout = '30s'")
    return {}


def redis_is_down(house: House, _: Path) -> Mapping[str, str]:
    """Nobody listens where Redis should be."""
    return {"FEATURE_STORE_REDIS_URL": "redis://:hush@127.0.0.1:1/0"}


def redis_password(house: House, _: Path) -> Mapping[str, str]:
    """Redis refuses the password."""
    return {"FEATURE_STORE_REDIS_URL": other_password(house.environment["FEATURE_STORE_REDIS_URL"])}


def evicting_redis(house: House, _: Path) -> Mapping[str, str]:
    """Redis may drop what it likes when its memory is full."""
    configure_redis(house, "maxmemory-policy", "allkeys-lru")
    return {}


def no_upkeep_worker(house: House, _: Path) -> Mapping[str, str]:
    """Workers serve two of the three queues."""
    house.start(concurrency=1, queues="fstore.compute,fstore.write")
    return {}


def no_folder(house: House, folder: Path) -> Mapping[str, str]:
    """The store's folder is not mounted."""
    return {"FEATURE_STORE_PATH": str(folder / "not-mounted")}


def read_only_folder(house: House, _: Path) -> Mapping[str, str]:
    """Nobody may write in the store's folder, not even root."""
    return {"FEATURE_STORE_PATH": "/proc"}


def other_store(house: House, _: Path) -> Mapping[str, str]:
    """The folder is another database's."""
    (house.root / "STORE_ID").write_text("0" * 32)
    return {}


def no_module(house: House, _: Path) -> Mapping[str, str]:
    """A feature module is not installed here."""
    return {"FEATURE_STORE_FEATURE_MODULES": "fstore.intraday,our_alphas.features"}


def stray_variable(house: House, _: Path) -> Mapping[str, str]:
    """Another project's Celery is configured by the environment."""
    return {"CELERY_BROKER_URL": "redis://:hush@elsewhere:6379/0"}


def short_lease(house: House, _: Path) -> Mapping[str, str]:
    """Leases lapse before they can be renewed."""
    return {"FEATURE_STORE_LEASE_SECONDS": "15"}


def misspelt_setting(house: House, _: Path) -> Mapping[str, str]:
    """A variable is not quite the name of a setting."""
    return {"FEATURE_STORE_GC_RETENTION_WEEK": "8"}


def no_exporter(house: House, _: Path) -> Mapping[str, str]:
    """Workers are to export traces to what is not installed."""
    return {"FEATURE_STORE_TRACE_EXPORTER": "nowhere"}


def other_key(house: House, _: Path) -> Mapping[str, str]:
    """Workers run, and hold another signing key than this process."""
    house.start(concurrency=1, FEATURE_STORE_SIGNING_KEY="the-workers-key-" + "w" * 32)
    return {"FEATURE_STORE_SIGNING_KEY": "another-key-" + "o" * 32}


CASES = [
    Case(postgres_is_down, "postgres", "refused", "FEATURE_STORE_POSTGRES_URL"),
    Case(postgres_password, "postgres", "password authentication failed", "FEATURE_STORE_POSTGRES_URL"),
    Case(no_tables, "tables", "revision none", "fstore migrate"),
    Case(impatient_lock, "lock timeout", "not above deadlock_timeout of 30s", "deadlock_timeout"),
    Case(redis_is_down, "redis", "refused", "FEATURE_STORE_REDIS_URL"),
    Case(redis_password, "redis", "password", "FEATURE_STORE_REDIS_URL"),
    Case(evicting_redis, "redis memory", "allkeys-lru", "noeviction"),
    Case(no_upkeep_worker, "workers", "nobody serves fstore.upkeep", "celery -A workers.app worker -Q fstore.upkeep"),
    Case(other_key, "signing key", "not signed with their key", "FEATURE_STORE_SIGNING_KEY"),
    Case(no_folder, "store folder", "does not exist", "fstore migrate"),
    Case(read_only_folder, "store folder", "/proc", "right to write"),
    Case(other_store, "store id", "0" * 32, "fstore migrate"),
    Case(no_module, "feature modules", "our_alphas", "import"),
    Case(stray_variable, "celery variables", "CELERY_BROKER_URL", "unset CELERY_BROKER_URL"),
    Case(short_lease, "settings", "lease_seconds", "fstore config"),
    Case(misspelt_setting, "settings", "did you mean FEATURE_STORE_GC_RETENTION_WEEKS", "fstore config"),
    Case(no_exporter, "trace exporter", "nowhere", "worker"),
]  # fmt: skip
NEEDS_WORKERS = {no_upkeep_worker, other_key}
FOLLOW_UPS = {
    "postgres": {"beat"},
    "redis": {"workers"},
    "store folder": {"store id", "free space"},
    "tables": {"beat"},
}


def configure_redis(house: House, name: str, value: str) -> None:
    """Change a setting of the Redis that runs."""
    client = redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"])
    client.config_set(name, value)
    client.close()


@pytest.fixture
def redis_as_before(house: House) -> Iterator[None]:
    """Leave the servers that other tests share as they were."""
    yield
    configure_redis(house, "maxmemory-policy", "noeviction")


def faults(said: Said) -> list[Mapping[str, str]]:
    """Return the findings that make the doctor fail."""
    return [found for found in said.json["findings"] if found["level"] == "fault"]


# A pooler of the tests asks for no password itself, and its sessions keep what their database was set to when they began.
OF_SESSIONS = (postgres_password, impatient_lock)


@pytest.mark.usefixtures("redis_as_before")
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=without_pooler() if case.seed in OF_SESSIONS else ()) for case in CASES],
    ids=lambda case: case.seed.__name__,
)
def test_each_misconfiguration_is_named(house: House, tmp_path: Path, case: Case) -> None:
    """The fault is named with what to do, nothing else is blamed but what follows from it, and the exit code says it."""
    changed = case.seed(house, tmp_path)
    before_start = [] if case.seed in NEEDS_WORKERS else ["--before-start"]

    said = fstore(house, "doctor", "--json", *before_start, **changed)

    assert said.code == 1
    assert said.json["healthy"] is False
    found = faults(said)
    assert any(
        found["check"] == case.check and case.found in found["detail"] and case.advice in found["advice"]
        for found in found
    ), found
    assert {each["check"] for each in found} <= {case.check} | FOLLOW_UPS.get(case.check, set())
    assert "hush" not in said.out + said.err
