"""A database of any earlier revision, with rows in it, is brought up to date and works."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from fstore.postgres import schema
from fstore.upkeep import api as upkeep
from tests.conftest import run_sql, with_database

REVISIONS = [script.revision for script in ScriptDirectory.from_config(schema._config()).walk_revisions()][::-1]
OWNER = "host:1:" + "a" * 32


@pytest.fixture
def old(house):
    """A second database on the house's server, at no revision."""
    url = with_database(house.environment["FEATURE_STORE_POSTGRES_URL"], "old_tables")
    with closing(psycopg2.connect(house.environment["FEATURE_STORE_POSTGRES_URL"])) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute("CREATE DATABASE old_tables")
            yield url
            cursor.execute("DROP DATABASE old_tables WITH (FORCE)")


def _upgrade(url, revision):
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://"), poolclass=NullPool)
    config = schema._config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_each_revision_goes_on(house, old, revision):
    """Its entry is there, its running claim is held by its owner alone, and upkeep takes its turn."""
    _upgrade(old, revision)
    with closing(psycopg2.connect(old)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO manifest (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, path, "
            "rows, file_size_bytes, content_digest, state, created_ts, compute_seconds, attempt, library_versions) VALUES "
            "('kept', 's', 'f', '1', '', '{}', 'b', 'full', 'p', 1, 1, 'd', 'live', now(), 0, 1, '{}')"
        )
        cursor.execute(
            "INSERT INTO jobs (key, state, attempt, starts, owner, lease_until, request, requested_ts, started_ts) VALUES "
            "('running', 'running', 1, 1, %s, now() + interval '1 minute', '{}', now(), now()), "
            "('queued', 'queued', 0, 0, '', NULL, '{}', now(), NULL)",
            (OWNER,),
        )
    assert schema.migrate(old) == (revision, schema.wanted_revision())
    with house.open(postgres_url=old) as store:
        resources = store.resources
        assert resources.manifest.find_live("kept") is not None
        seen = resources.jobs.look(["running"])["running"].job
        assert seen is not None
        assert seen.owner.startswith("host:1:")
        assert seen.owner != OWNER
        assert resources.jobs.claim("running", {}) is None
        claim = resources.jobs.claim("queued", {})
        assert claim is not None
        assert resources.jobs.complete(claim)
        assert upkeep.flush_usage(resources).get("skipped") is None
    assert run_sql(old, "SELECT owner FROM upkeep_turns WHERE kind = 'flush'") == [("",)]
