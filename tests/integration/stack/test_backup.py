"""The lines of ``docs/backup.md`` on a real Postgres and a folder, while entries are published: what they bring back is whole."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.stack.servers.binaries import find_postgres
from tests.conftest import REPOSITORY, House, Servers, run_sql, stop_group, with_database
from tests.e2e.documents import Block, blocks_of

FEATURE = "fstore.intraday:log_returns"
ON_HOSTS = [block for block in blocks_of(REPOSITORY / "docs" / "backup.md") if block.no_run == "backup"]
DUMP, COPY = "pg_dump", "tar -C"
PRICES = [("AAPL", 100.0), ("MSFT", 200.0), ("ES", 5000.0)]


def ticks(first: float) -> pd.DataFrame:
    """Make trades of a minute."""
    index = pd.date_range("2026-01-02 14:30", periods=60, freq="s", tz="UTC")
    return pd.DataFrame({"price": np.linspace(first, first + 1, 60), "size": 10}, index=index)


class Operator:
    """Who follows the page with the addresses of one store."""

    def __init__(self, house: House, postgres_url: str, root: Path, backup: Path) -> None:
        binaries = find_postgres(override=None, data_major=None)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FEATURE_STORE_")}
        path = os.pathsep.join([str(binaries.bindir), str(Path(sys.executable).parent), kept["PATH"]])
        own = {"STORE": str(root), "OWNER_URL": postgres_url, "BACKUP": str(backup), "PATH": path}
        self._environment = {**kept, **own, "FEATURE_STORE_REDIS_URL": house.environment["FEATURE_STORE_REDIS_URL"]}

    def run(self, block: Block, *, only: str = "") -> str:
        """Run a block of the page, or only its lines with some text."""
        lines = [line for line in block.code.splitlines() if only in line]
        assert lines
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            env=self._environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, (lines, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout


@pytest.fixture
def empty_database(servers: Servers) -> str:
    """A database for the restored store."""
    name = f"restored_{uuid.uuid4().hex[:12]}"
    run_sql(servers.postgres_url, f"CREATE DATABASE {name}")
    return with_database(servers.postgres_url, name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("order", [(DUMP, COPY), (COPY, DUMP)], ids=["as the page says", "the other way round"])
def test_a_restored_store_answers_right(
    house: House, empty_database: str, tmp_path: Path, order: tuple[str, str]
) -> None:
    """What was published before the backup is a hit again and equal; what came between its two halves is a miss and right."""
    worker = house.start()
    backup, root = tmp_path / "backup", tmp_path / "restored"
    before = {name: house.store.get_or_compute(name, ticks(price), {}, FEATURE, timeout=60) for name, price in PRICES}
    (house.root / "entries" / "00").joinpath(".tmp-unfinished").write_bytes(b"half")

    living = Operator(house, house.environment["FEATURE_STORE_POSTGRES_URL"], house.root, backup)
    living.run(ON_HOSTS[0], only="mkdir")
    living.run(ON_HOSTS[0], only=order[0])
    between = house.store.get_or_compute("BETWEEN", ticks(7.0), {}, FEATURE, timeout=60)
    living.run(ON_HOSTS[0], only=order[1])

    restored = Operator(house, empty_database, root, backup)
    if order[0] == DUMP:
        restored.run(ON_HOSTS[1])
    else:  # a row whose file the copy lacks: verify says so, by its exit code
        for line in ("pg_restore", "tar -C", "migrate"):
            restored.run(ON_HOSTS[1], only=line)
        with pytest.raises(AssertionError, match=r"4 entries, .* 1 wrong"):
            restored.run(ON_HOSTS[1], only="verify")

    assert not list(root.rglob(".tmp-*"))
    stop_group(worker)
    settings = {"FEATURE_STORE_POSTGRES_URL": empty_database, "FEATURE_STORE_PATH": str(root)}
    house.start(**settings)
    given = {
        key.removeprefix("FEATURE_STORE_").lower(): value for key, value in {**house.environment, **settings}.items()
    }
    del given["path"]
    with fstore.FeatureStore(root, **given) as store:
        found = {name: store.get_or_compute(name, ticks(price), {}, FEATURE, timeout=60) for name, price in PRICES}
        hits = store.get_cache_stats()
        late = store.get_or_compute("BETWEEN", ticks(7.0), {}, FEATURE, timeout=60)

    assert all(found[name].equals(before[name]) for name, _ in PRICES)
    assert late.equals(between)
    assert (hits["cache_hits"], hits["degraded"]) == (len(PRICES), 0)
