"""What a pooler does to sessions, and what fstore does about it, with a real PgBouncer."""

from __future__ import annotations

import threading

import pytest

from fstore.cli.doctor.server_checks import check_postgres
from fstore.errors import ManifestBusy
from fstore.postgres.pool import Database
from tests.conftest import run_sql
from tests.faults.rows import demand
from tests.pooler import SIZE, pooling, without_pooler


@pytest.fixture(autouse=True)
def _tools():
    demand(["pgbouncer"])


@pytest.fixture
def pooler(house):
    """A pooler with one server connection before the test's Postgres."""
    with pooling(house.environment["FEATURE_STORE_POSTGRES_URL"], pool_size=1) as running:
        yield running


@pytest.fixture
def url(house, pooler):
    return pooler.url(house.environment["FEATURE_STORE_POSTGRES_URL"])


def test_limits_go_with_each_statement_and_stay_with_none(url):
    """Each statement has its limits and UTC; whoever has the server connection next finds none of it."""
    database = Database(url, application_name="fstore/test")
    for name, value in (("lock_timeout", "3s"), ("statement_timeout", "10s"), ("timezone", "UTC")):
        assert database.query(f"SHOW {name}") == [(value,)]
    assert database.transact("SELECT set_config('synchronous_commit', 'off', true); SHOW statement_timeout") == [
        ("10s",)
    ]
    assert run_sql(url, "SHOW lock_timeout") == [("0",)]
    database.close()


def test_the_server_ends_what_takes_too_long(url, monkeypatch):
    """The limit is the server's: it counts behind the pooler too, and the connection stays good."""
    monkeypatch.setattr("fstore.postgres.connection._PREFACE", "SET LOCAL statement_timeout = '100ms'; ")
    database = Database(url, application_name="fstore/test")
    with pytest.raises(ManifestBusy):
        database.query("SELECT pg_sleep(5)")
    assert database.query("SELECT 1") == [(1,)]
    database.close()


def test_an_answer_that_is_fetched_later_holds_no_server_connection(url):
    """With one server connection, others are served between a question and the fetching of its answer."""
    database = Database(url, application_name="fstore/test")
    with database.session() as session:
        receive = session.ask("SELECT repeat('x', 1000) FROM generate_series(1, 50000)")
        answers = []
        other = threading.Thread(target=lambda: answers.append(database.query("SELECT 1")))
        other.start()
        other.join(5)
        assert answers == [[(1,)]]
        assert len(receive()) == 50000
    database.close()


@without_pooler()
def test_without_a_pooler_settings_are_the_sessions(house):
    """Directly, one greeting sets them for the session: no statement carries them along."""
    database = house.store.resources.database
    with database.session() as session:
        assert not session.is_pooled
        assert session.query("SHOW statement_timeout") == [("10s",)]
        assert session.query("SHOW idle_in_transaction_session_timeout") == [("5s",)]


@pytest.mark.parametrize(("mode", "level"), [("transaction", "ok"), ("session", "ok"), ("statement", "fault")])
def test_doctor_tells_of_a_pooler(house, mode, level):
    """It names a pooler, and one that cannot work."""
    behind = house.environment["FEATURE_STORE_POSTGRES_URL"]
    with pooling(behind, pool_mode=mode) as running, house.open(postgres_url=running.url(behind)) as store:
        (found,) = [finding for finding in check_postgres(store.resources) if finding.check == "pooler"]
    assert found.level == level
    assert ("pool_mode = transaction" in str(found.advice)) is (level == "fault")
    if not SIZE:
        assert not [finding for finding in check_postgres(house.store.resources) if finding.check == "pooler"]


def test_nothing_is_prepared_behind_a_pooler(url):
    """The next transaction may reach a server that knows no name."""
    database = Database(url, application_name="fstore/test", pool_size=1)
    try:
        answers = [database.query("SELECT %(n)s::int", {"n": n}, repeated=True) for n in range(4)]
        assert answers == [[(n,)] for n in range(4)]
        assert database.query("SELECT count(*) FROM pg_prepared_statements") == [(0,)]
    finally:
        database.close()
