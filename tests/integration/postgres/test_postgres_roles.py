"""Every role tries every verb, on a real server, and then does its real work."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pytest

import fstore
from fstore import NotPermitted
from fstore.model import Claim, EntryState, FailureNote
from fstore.postgres.schema import migrate, wanted_revision
from fstore.stack import temporary_servers
from fstore.upkeep import api as upkeep
from tests.conftest import House, Servers, build_house, run_sql, stop_group, with_database
from tests.support.shelf import WEEK, Shelf

SCALED = "tests.sample_features:scaled"
PASSWORD = "for-this-test-only"  # noqa: S105 of servers that live for one test run
ROLES = ("trainer", "worker", "upkeep", "monitor")
# What each role may do beside SELECT; written out here, so that a change of fstore/grants.py is a decision and not a slip.
MAY = {
    "trainer": {"sources": "INSERT"},
    "worker": {
        "manifest": "INSERT UPDATE LOCK",
        "pending": "INSERT DELETE",
        "jobs": "INSERT UPDATE DELETE",
        "sources": "INSERT",
        "publish_turn": "UPDATE",
        "publish_done": "UPDATE",
    },
    "upkeep": {
        "manifest": "UPDATE DELETE LOCK",
        "jobs": "INSERT UPDATE DELETE",
        "usage": "INSERT UPDATE DELETE",
        "sources": "INSERT DELETE",
        "counters": "INSERT UPDATE",
        "activity": "INSERT UPDATE DELETE",
        "upkeep_runs": "INSERT UPDATE DELETE",
        "upkeep_turns": "UPDATE",
    },
    "monitor": {},
}
# Whoever reads the token of a claim may end it, or publish under it.
UNREAD = {"trainer": {"jobs", "pending"}}
COLUMN = {
    "manifest": "key",
    "usage": "key",
    "jobs": "key",
    "jobs_seen": "key",
    "pending": "path",
    "sources": "stamp",
    "pins": "key",
    "counters": "name",
    "activity": "name",
    "upkeep_runs": "kind",
    "upkeep_turns": "kind",
    "publish_turn": "one",
    "publish_done": "one",
    "store": "store_id",
    "alembic_version": "version_num",
}
TRY = {
    "SELECT": "SELECT * FROM {table} LIMIT 0",
    "INSERT": "INSERT INTO {table} ({column}) SELECT NULL WHERE false",
    "UPDATE": "UPDATE {table} SET {column} = NULL WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table}",
    "LOCK": "LOCK TABLE {table} IN EXCLUSIVE MODE",
    "ALTER": "ALTER TABLE {table} ADD COLUMN stray text",
    "DROP": "DROP TABLE {table}",
}
# Jobs are shown by a view, which has no locks of its own and other words for its definition.
TRY_VIEW = {
    **TRY,
    "TRUNCATE": "TRUNCATE jobs",
    "ALTER": "ALTER VIEW {table} RENAME TO stray",
    "DROP": "DROP VIEW {table}",
}
# Everything else that the siege tried, and what each role needs: True where it is allowed.
STATEMENTS: dict[str, set[str]] = {
    "LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE": {"worker", "upkeep"},
    "LOCK TABLE jobs IN ACCESS SHARE MODE": {"worker", "upkeep", "monitor"},
    "LOCK TABLE manifest IN ACCESS EXCLUSIVE MODE": {"worker", "upkeep"},
    "LOCK TABLE publish_done IN ROW SHARE MODE": {"worker"},
    "SELECT FROM publish_turn FOR UPDATE": {"worker"},
    "SELECT FROM publish_turn FOR KEY SHARE": {"worker"},
    "SELECT FROM upkeep_turns FOR UPDATE": {"upkeep"},
    "UPDATE upkeep_turns SET owner = 'me', lease_until = 'infinity' WHERE kind = 'gc'": {"upkeep"},
    "DELETE FROM jobs": {"worker", "upkeep"},
    "SELECT owner FROM jobs": {"worker", "upkeep", "monitor"},
    "SELECT offer FROM pending": {"worker", "upkeep", "monitor"},
    "SELECT owner FROM jobs_seen": {"trainer", "worker", "upkeep", "monitor"},
    "SELECT fstore_condemn(NULL, NULL, 'f')": {"worker", "upkeep"},
    "SELECT fstore_condemn(NULL, 's', NULL)": {"worker", "upkeep"},
    "SELECT fstore_condemn_one('k')": {"trainer", "worker", "upkeep"},
    "SELECT fstore_quarantine('k', 'p')": {"trainer", "worker", "upkeep"},
    "SELECT fstore_publish('[]')": {"worker"},
    "SELECT fstore_job_enqueue('[]', 30)": {"trainer", "worker", "upkeep"},
    "SELECT fstore_job_reset('k')": {"trainer", "worker", "upkeep"},
    "SELECT fstore_job_bury(NULL, 3)": set(),
    "SELECT fstore_job_restart(NULL)": set(),
    "SELECT fstore_job_forget(NULL)": set(),
    "SELECT fstore_job_restart(ARRAY['k'])": {"trainer", "worker", "upkeep"},
    "SELECT fstore_job_forget(ARRAY['k'])": {"trainer", "worker", "upkeep"},
    "SELECT fstore_job_bury(ARRAY['k'], 3)": {"trainer", "worker", "upkeep"},
    "SELECT pg_read_file('/etc/passwd')": set(),
    "COPY jobs TO PROGRAM 'true'": set(),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Servers]:
    """Servers of this module's own: roles belong to the whole cluster."""
    with temporary_servers() as running:
        yield Servers(running.postgres_url, running.redis_url)


