"""Everything works over TLS alone, and a server that cannot prove who it is is refused with what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pandas as pd
import psycopg2
import pytest
import redis

import fstore
from fstore import BrokerUnavailable, ManifestUnavailable
from fstore.reporting.prometheus import StoreCollector
from fstore.settings.loading import gather_settings
from tests import sample_features
from tests.conftest import REPOSITORY, House, Servers, build_house, run_sql
from tests.integration.ops.tls_site import Place, missing, tls_servers

# On a laptop only: CI installs what is needed, and a test that is skipped there would show nothing.
pytestmark = pytest.mark.skipif(missing() is not None and not os.environ.get("CI"), reason=str(missing()))

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})


@dataclass
class Site:
    """A store whose trainers and workers know the TLS addresses only."""

    place: Place
    house: House


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker behind TLS."""
    with tls_servers() as place, ExitStack() as stack:
        servers = Servers(place.postgres_url(), place.redis_url())
        house = build_house(servers, tmp_path_factory.mktemp("tls"), stack)
        house.start()
        yield Site(place, house)


def test_a_trainer_gets_everything_over_tls(site: Site) -> None:
    """A computed result, a hit, a local result, counters, hints and the names of the workers."""
    store = site.house.store
    first = store.get_or_compute("TLS", RAW, {"factor": 3}, sample_features.scaled, timeout=60)
    assert first.equals(RAW * 3)
    assert store.get_or_compute("TLS", RAW, {"factor": 3}, sample_features.scaled, timeout=10).equals(first)
    local = fstore.local(lambda raw, config: raw + 1, version="1")
    assert store.get_or_compute("TLS", RAW, {}, local, timeout=60).equals(RAW + 1)

    stats = store.get_cache_stats()
    assert (stats["cache_hits"], stats["computed"], stats["degraded"]) == (1, 2, 0)
    assert all(store.resources.broker.workers_by_queue().values())
    subscriber = store.resources.notifier._subscriber
    assert subscriber is not None
    assert subscriber.is_open


def test_a_plain_celery_client_gets_its_answer_over_tls(site: Site) -> None:
    """Broker and result backend both use the address of the settings."""
    path = site.house.root.parent / "ticks.parquet"
    RAW.to_parquet(path)
    request = {"symbol": "PLAIN", "raw_data": str(path), "config": {}, "feature": "tests.sample_features:scaled"}
    code = (
        f"from workers.tasks import get_or_compute\nprint(get_or_compute.delay({request!r}).get(timeout=40)['status'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **site.house.environment, "PYTHONPATH": str(REPOSITORY)},
        cwd=site.house.root.parent, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "computed", done.stderr[-2000:]


def test_metrics_are_read_over_tls(site: Site) -> None:
    """The exporter reaches both servers."""
    up = {
        sample.labels["server"]: sample.value
        for family in StoreCollector(site.house.store.resources).collect()
        for sample in family.samples
        if sample.name == "fstore_up"
    }
    assert up == {"postgres": 1.0, "redis": 1.0}


def test_every_connection_is_encrypted(site: Site) -> None:
    """The servers say so themselves: no connection of fstore's, its workers' included, came in another way."""
    site.house.store.get_or_compute("SEEN", RAW, {}, sample_features.scaled, timeout=30)
    rows = run_sql(
        site.place.postgres_url(),
        "SELECT a.application_name, s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) "
        "WHERE a.application_name LIKE 'fstore/%'",
    )
    assert {name for name, _ in rows} >= {"fstore/trainer", "fstore/worker"}
    assert all(encrypted for _, encrypted in rows)
    with redis.Redis.from_url(site.place.redis_url()) as client:
        ports = {entry["laddr"].rpartition(":")[2] for entry in client.client_list()}
    assert ports == {str(site.place.redis_port)}


def test_a_stranger_as_postgres_is_refused(site: Site) -> None:
    """With another authority there is an error that names the remedy, and no password is sent."""
    with (
        site.house.open(postgres_url=site.place.postgres_url(trusted=site.place.stranger)) as store,
        pytest.raises(ManifestUnavailable, match=r"certificate verify failed.*sslrootcert.*docs/security\.md"),
    ):
        store.get_cache_stats()


def test_a_stranger_as_redis_is_refused(site: Site) -> None:
    """With another authority, or under another name, there is an error that names the remedy; asking with 'raise' says it too."""
    strange = site.place.redis_url(trusted=site.place.stranger)
    elsewhere = site.place.redis_url(host="localhost")
    for url in (strange, elsewhere):
        with site.house.open(redis_url=url, on_unavailable="raise") as store:
            with pytest.raises(BrokerUnavailable, match=r"ssl_ca_certs.*docs/security\.md"):
                store.resources.locks.take("f", "k")
            with pytest.raises(BrokerUnavailable, match=r"ssl_ca_certs.*docs/security\.md"):
                store.resources.broker.workers_by_queue()
            with pytest.raises(BrokerUnavailable):
                store.get_or_compute("STRANGE", RAW, {"url": url}, sample_features.scaled, timeout=20)


def test_without_encryption_there_is_no_way_in(site: Site) -> None:
    """Postgres lets nobody in over TCP who does not speak TLS."""
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        run_sql(f"{site.place.postgres}?sslmode=disable", "SELECT 1")


def test_a_rediss_address_verifies_unless_told_otherwise() -> None:
    """Celery refuses such an address without ``ssl_cert_reqs``; leaving it out means the safe one."""
    plain = gather_settings({"redis_url": "rediss://:secret@redis:6379/0"}, environ={}).redis_url
    chosen = gather_settings({"redis_url": "rediss://redis:6379/0?ssl_cert_reqs=none"}, environ={}).redis_url
    assert plain is not None
    assert chosen is not None
    assert plain.get_secret_value() == "rediss://:secret@redis:6379/0?ssl_cert_reqs=required"
    assert chosen.get_secret_value().endswith("?ssl_cert_reqs=none")
