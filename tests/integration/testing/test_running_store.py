"""``fstore.testing.running_store`` as users' tests use it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
import redis

import fstore
from fstore.testing import running_store
from tests.conftest import Servers
from tests.sample_features import scaled
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
MODULES = ["tests.sample_features"]


@pytest.fixture
def servers(servers: Servers) -> Servers:
    """The run's servers with nothing left in their Redis, as a store on given servers asks for."""
    redis.Redis.from_url(servers.redis_url).flushall()
    return servers


HELD = """\
import sys, time
from fstore.testing import running_store
if __name__ == "__main__":
    with running_store(["tests.sample_features"], concurrency=1) as running:
        print(running.folder, flush=True)
        time.sleep(600)
"""


def test_a_users_test_gets_a_store_that_computes_and_leaves_nothing(monkeypatch):
    """Servers and a worker of its own, whatever the environment says; the folder and all processes go with the block."""
    monkeypatch.setenv("FEATURE_STORE_PATH", "/nonexistent/production")
    monkeypatch.setenv("FEATURE_STORE_POSTGRES_URL", "postgresql://nobody@127.0.0.1:1/production")
    monkeypatch.setenv("FEATURE_STORE_ON_UNAVAILABLE", "raise")

    with running_store(MODULES, concurrency=1) as running:
        assert running.store.get_or_compute("AAPL", RAW, {"factor": 2}, scaled).equals(RAW * 2)
        assert running.store.settings.on_unavailable == "compute"
        assert running.store.settings.request_timeout_s == 60
        with running.open(request_timeout_s=5) as again:
            assert again.peek("AAPL", RAW, {"factor": 2}, scaled) is not None
        folder, started = running.folder, descendants_in(running.folder)
        assert started

    assert not folder.exists()
    assert not [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_code_that_connects_by_itself_finds_the_store(servers, tmp_path, monkeypatch):
    """With the store's environment in place ``fstore.connect()`` of the code under test leads there."""
    with running_store(MODULES, concurrency=0, servers=servers, folder=tmp_path, failure_memory_s=5) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)

        with fstore.connect() as store:
            assert store.settings.path == tmp_path / "store"
            assert store.settings.failure_memory_s == 5
            assert store.get_cache_stats()["computed"] == 0


def test_workers_import_what_the_test_imports(tmp_path, servers, monkeypatch):
    """A folder that somebody put on the path of this process, and a relative folder for the store's files."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "features_of_a_test.py").write_text(
        "import fstore\n\n\n@fstore.feature(version='1')\ndef same(raw, config):\n    return raw\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.chdir(tmp_path)

    with running_store(
        ["features_of_a_test"], concurrency=1, servers=emptied(servers), folder=Path("store")
    ) as running:
        assert running.store.get_or_compute("AAPL", RAW, {}, "features_of_a_test:same", timeout=30).equals(RAW)


def test_two_stores_on_the_same_servers_know_nothing_of_each_other(servers, tmp_path):
    """Each has a database of its own, and gives it back."""
    with (
        running_store(MODULES, concurrency=0, servers=servers, folder=tmp_path / "one") as one,
        running_store(MODULES, concurrency=0, servers=servers, folder=tmp_path / "two") as two,
    ):
        assert one.environment["FEATURE_STORE_POSTGRES_URL"] != two.environment["FEATURE_STORE_POSTGRES_URL"]
        assert one.store.resources.manifest.store_identity() != two.store.resources.manifest.store_identity()
        databases = one.store.resources.database.query("SELECT count(*) FROM pg_database WHERE datname ~ '^fstore_'")

    with running_store(concurrency=0, servers=servers, folder=tmp_path / "three") as three:
        left = three.store.resources.database.query("SELECT count(*) FROM pg_database WHERE datname ~ '^fstore_'")
    assert left[0][0] == databases[0][0] - 1


def test_a_module_that_cannot_be_imported_is_told_before_anything_starts(tmp_path):
    """A worker would only answer each request with it."""
    nowhere = Servers("postgresql://nobody@127.0.0.1:1/none", "redis://127.0.0.1:1")

    with (
        pytest.raises(fstore.ConfigurationError, match="cannot import 'no_such_features'"),
        running_store(["no_such_features"], servers=nowhere, folder=tmp_path),
    ):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_killed_test_run_leaves_no_worker(tmp_path):
    """Nobody is there to end the block; the worker and the servers end all the same."""
    script = tmp_path / "held.py"
    script.write_text(HELD)
    root = Path(__file__).parents[3]
    run = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    try:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        started = psutil.Process(run.pid).children(recursive=True)
        assert any("celery" in " ".join(process.cmdline()) for process in started)
    finally:
        run.send_signal(signal.SIGKILL)
        run.communicate()

    eventually(
        lambda: not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE],
        seconds=20, what="worker and servers to end",
    )  # fmt: skip
    shutil.rmtree(folder)


@pytest.mark.parametrize("absent", ["pytest", "psutil"])
def test_what_is_absent_is_named_or_not_needed(absent):
    """pytest is the user's choice; what the embedded servers need is named with the extra that brings it."""
    code = (
        f"import sys; sys.modules[{absent!r}] = None\n"
        "import fstore.testing\n"
        "try:\n    from fstore.testing import running_store\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    needed = "pip install 'intraday-fstore[embedded]'" in done.stdout and "ConfigurationError" in done.stdout
    assert needed == (absent == "psutil"), done.stdout


def emptied(servers: Servers) -> Servers:
    """Return the run's servers with nothing left in Redis of the tests before."""
    redis.Redis.from_url(servers.redis_url).flushall()
    return servers


def descendants_in(folder: Path) -> list[psutil.Process]:
    """Return the processes below this one that work in a folder."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if Path(process.cwd()) == folder:
                found.append(process)
        except psutil.Error:
            continue
    return found
