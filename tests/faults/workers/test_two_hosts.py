"""A trainer's host, a worker's host and a host of services, cut off from each other one pair at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from fstore import FeatureStore, FeatureStoreError
from tests.faults.harness.calls import Asking
from tests.faults.harness.hosts import Hosts
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, Site, open_site
from tests.faults.rows import demand
from tests.sample_features import scaled, slow
from tests.waiting import eventually

RECOVERY_S = 30
pytestmark = pytest.mark.faults


@dataclass
class Estate:
    """Three hosts with a store on them: Postgres and Redis on one, a worker on another, a trainer on the third."""

    hosts: Hosts
    site: Site
    trainer: FeatureStore
    strict: FeatureStore

    def asking(self, config, function=slow, *, timeout, store=None) -> Asking:
        """Ask on the trainer's host."""
        with self.hosts.on("trainer"):
            return self.site.asking(config, function, timeout=timeout, store=store or self.trainer)

    def ask(self, config, function=scaled, *, timeout=30.0, store=None):
        """Ask on the trainer's host, and wait for the frame."""
        return self.asking(config, function, timeout=timeout, store=store).answered()

    def recovered(self, healed_at: float, **config) -> None:
        """A trainer that takes no substitutes gets what a worker computes, soon after the cut is healed."""

        def is_served() -> bool:
            try:
                return self.ask(config, timeout=5, store=self.strict).equals(RAW * config.get("factor", 2))
            except FeatureStoreError:
                return False

        eventually(is_served, seconds=RECOVERY_S - (time.monotonic() - healed_at), what="recovery after the cut")

    def check(self) -> None:
        """Check the invariants on the host of the services, where nothing was cut off."""
        with self.hosts.on("service"):
            check_invariants(self.site)


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    """Three hosts, started; all of it is gone afterwards."""
    demand(["root", "bridge"])
    starts_anew = "fstore.stack.processes.spawn._current", None  # the thread that starts processes lives on one host
    with Hosts("trainer", "worker", "service") as hosts, ending_on(hosts, "service") as stack:
        with hosts.on("service"):
            monkeypatch.setattr(*starts_anew)
            settings = stack.enter_context(reachable_postgres())
            site = open_site(tmp_path, stack, postgres_settings=settings)
            with Redis.from_url(site.machine.redis_url) as client:
                client.config_set("bind", "*")
            site.store.resources.manifest.find_live("0" * 64)
        with hosts.on("worker"):
            monkeypatch.setattr(*starts_anew)
            site.worker(concurrency=1, **environment(hosts, site, "worker"))
        with hosts.on("trainer"):
            urls = {name.removeprefix("FEATURE_STORE_").lower(): url for name, url in environment(hosts, site, "trainer").items()}  # fmt: skip
            trainer = site.store_of_its_own(**urls)
            strict = site.store_of_its_own(**urls, on_unavailable="raise")
        yield Estate(hosts, site, trainer, strict)


@contextmanager
def ending_on(hosts: Hosts, name: str) -> Iterator[ExitStack]:
    """Let what is opened be closed on a host that reaches the servers, whichever host it belonged to."""
    stack = ExitStack()
    try:
        yield stack
    finally:
        with hosts.on(name):
            stack.close()


@contextmanager
def reachable_postgres() -> Iterator[dict[str, str]]:
    """Let Postgres be reached over the network."""
    with tempfile.TemporaryDirectory(prefix="fstore-hba-") as folder:
        Path(folder).chmod(0o755)  # the account that root's servers run as must come in
        rules = Path(folder) / "pg_hba.conf"
        rules.write_text("local all all scram-sha-256\nhost all all 10.77.0.0/16 scram-sha-256\n")
        rules.chmod(0o644)
        yield {"listen_addresses": "*", "hba_file": str(rules)}


def environment(hosts: Hosts, site: Site, name: str) -> dict[str, str]:
    """Return where a host finds the servers."""
    address = hosts.address("service", seen_from=name)
    database = site.environment["FEATURE_STORE_POSTGRES_URL"].partition("?")[0].rpartition("/")[2]
    secret = site.machine.choices.postgres_password
    return {
        "FEATURE_STORE_POSTGRES_URL": f"postgresql://fstore:{secret}@{address}:5432/{database}",
        "FEATURE_STORE_REDIS_URL": site.machine.redis_url.replace("127.0.0.1", address),
    }


def keep_cut(seconds: float, since: float) -> None:
    """Let a cut last as long as it is meant to."""
    time.sleep(max(0.0, seconds - (time.monotonic() - since)))


@pytest.mark.timeout(300)
def test_partition_trainer_from_service(estate):
    """A trainer without servers computes for itself, or fails with a typed error, in time; afterwards it is served again."""
    marks = estate.site.marks("waited for")
    waited_for = {"seconds": 3, "marks": marks}
    assert estate.ask({"factor": 5}).equals(RAW * 5)

    waiting = estate.asking(waited_for, timeout=20)
    estate.site.started("waited for")
    with estate.hosts.cut("trainer", "service"):
        cut_at = time.monotonic()
        cached = estate.asking({"factor": 5}, scaled, timeout=20)
        missed = estate.asking({"factor": 6}, scaled, timeout=20)
        refused = estate.asking({"factor": 7}, scaled, timeout=10, store=estate.strict)

        assert cached.answered().equals(RAW * 5)
        assert missed.answered().equals(RAW * 6)
        with pytest.raises(FeatureStoreError):
            refused.answered()
        assert waiting.answered().equals(RAW.head(3))
        keep_cut(25, cut_at)

    estate.recovered(time.monotonic(), factor=8)
    for config, factor in (({"factor": 5}, 5), ({"factor": 6}, 6), ({"factor": 7}, 7)):
        assert estate.ask(config, store=estate.strict).equals(RAW * factor)
    assert estate.ask(waited_for, slow, store=estate.strict).equals(RAW.head(3))
    estate.check()


@pytest.mark.timeout(300)
def test_partition_worker_from_service(estate):
    """For the minute that a worker is cut off, trainers are told in time; its job is done soon after, once."""
    marks = estate.site.marks("interrupted")
    interrupted = {"seconds": 2, "marks": marks}
    patient = estate.asking(interrupted, timeout=120)
    estate.site.started("interrupted")
    with estate.hosts.cut("worker", "service"):
        cut_at = time.monotonic()
        impatient = estate.asking({"factor": 6}, scaled, timeout=15)
        with pytest.raises(FeatureStoreError):
            impatient.answered()
        keep_cut(60, cut_at)

    healed_at = time.monotonic()
    assert patient.answered().equals(RAW.head(3))
    assert time.monotonic() - healed_at < RECOVERY_S
    estate.recovered(healed_at, factor=6)
    assert estate.site.sql("SELECT count(*) FROM manifest WHERE state = 'live'") == [(2,)]
    estate.check()


@pytest.mark.timeout(300)
def test_partition_trainer_from_worker(estate):
    """Trainers and workers need no way to each other: requests go on as if nothing were cut."""
    with estate.hosts.cut("trainer", "worker"):
        for factor in range(5):
            assert estate.ask({"factor": factor}, timeout=10, store=estate.strict).equals(RAW * factor)
    estate.recovered(time.monotonic(), factor=9)
    estate.check()
