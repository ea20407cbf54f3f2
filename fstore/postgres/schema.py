"""Brings a database to the tables this version needs."""

from __future__ import annotations

import logging
from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from fstore.errors import ManifestUnavailable
from fstore.postgres import grants

log = logging.getLogger("fstore.schema")

_MIGRATION_LOCK = 0x66_73_74_6F_72_65  # "fstore": two migrations at once take turns


def migrate(postgres_url: str) -> tuple[str | None, str | None]:
    """Run all missing migrations, and return the revision before and after.

    Several processes may call this at once; one migrates, the others find it done.
    """
    engine = create_engine(
        make_url(postgres_url).set(drivername="postgresql+psycopg2"),
        poolclass=NullPool,
        connect_args={"connect_timeout": 5},
    )
    config = _config()
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '60s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            before = MigrationContext.configure(connection).get_current_revision()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            missing = grants.establish(connection)
            after = MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise ManifestUnavailable("migrating", " ".join(str(error.orig).split())) from error
    finally:
        engine.dispose()
    if missing:
        log.warning(
            "the database user may not create the roles %s: one user for all works; for one each let an administrator "
            "run CREATE ROLE for them, then run 'fstore migrate' again",
            ", ".join(missing),
        )
    return before, after


def wanted_revision() -> str | None:
    """Return the revision of the tables that this version of the code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option(
        "script_location", str(resources.files("fstore.postgres").joinpath("migrations")).replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    return config
