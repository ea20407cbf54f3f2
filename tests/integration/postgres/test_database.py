"""The door to Postgres: deadlines hold, lost connections are replaced, locks are waited for within bounds."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import psycopg2
import pytest

from fstore.errors import ConfigurationError, FeatureStoreError, ManifestBusy, ManifestUnavailable
from fstore.model import EntryState
from fstore.postgres.pool import Database
from fstore.runtime import deadline
from tests.conftest import run_sql
from tests.pooler import needs_sessions, without_pooler
from tests.waiting import awake_s, eventually


@pytest.fixture
def url(house):
    return house.environment["FEATURE_STORE_POSTGRES_URL"]


@pytest.fixture
def database(url):
    opened = Database(url, application_name="fstore/test", pool_size=3)
    yield opened
    opened.close()


@contextmanager
def holding(url, statement):
    """Run a statement in a transaction of another session that stays open for the block."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            yield connection
    finally:
        connection.close()


def terminate_all(url):
    run_sql(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )


def in_threads(act, n):
    """Run ``act`` in so many threads at once, and return what each returned or raised."""
    results = []

    def call():
        try:
            results.append(act())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=call) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_connections_that_were_dropped_between_two_calls_are_replaced(database, url):
    """After a restart of the server the next call of every thread succeeds, however many connections were pooled."""
    held = in_threads(lambda: database.query("SELECT pg_sleep(0.3)"), 6)
    assert all(isinstance(result, list) for result in held)
    terminate_all(url)

    assert [database.query("SELECT 1") for _ in range(6)] == [[(1,)]] * 6
    terminate_all(url)
    assert in_threads(lambda: database.query("SELECT 1"), 6) == [[(1,)]] * 6


def test_statements_that_compete_for_locks_survive_a_lost_connection_too(database, url):
    """``transact`` repeats what may run twice."""
    in_threads(lambda: database.query("SELECT pg_sleep(0.3)"), 3)
    terminate_all(url)

    assert database.transact("SELECT 1") == [(1,)]


def test_a_connection_lost_in_the_middle_is_an_error_within_the_deadline(database, url):
    """The statement fails with a typed error or is repeated; it never hangs."""
    results = []
    thread = threading.Thread(
        target=lambda: results.append(in_threads(lambda: database.query("SELECT pg_sleep(1)"), 1))
    )
    thread.start()
    eventually(
        lambda: run_sql(
            url,  # a pooler lets it begin with the limits that go along
            "SELECT 1 FROM pg_stat_activity "
            "WHERE query LIKE '%SELECT pg_sleep(1)' AND state = 'active' AND pid <> pg_backend_pid()",
        ),
        seconds=5,
        what="the statement to run",
    )
    terminate_all(url)
    thread.join(15)

    assert results == [[[("",)]]]  # repeated on a new connection


def test_a_lock_held_by_another_session_is_waited_for_within_bounds(database, url):
    """Bounded retries end in ``ManifestBusy``, with the connection still good."""
    with holding(url, "LOCK TABLE manifest IN EXCLUSIVE MODE"):
        began = time.monotonic()
        with pytest.raises(ManifestBusy):
            database.transact("DELETE FROM manifest", tries=2, total_s=5)
        assert time.monotonic() - began >= 3
        assert database.query("SELECT count(*) FROM manifest") == [(0,)]

    assert database.transact("DELETE FROM manifest") == []


def test_a_lock_that_is_given_back_in_time_costs_only_the_wait(database, url):
    """A publisher that holds the table for a moment delays the next one, and nothing else."""
    with holding(url, "LOCK TABLE manifest IN EXCLUSIVE MODE") as holder:
        threading.Timer(0.5, holder.rollback).start()
        assert database.transact("UPDATE manifest SET state = 'live' RETURNING 1") == []


def test_a_publisher_frozen_with_the_lock_is_cut_off_by_the_server(database, url):
    """A session that stands still inside its transaction loses it after five seconds, and the next publisher goes on."""
    with holding(url, "SET idle_in_transaction_session_timeout = '5s'; LOCK TABLE manifest IN EXCLUSIVE MODE"):
        began = awake_s()
        database.transact("DELETE FROM manifest")
        assert awake_s() - began < 10
    with database.session() as session:
        assert session.query("SHOW idle_in_transaction_session_timeout") == [("5s",)]


def test_the_callers_deadline_bounds_every_wait(database, url):
    """A statement that takes longer than the call may take is given up then, whatever its own limit."""
    for act in (lambda: database.query("SELECT pg_sleep(20)"), lambda: database.transact("SELECT pg_sleep(20)")):
        began = awake_s()
        with deadline.within(0.5), pytest.raises(ManifestUnavailable):
            act()
        assert awake_s() - began < 1.5
    assert database.query("SELECT 1") == [(1,)]


