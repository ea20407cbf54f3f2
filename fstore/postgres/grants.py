"""Postgres: which role may do what.

Trainers, workers, upkeep and dashboards each get what they need and no more. Grants are repeated by every ``fstore
migrate``, not written once: a database that was restored into another cluster finds no roles there, and a later
version may need other verbs. What a site grants to these roles itself is taken back; it should grant to roles of
its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from fstore.postgres import job_functions

TRAINER, WORKER, UPKEEP, MONITOR = ROLES = ("fstore_trainer", "fstore_worker", "fstore_upkeep", "fstore_monitor")
TABLES = (
    "manifest",
    "pending",
    "usage",
    "jobs",
    "sources",
    "pins",
    "counters",
    "activity",
    "upkeep_runs",
    "upkeep_turns",
    "publish_turn",
    "publish_done",
    "jobs_seen",
    "store",
    "alembic_version",
    "segments",
)
HIDE_MANY = "fstore_condemn(text, text, text)"
FUNCTIONS = (
    "fstore_quarantine(text, text)",
    "fstore_condemn_one(text)",
    "fstore_pin(text[], boolean)",
    *job_functions.signatures(),
)

_READ_ALL: Mapping[str, str] = dict.fromkeys(TABLES, "SELECT")
VERBS: Mapping[str, Mapping[str, str]] = {
    # Registers and claims jobs and hides entries through functions only. Tables that hold the tokens of claims are not
    # even read: whoever knows one may end that claim, or publish under it.
    TRAINER: {
        **{table: "SELECT" for table in TABLES if table not in ("jobs", "pending")},
        "sources": "SELECT, INSERT",
    },
    # LOCK TABLE needs UPDATE as well; rows leave the manifest only through upkeep.
    WORKER: {
        **_READ_ALL,
        "manifest": "SELECT, INSERT, UPDATE",
        "pending": "SELECT, INSERT, DELETE",
        "segments": "SELECT, INSERT, UPDATE",
        "jobs": "SELECT, INSERT, UPDATE, DELETE",
        "sources": "SELECT, INSERT",
        "publish_turn": "SELECT, UPDATE",
        "publish_done": "SELECT, UPDATE",
    },
    UPKEEP: {
        **_READ_ALL,
        "manifest": "SELECT, UPDATE, DELETE",
        "segments": "SELECT, DELETE",
        "jobs": "SELECT, INSERT, UPDATE, DELETE",
        "usage": "SELECT, INSERT, UPDATE, DELETE",
        "sources": "SELECT, INSERT, DELETE",
        "counters": "SELECT, INSERT, UPDATE",
        "activity": "SELECT, INSERT, UPDATE, DELETE",
        "upkeep_runs": "SELECT, INSERT, UPDATE, DELETE",
        "upkeep_turns": "SELECT, UPDATE",
    },
    MONITOR: _READ_ALL,
}
_MAINTAINED = ("manifest", "usage", "jobs")
_MAINTAIN_SINCE = 170_000  # before Postgres 17 only the owner may VACUUM; autovacuum does it there


def establish(connection: Connection) -> tuple[str, ...]:
    """Create the roles that are missing, and grant each what it needs.

    Returns those that this user may not create. Owners of managed databases often may not create roles: everything
    works without them, under one user for all.
    """
    missing = tuple(role for role in ROLES if not _exists(connection, role) and not _create(connection, role))
    schema = _quoted(connection, str(connection.execute(text("SELECT current_schema()")).scalar_one()))
    maintains = int(connection.execute(text("SHOW server_version_num")).scalar_one()) >= _MAINTAIN_SINCE
    job_functions.create(connection, schema)
    for role in ROLES:
        if role in missing:
            continue
        run = connection.exec_driver_sql
        run(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        run(f"REVOKE ALL ON {', '.join(f'{schema}.{table}' for table in TABLES)} FROM {role}")
        run(f"REVOKE ALL ON FUNCTION {_listed(schema, (*FUNCTIONS, HIDE_MANY))} FROM {role}")
        for table, verbs in VERBS[role].items():
            run(f"GRANT {verbs} ON {schema}.{table} TO {role}")
        if role == UPKEEP and maintains:
            run(f"GRANT MAINTAIN ON {', '.join(f'{schema}.{table}' for table in _MAINTAINED)} TO {role}")
        if role != MONITOR:
            hiding = FUNCTIONS if role == TRAINER else (*FUNCTIONS, HIDE_MANY)
            run(f"GRANT EXECUTE ON FUNCTION {_listed(schema, hiding)} TO {role}")
    return missing


def _listed(schema: str, functions: tuple[str, ...]) -> str:
    return ", ".join(f"{schema}.{function}" for function in functions)


def _exists(connection: Connection, role: str) -> bool:
    found = connection.execute(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role})
    return bool(found.scalar_one())


def _create(connection: Connection, role: str) -> bool:
    """Create a role that cannot log in, if this user may; another database's migration may be faster."""
    may = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    if not connection.execute(text(may)).scalar_one():
        return False
    connection.exec_driver_sql(
        f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
    return True


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