@pytest.fixture
def granted(cluster: Servers, tmp_path: Path) -> Iterator[House]:
    """A store whose roles can log in."""
    with ExitStack() as stack:
        built = build_house(cluster, tmp_path, stack)
        for role in ROLES:
            run_sql(cluster.postgres_url, f"ALTER ROLE fstore_{role} LOGIN PASSWORD '{PASSWORD}'")
        yield built


def as_role(house: House, role: str) -> str:
    """Return the database's URL for a role."""
    url = house.environment["FEATURE_STORE_POSTGRES_URL"]
    return f"postgresql://fstore_{role}:{PASSWORD}@{url.partition('@')[2]}"


def is_allowed(url: str, sql: str) -> bool:
    """Try a statement and take it back; a refusal for any reason but missing rights fails the test."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except psycopg2.errors.InsufficientPrivilege:
            return False
        finally:
            connection.rollback()
    return True


@pytest.mark.parametrize("role", ROLES)
def test_role_matrix(granted: House, role: str) -> None:
    """Each role may do to each table exactly what its line of the matrix says, and nothing to their definition."""
    url = as_role(granted, role)
    allowed = {
        (table, verb)
        for table, column in COLUMN.items()
        for verb, sql in (TRY_VIEW if table == "jobs_seen" else TRY).items()
        if is_allowed(url, sql.format(table=table, column=column))
    }

    wanted = {(table, "SELECT") for table in COLUMN if table not in UNREAD.get(role, ())}
    wanted |= {(table, verb) for table, verbs in MAY[role].items() for verb in verbs.split()}
    # Postgres lets whoever may change or delete rows of a table lock it; only the manifest's lock shuts others out.
    may_lock = {(table, "LOCK") for table, verbs in MAY[role].items() if {"UPDATE", "DELETE"} & set(verbs.split())}
    assert allowed == wanted | may_lock
    assert not is_allowed(url, "CREATE TABLE stray (x int)")
    assert not is_allowed(url, "CREATE ROLE stray")


@pytest.mark.parametrize("role", ROLES)
def test_statements_beyond_single_tables(granted: House, role: str) -> None:
    """Locks, tokens of claims, functions and the server's own: each is for those who need it."""
    url = as_role(granted, role)
    assert {sql for sql in STATEMENTS if is_allowed(url, sql)} == {
        sql for sql, who in STATEMENTS.items() if role in who
    }


