"""Servers and folders that are down, frozen, full or read-only: requests go on or fail in time, and it is counted."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from fstore import (
    BrokerUnavailable,
    ComputeFailed,
    FeatureStore,
    FeatureStoreError,
    ManifestUnavailable,
    ParquetSource,
    Request,
    StorageFull,
    StorageUnavailable,
    local,
)
from fstore.compute.executor import execute
from fstore.compute.raw_data import stage_raw
from fstore.stack import EmbeddedServers, temporary_servers
from tests import sample_features
from tests.conftest import House, Servers, build_house
from tests.trainers import crowd
from tests.waiting import awake_s, eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(100)]})
HIT = {"factor": 3}
SET_HERE = """
import fstore
SMALL = 2
TOLD = SMALL * 2
OTHER = 3
@fstore.feature()
def tracked(raw, config):
    return raw * TOLD
@fstore.feature(version="1")
def by_hand(raw, config):
    return raw * OTHER
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[EmbeddedServers]:
    """Servers that these tests stop, freeze and start again."""
    with temporary_servers() as running:
        yield running


@pytest.fixture
def home(machine: EmbeddedServers, tmp_path: Path) -> Iterator[House]:
    """A store with one entry, on servers that run when the test begins and when it ends."""
    with ExitStack() as stack:
        yield furnished(machine, tmp_path, stack)


@pytest.fixture
def trusting(machine: EmbeddedServers, tmp_path: Path) -> Iterator[House]:
    """The same, whose administrator believes results that trainers computed of workers' features."""
    with ExitStack() as stack:
        yield furnished(machine, tmp_path, stack, trust_staged_results="true")


def furnished(machine: EmbeddedServers, folder: Path, stack: ExitStack, **settings: str) -> House:
    house = build_house(Servers(machine.postgres_url, machine.redis_url), folder, stack, **settings)
    publish_here(house)
    stack.callback(machine.start_redis)
    stack.callback(machine.start_postgres)
    return house


def publish_here(house: House) -> None:
    """Compute the entry of ``HIT`` as a worker would, without one."""
    asked = house.store._prepare("DOWN", RAW, HIT, sample_features.scaled)
    reference = stage_raw(house.store.resources.staging, RAW, asked.fingerprint)
    execute(house.store.resources, asked.message(reference), phase=lambda _: None)


def ask(
    store: FeatureStore, config: dict[str, object], function: object = sample_features.scaled, timeout: float = 20
) -> pd.DataFrame:
    return store.get_or_compute("DOWN", RAW, config, function, timeout=timeout)


@contextmanager
def frozen(child: object) -> Iterator[None]:
    """Stop a server and all its processes without closing a socket."""
    top = psutil.Process(child.pid)
    everybody = [top, *top.children(recursive=True)]
    for process in everybody:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in everybody:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def counted(store: FeatureStore, mode: str) -> int:
    """Return how many requests were served in a degraded mode, as the store tells once it can."""

    def told() -> int:
        with suppress(ManifestUnavailable):
            return store.get_cache_stats().get(f"degraded:{mode}", 0)
        return 0

    return eventually(told, seconds=10, what=f"degraded:{mode}")


def test_without_redis_hits_go_on(home, machine):
    """A hit needs Postgres and the file, nothing else, and is not slower for it."""
    machine.stop_redis()
    for _ in range(3):
        began = awake_s()
        assert ask(home.store, HIT).equals(RAW * 3)
        assert awake_s() - began < 1.0


def test_without_redis_a_miss_is_computed_here_and_published(trusting, machine):
    """The caller computes under a job lease; the result is stored for everybody."""
    machine.kill_redis()

    assert ask(trusting.store, {"factor": 4}).equals(RAW * 4)

    assert trusting.store.peek("DOWN", RAW, {"factor": 4}, sample_features.scaled).attempt == 1
    assert trusting.store.resources.jobs.count_by_state() == {}
    machine.start_redis()
    assert counted(trusting.store, "redis") == 1
    assert trusting.store.get_cache_stats()["degraded"] == 1