@needs_sessions(12)
def test_a_pool_that_is_used_up_is_waited_for_no_longer_than_the_call_may_take(url):
    """Threads beyond the pool's size wait for a connection, within their own deadline."""
    database = Database(url, application_name="fstore/test", pool_size=1)
    busy = [threading.Thread(target=lambda: database.query("SELECT pg_sleep(4)")) for _ in range(11)]
    for thread in busy:
        thread.start()
    eventually(
        lambda: run_sql(url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(4)%'") == [(11,)],
        seconds=5,
        what="the pool to be used up",
    )

    began = awake_s()
    with deadline.within(0.5), pytest.raises(ManifestUnavailable, match="busy"):
        database.query("SELECT 1")
    assert awake_s() - began < 1.5
    assert database.query("SELECT 1") == [(1,)]  # with more time, it is a wait

    for thread in busy:
        thread.join()
    database.close()


def test_a_database_without_tables_says_what_to_do(servers, url):
    """The error names the command that makes them."""
    empty = Database(servers.postgres_url, application_name="fstore/test")
    with pytest.raises(ConfigurationError, match="fstore migrate"):
        empty.query("SELECT * FROM manifest")
    empty.close()


def test_a_closed_port_is_an_error_at_once(tmp_path):
    """Nobody waits for a server that is not there, and for a moment nobody even tries."""
    database = Database("postgresql://nobody:secret@127.0.0.1:1/none", application_name="fstore/test")
    began = awake_s()
    for _ in range(20):
        with pytest.raises(ManifestUnavailable, match=r"connecting to 127\.0\.0\.1:1\)") as caught:
            database.query("SELECT 1")
        assert "secret" not in str(caught.value)
    assert awake_s() - began < 2
    database.close()


RUNS = ["SELECT * FROM manifest", "SELECT count(*) FROM manifest m LEFT JOIN jobs j USING (key)"]
WAITS = [
    "INSERT INTO manifest SELECT * FROM manifest",
    "UPDATE manifest SET state = 'live'",
    "DELETE FROM manifest",
    "SELECT * FROM manifest FOR UPDATE",
    "SELECT * FROM manifest FOR KEY SHARE",
    "ANALYZE manifest",
    "VACUUM manifest",
    "CREATE INDEX again ON manifest (symbol)",
    "CREATE INDEX CONCURRENTLY again ON manifest (symbol)",
    "BEGIN; LOCK TABLE manifest IN EXCLUSIVE MODE",
]


@pytest.mark.parametrize("statement", RUNS + WAITS)
def test_what_a_publishers_lock_blocks(url, statement):
    """Readers pass, everything that writes or locks rows waits: the reasons for the shape of every statement here."""
    other = psycopg2.connect(url)
    other.autocommit = True
    with holding(url, "LOCK TABLE manifest IN EXCLUSIVE MODE"), other.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
        if statement in RUNS:
            cursor.execute(statement)
        elif statement == "ANALYZE manifest":
            cursor.execute("SET lock_timeout = '200ms'")
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                cursor.execute(statement)
        else:
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                cursor.execute(statement)
    other.close()


def test_no_table_refers_to_the_manifest(url):
    """A foreign key into it would make other writers wait for publishers."""
    assert run_sql(url, "SELECT conname FROM pg_constraint WHERE contype = 'f'") == []


def test_hits_are_read_while_a_publisher_holds_the_table(house, url):
    """The hit path takes no lock that a publisher could make wait."""
    with holding(url, "LOCK TABLE manifest IN EXCLUSIVE MODE"), deadline.within(1.0):
        assert house.store.resources.manifest.find_live("0" * 64) is None
        assert house.store.resources.manifest.count_by_state().get(EntryState.LIVE) is None
        assert house.store.resources.jobs.look(["0" * 64])["0" * 64].job is None
        assert house.store.resources.jobs.enqueue({"0" * 64: {"raw_data": {"kind": "staged"}}}) == {"0" * 64}
        assert house.store.resources.jobs.claim("0" * 64, {}) is not None


def prepared(database):
    return [text for (text,) in database.query("SELECT statement FROM pg_prepared_statements ORDER BY name")]


ADDED = "SELECT %(a)s::int + %(b)s::int, '%%', %(a)s::int"


@pytest.fixture
def narrow(url):
    opened = Database(url, application_name="fstore/test", pool_size=1)
    yield opened
    opened.close()


@without_pooler()
def test_what_comes_often_is_prepared_the_second_time(narrow):
    """Once is not worth it; from then on the server has its plan, and each call its own values."""
    found = []
    for n in range(4):
        found += narrow.query(ADDED, {"b": 1, "a": n, "unused": "x"}, repeated=True)
        assert len(prepared(narrow)) == (1 if n else 0)

    assert found == [(n + 1, "%", n) for n in range(4)]
    assert narrow.query(ADDED, {"b": 1, "a": 7}) == [(8, "%", 7)]
    assert len(prepared(narrow)) == 1  # a statement that does not come often is left alone


@pytest.mark.parametrize("forgetting", ["DEALLOCATE ALL", "DISCARD PLANS; DEALLOCATE ALL"])
def test_a_server_that_forgot_its_plans_still_answers(narrow, forgetting):
    """As one behind a pooler that nobody could tell: the statement is run as it is, now and from now on."""
    for _ in range(3):
        narrow.query(ADDED, {"a": 1, "b": 1}, repeated=True)
    narrow.query(forgetting)

    assert [narrow.query(ADDED, {"a": n, "b": 2}, repeated=True) for n in range(3)] == [
        [(n + 2, "%", n)] for n in range(3)
    ]
    assert prepared(narrow) == []


def test_a_plan_whose_rows_have_other_types_by_now_is_given_up(narrow):
    """A migration may change a column while trainers go on."""
    narrow.query("CREATE TABLE changing (n int)")
    narrow.query("INSERT INTO changing VALUES (1)")
    for _ in range(3):
        assert narrow.query("SELECT n FROM changing", repeated=True) == [(1,)]
    narrow.query("ALTER TABLE changing ALTER n TYPE text")

    assert narrow.query("SELECT n FROM changing", repeated=True) == [("1",)]


def test_a_name_is_not_used_again_after_an_answer_that_did_not_come(narrow):
    """The server may have prepared it all the same."""
    sql = "SELECT 1 / %(n)s::int"
    narrow.query(sql, {"n": 1}, repeated=True)
    with pytest.raises(FeatureStoreError, match="division by zero"):
        narrow.query(sql, {"n": 0}, repeated=True)

    assert [narrow.query(sql, {"n": 1}, repeated=True) for _ in range(2)] == [[(1,)]] * 2