def test_the_siege_by_a_trainer_stops_nobody(granted: House) -> None:
    """What a trainer may do holds up neither claims, nor publishing, nor upkeep, and ends no claim but its own."""
    resources = granted.store.resources
    claim = resources.jobs.claim("k", {"a": 1})
    assert claim is not None
    with (
        closing(psycopg2.connect(as_role(granted, "trainer"))) as connection,
        connection.cursor() as cursor,
        granted.open(postgres_url=as_role(granted, "trainer")) as trainer,
    ):
        cursor.execute("SELECT pg_advisory_lock(space, n) FROM unnest(ARRAY[%s, %s]) space, generate_series(0, 9) n",
                       (0x66737470, 0x66737075))  # fmt: skip
        cursor.execute("SELECT attempt, owner FROM jobs_seen WHERE key = 'k'")
        attempt, shown = cursor.fetchone()  # type: ignore[misc]
        assert shown == claim.shown_owner != claim.owner
        stolen = Claim("k", attempt, shown)
        jobs = trainer.resources.jobs
        assert not jobs.complete(stolen)
        assert not jobs.release(stolen)
        assert not jobs.renew([stolen])
        assert not jobs.fail(stolen, FailureNote("Error", "", ""))
        assert jobs.bury(["k"]) == []
        assert not jobs.reset("k")
        assert jobs.forget(["k"]) == set()
        assert jobs.restart(["k"]) == {}
        with pytest.raises(NotPermitted):
            jobs.cancel(["k"], by="a trainer")
        assert [job.owner for job in jobs.list_jobs()] == [shown]
        cursor.execute("SELECT * FROM fstore_job_claim('mine', 'me', 1e9, '{}', 3, 30)")
        connection.commit()
        assert cursor.fetchone() == (1, 1, False)

        shelf = Shelf(resources)
        shelf.publish("e", age=WEEK)
        assert upkeep.collect_garbage(resources)["skipped"] is None
        assert resources.jobs.renew([claim]) == {"k"}
    ((longest,),) = resources.database.query("SELECT max(lease_until) < now() + interval '61 minutes' FROM jobs")
    assert longest


@pytest.mark.parametrize("role", ROLES)
def test_only_those_who_read_entries_may_hide_them(granted: House, role: str) -> None:
    """Trainers, workers and upkeep may call the hiding functions; dashboards may not."""
    url = as_role(granted, role)
    for call in ("fstore_quarantine('a', 'b')", "fstore_condemn_one('a')"):
        assert is_allowed(url, f"SELECT * FROM {call}") is (role != "monitor")


def test_hiding_functions_cannot_be_led_astray(granted: House) -> None:
    """A trainer's own table of the same name is not what a function of the owner writes to."""
    granted.store.resources.database.query(
        "INSERT INTO manifest (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, path, rows, "
        "file_size_bytes, content_digest, state, created_ts, compute_seconds, attempt, library_versions) VALUES "
        "('k', 's', 'f', '1', '', '{}', 'b', 'full', 'p', 1, 1, 'd', 'live', now(), 0, 1, '{}')"
    )
    with closing(psycopg2.connect(as_role(granted, "trainer"))) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE manifest (key text, path text, state text, condemned_ts timestamptz)")
        cursor.execute("SET search_path = pg_temp, public")
        cursor.execute("SELECT * FROM public.fstore_condemn_one(NULL)")
        assert cursor.fetchall() == []  # no condition hides nothing
        cursor.execute("SELECT * FROM public.fstore_condemn_one('k')")
        assert cursor.fetchall() == [("k",)]
        connection.commit()

    entry = granted.store.resources.manifest.find_entry("k")
    assert entry is not None
    assert entry.state is EntryState.CONDEMNED