def test_without_redis_what_a_trainer_computes_of_a_workers_feature_is_not_stored(home, machine, caplog):
    """Workers vouch for their features: the caller has its answer, nobody else gets it, it is counted and said why."""
    machine.kill_redis()

    assert ask(home.store, {"factor": 4}).equals(RAW * 4)
    own = local(lambda raw, config: raw * 2, version="1", name="of its own")
    assert ask(home.store, {}, own).equals(RAW * 2)

    assert home.store.peek("DOWN", RAW, {"factor": 4}, sample_features.scaled) is None
    assert home.store.peek("DOWN", RAW, {}, own) is not None
    assert home.store.resources.jobs.count_by_state() == {}
    assert "FEATURE_STORE_TRUST_STAGED_RESULTS" in caplog.text
    machine.start_redis()
    assert counted(home.store, "not stored") == 1


def test_without_redis_what_the_callers_settings_may_have_changed_is_not_published(trusting, machine):
    """A registered feature is everybody's: computed under options that a worker has not, it answers this caller alone."""
    texts = {"factor": 4}
    machine.stop_redis()

    with warnings.catch_warnings(action="ignore"), pd.option_context("future.infer_string", False):
        assert ask(trusting.store, texts).equals(RAW * 4)
    assert trusting.store.peek("DOWN", RAW, texts, sample_features.scaled) is None
    assert trusting.store.resources.jobs.count_by_state() == {}

    with np.errstate(divide="ignore"), pd.option_context("display.max_rows", 3):
        ask(trusting.store, {"factor": 5})
        own = local(lambda raw, config: raw * 2, version="1", name="own settings")
        ask(trusting.store, {"factor": 5}, own)
    assert trusting.store.peek("DOWN", RAW, {"factor": 5}, sample_features.scaled) is None
    assert trusting.store.peek("DOWN", RAW, {"factor": 5}, own) is not None

    with pd.option_context("display.max_rows", 3, "display.width", 40):
        ask(trusting.store, {"factor": 6})
    assert trusting.store.peek("DOWN", RAW, {"factor": 6}, sample_features.scaled) is not None
    machine.start_redis()
    assert counted(trusting.store, "not stored") == 2