def test_every_role_can_do_its_work(granted: House, tmp_path: Path) -> None:
    """Under four roles a miss, a hit, a local result, a corrupt file, an invalidation and upkeep all go their ways."""
    raw = pd.DataFrame({"p": np.arange(100.0)}, index=pd.date_range("2026-01-02", periods=100, freq="s"))
    worker = granted.start(
        concurrency=1, queues="fstore.compute,fstore.write", FEATURE_STORE_POSTGRES_URL=as_role(granted, "worker")
    )
    try:
        with granted.open(postgres_url=as_role(granted, "trainer")) as trainer:
            for _ in range(2):
                assert trainer.get_or_compute("AAPL", raw, {"factor": 3}, SCALED, timeout=60).equals(raw * 3)
            local = fstore.local(lambda raw, config: raw + 1, version="1")
            assert trainer.get_or_compute("AAPL", raw, {}, local, timeout=60).equals(raw + 1)

            entry = trainer.peek("AAPL", raw, {"factor": 3}, SCALED)
            assert entry is not None
            path = granted.root / entry.path
            path.chmod(0o640)
            path.write_bytes(b"rot" + path.read_bytes()[3:])
            assert trainer.get_or_compute("AAPL", raw, {"factor": 3}, SCALED, timeout=60).equals(raw * 3)
            assert trainer.get_cache_stats()["corrupt_detected"] == 1

            assert trainer.invalidate(key=entry.key) == 1
            with pytest.raises(NotPermitted):
                trainer.invalidate(symbol="AAPL")
            with granted.open(postgres_url=as_role(granted, "upkeep")) as keeper:
                assert keeper.invalidate(symbol="AAPL") == 1
            with pytest.raises(NotPermitted, match="role of this process"):
                trainer.run_garbage_collection()
    finally:
        stop_group(worker)

    with granted.open(postgres_url=as_role(granted, "upkeep")) as keeper:
        assert keeper.run_garbage_collection()["summary"]["total_files_deleted"] == 0
        assert keeper.validate_cache_integrity()["integrity_ok"]
        assert upkeep.flush_usage(keeper.resources)["kind"] == "flush"
        assert upkeep.reconcile_jobs(keeper.resources)["kind"] == "reconcile"
        vacuumed = upkeep.list_runs(keeper.resources, "gc")[0]["report"]["vacuum"]
        assert set(vacuumed.values()) == {"done"}


def test_trainer_cannot_publish(granted: House) -> None:
    """When Redis is away and only workers may publish, a trainer gets its frame, nothing is stored, and it is counted."""
    raw = pd.DataFrame({"p": [1.0, 2.0]})
    with granted.open(
        postgres_url=as_role(granted, "trainer"), redis_url="redis://127.0.0.1:1/0", connect_timeout_s=1
    ) as trainer:
        assert trainer.get_or_compute("AAPL", raw, {"factor": 2}, SCALED, timeout=30).equals(raw * 2)
        assert trainer.resources.recorder.pending()["degraded:not stored"] == 1
        assert trainer.peek("AAPL", raw, {"factor": 2}, SCALED) is None
    assert not list((granted.root / "entries").rglob("*.parquet"))


def test_migration_goes_on_without_the_right_to_create_roles(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On a managed database the migration says which roles are missing, and grants once somebody created them."""
    with temporary_servers() as own:
        run_sql(own.postgres_url, f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'")
        run_sql(own.postgres_url, "CREATE DATABASE managed OWNER plain")
        admin = with_database(own.postgres_url, "managed")
        url = f"postgresql://plain:{PASSWORD}@{admin.partition('@')[2]}"

        with caplog.at_level(logging.WARNING):
            assert migrate(url) == (None, wanted_revision())
        assert "CREATE ROLE" in caplog.text
        assert "fstore_trainer" in caplog.text

        for role in ROLES:
            run_sql(own.postgres_url, f"CREATE ROLE fstore_{role} LOGIN PASSWORD '{PASSWORD}'")
        caplog.clear()
        migrate(url)
        assert caplog.text == ""
        as_trainer = f"postgresql://fstore_trainer:{PASSWORD}@{admin.partition('@')[2]}"
        assert is_allowed(as_trainer, TRY["SELECT"].format(table="manifest"))
        assert not is_allowed(as_trainer, TRY["DELETE"].format(table="manifest"))