def test_without_redis_what_the_caller_set_in_a_features_module_is_not_published(
    trusting, machine, tmp_path, monkeypatch
):
    """Computed values are no constants of the text, so nothing refuses the request; but the key stands for the text."""
    (tmp_path / "set_here.py").write_text(SET_HERE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("set_here")
    machine.stop_redis()
    assert ask(trusting.store, {}, module.tracked).equals(RAW * 4)
    assert trusting.store.peek("DOWN", RAW, {}, module.tracked) is not None

    module.TOLD, module.OTHER = 50, 7
    for function, factor in ((module.tracked, 50), (module.by_hand, 7)):
        assert ask(trusting.store, {"own": 1}, function).equals(RAW * factor)
        assert trusting.store.peek("DOWN", RAW, {"own": 1}, function) is None

    module.TOLD, module.OTHER = 4, 3
    assert ask(trusting.store, {"own": 1}, module.tracked).equals(RAW * 4)
    assert trusting.store.peek("DOWN", RAW, {"own": 1}, module.tracked) is not None


def test_without_redis_twenty_callers_still_compute_once(trusting, machine, tmp_path):
    """The claim in Postgres is enough for a single flight."""
    config = {"seconds": 1.0, "marks": str(tmp_path / "marks")}
    machine.stop_redis()

    outcomes = crowd(
        trusting.environment, partial(ask, config=config, function=sample_features.slow), processes=5, threads=4
    )

    assert [outcome.error for outcome in outcomes] == [None] * 20
    assert all(outcome.value.equals(RAW.head(3)) for outcome in outcomes)
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_without_redis_an_error_is_shared_too(trusting, machine, tmp_path):
    """A function that raises here leaves a note for the others."""
    config = {"marks": str(tmp_path / "marks")}
    machine.stop_redis()

    for _ in range(2):
        with pytest.raises(ComputeFailed, match="no price in row 17"):
            ask(trusting.store, config, sample_features.failing)

    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_miss_is_picked_up_again_when_redis_comes_back(home, machine):
    """Nothing has to be restarted: the next miss goes to the workers' queue."""
    machine.stop_redis()
    ask(home.store, {"factor": 4})
    machine.start_redis()

    def sent() -> bool:
        home.store.submit("DOWN", RAW, {"factor": time.time()}, sample_features.scaled)
        with suppress(BrokerUnavailable):
            return home.store.resources.redis_server.queue_length("fstore.compute") > 0
        return False

    eventually(sent, seconds=10, what="messages to be sent again")


def test_without_postgres_results_are_computed_and_not_stored(home, machine):
    """The right frame comes back, no file is left behind, and it is counted once Postgres is back."""
    files = set(home.root.rglob("*.parquet"))
    machine.stop_postgres()

    assert ask(home.store, {"factor": 4}).equals(RAW * 4)
    assert ask(home.store, HIT).equals(RAW * 3)
    with pytest.raises(ComputeFailed, match="no price in row 17"):
        ask(home.store, {}, sample_features.failing)
    with pytest.raises(ComputeFailed, match="returned int"):
        ask(home.store, {}, sample_features.no_frame)

    machine.start_postgres()
    assert set(home.root.rglob("*.parquet")) == files
    assert counted(home.store, "postgres") == 4
    assert ask(home.store, HIT).equals(RAW * 3)


def test_without_both_servers_results_are_computed_all_the_same(home, machine):
    """The store is a cache: without it the work is done by hand."""
    machine.stop_postgres()
    machine.stop_redis()

    assert ask(home.store, {"factor": 4}).equals(RAW * 4)
    frames = dict(enumerate(frame for _, frame in home.store.get_or_compute_many(
        [request({"factor": n}) for n in range(3)], timeout=20
    )))  # fmt: skip
    assert sorted(frame["price"].iloc[1] for frame in frames.values()) == [0.0, 1.0, 2.0]
    for _, frame in home.store.get_or_compute_many([request({"factor": 5})] * 3, timeout=20):
        assert frame.equals(RAW * 5)
        frame.index.name = "mine"
        frame.iloc[:] = -1.0  # before the next one is asked for


def request(config):
    return Request("DOWN", RAW, config, sample_features.scaled)


@pytest.mark.parametrize("server", ["postgres", "redis"])
@pytest.mark.parametrize("kind", ["hit", "miss", "file", "many", "ticket"])
def test_a_frozen_server_never_holds_a_caller_past_its_deadline(home, machine, server, kind):
    """The server keeps its sockets open and says nothing: a frame or a typed error is there in time, plus a second."""
    path = home.root.parent / "raw.parquet"
    RAW.to_parquet(path)
    ask(home.store, HIT)  # connections are open
    acts = {
        "hit": lambda: ask(home.store, HIT, timeout=2),
        "miss": lambda: ask(home.store, {"factor": 5}, timeout=2),
        "file": lambda: home.store.get_or_compute("F", ParquetSource(path), {}, sample_features.scaled, timeout=2),
        "many": lambda: list(home.store.get_or_compute_many([request(HIT), request({"factor": 6})], timeout=2)),
        "ticket": lambda: home.store.submit("DOWN", RAW, {"factor": 7}, sample_features.scaled).result(timeout=2),
    }

    for attempt in ("at once", "and again") if kind == "miss" else ("at once",):
        with frozen(getattr(machine, server)):
            began = awake_s()
            with suppress(FeatureStoreError):
                acts[kind]()
            seconds = awake_s() - began
        assert seconds < (3.0 if kind != "ticket" else 8.0), attempt  # submit itself may take five

    assert eventually(lambda: _works(home), seconds=10, what="the store to work again")


def _works(home: House) -> bool:
    try:
        return ask(home.store, HIT).equals(RAW * 3)
    except FeatureStoreError:
        return False


def test_a_hit_does_not_wait_for_a_frozen_redis(home, machine):
    """Usage is noted off the hit path."""
    with frozen(machine.redis):
        began = awake_s()
        for _ in range(20):
            assert ask(home.store, HIT).equals(RAW * 3)
        assert awake_s() - began < 2.0


def test_a_frozen_redis_lets_a_miss_be_computed_here(trusting, machine):
    """With time enough, the answer is the right frame, stored."""
    with frozen(machine.redis):
        assert ask(trusting.store, {"factor": 8}, timeout=15).equals(RAW * 8)
    assert trusting.store.peek("DOWN", RAW, {"factor": 8}, sample_features.scaled) is not None


def test_on_request_an_unavailable_server_is_an_error(home, machine):
    """With ``on_unavailable="raise"`` nobody computes in a trainer by surprise."""
    store = home.open(on_unavailable="raise")
    machine.stop_redis()
    assert ask(store, HIT).equals(RAW * 3)
    with pytest.raises(BrokerUnavailable):
        ask(store, {"factor": 4})
    machine.stop_postgres()
    for config in (HIT, {"factor": 4}):
        with pytest.raises(ManifestUnavailable):
            ask(store, config)
    machine.start_redis()
    machine.start_postgres()
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, small, that can be made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "fstore-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a file system takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def cramped(machine: EmbeddedServers, small_disk: Path) -> Iterator[House]:
    """A store on a small disk, with one entry."""
    with ExitStack() as stack:
        house = build_house(Servers(machine.postgres_url, machine.redis_url), small_disk, stack)
        publish_here(house)
        yield house


def fill(folder: Path) -> None:
    """Take all that is left."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass


def test_on_a_full_disk_results_are_computed_and_not_stored(cramped, small_disk):
    """Readers go on, a miss is computed in the caller, nothing half-written stays, and it is counted."""
    fill(small_disk)
    other = RAW + 1

    assert ask(cramped.store, HIT).equals(RAW * 3)
    assert cramped.store.get_or_compute("DOWN", other, {}, sample_features.scaled, timeout=20).equals(other * 2)

    assert counted(cramped.store, "store folder") == 1
    assert not list(cramped.root.rglob(".tmp-*"))
    with cramped.open(on_unavailable="raise") as strict, pytest.raises(StorageFull):
        strict.get_or_compute("DOWN", other, {}, sample_features.scaled, timeout=20)
    (small_disk / "filler").unlink()
    cramped.store.submit("DOWN", other, {}, sample_features.scaled)
    assert cramped.store.resources.redis_server.queue_length("fstore.compute") == 1


def test_on_a_read_only_disk_results_are_computed_and_not_stored(cramped, small_disk):
    """As on a full one."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    assert ask(cramped.store, HIT).equals(RAW * 3)
    assert ask(cramped.store, {"factor": 4}).equals(RAW * 4)
    assert counted(cramped.store, "store folder") == 1
    with cramped.open(on_unavailable="raise") as strict, pytest.raises(StorageUnavailable):
        ask(strict, {"factor": 4})


def test_a_result_that_does_not_fit_costs_nobody_the_answer(cramped, small_disk, tmp_path):
    """The worker cannot store it: whoever asked computes for itself, and the job is not started over and over."""
    marks = tmp_path / "marks"
    cramped.start(concurrency=1, FEATURE_STORE_DATA_ROOTS=str(tmp_path), FEATURE_STORE_HEARTBEAT_FILE="")
    fill(small_disk)
    raw = small_disk.parent / "raw.parquet"
    RAW.to_parquet(raw)
    with cramped.open(data_roots=str(tmp_path)) as store:
        config = {"rows": 2, "seconds": 0, "marks": str(marks)}
        found = store.get_or_compute("DOWN", ParquetSource(raw), config, sample_features.slow, timeout=30)
        again = store.get_or_compute("DOWN", ParquetSource(raw), config, sample_features.slow, timeout=30)

    assert found.equals(RAW.head(2))
    assert again.equals(RAW.head(2))
    assert len(list(marks.iterdir())) == 3  # once in the worker, once for each caller
