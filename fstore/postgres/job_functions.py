"""Postgres: what may be done to jobs, as functions.

Whoever could write the table could stop everybody. A trainer registers, claims and ends computations; with rights
to the table it could lock it, delete the jobs of others, or end a claim that is not its own. The functions run as
the tables' owner and are made from the very statements of ``sql/jobs.sql`` and ``sql/job_control.sql``, by every
``fstore migrate``. Who ends or prolongs a claim must know its owner's token, which the view ``jobs_seen`` does not
tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fstore.postgres.queries import statements

if TYPE_CHECKING:
    from sqlalchemy import Connection

NAMES = (
    "enqueue",
    "claim",
    "renew",
    "complete",
    "release",
    "fail",
    "bury",
    "take_stale",
    "reset",
    "reset_failure",
    "restart",
    "forget",
)
_TYPES = {
    "key": "text",
    "keys": "text[]",
    "attempt": "integer",
    "attempts": "integer[]",
    "owner": "text",
    "owners": "text[]",
    "request": "json",
    "requests": "jsonb",
    "error": "jsonb",
    "drained": "text[]",
    "limit": "integer",
    "max_starts": "integer",
    "max_stops": "integer",
    "most_request_bytes": "integer",
}
_RETURNED = {
    "claim": "TABLE (attempt integer, starts integer, revivable boolean)",
    "take_stale": "TABLE (key text, request json)",
    "restart": "TABLE (key text, request json)",
}
# A caller's own numbers bend nobody else's rules by much.
_BOUNDED = {
    "lease_s": "least(given_lease_s, 3600)",
    "max_starts": "greatest(given_max_starts, 1)",
    "max_stops": "least(given_max_stops, 1000)",
    "limit": "least(given_limit, 500)",
}
_PLACE = re.compile(r"%\((\w+)\)s")
_TABLE = re.compile(r"\b(FROM|INTO|UPDATE|JOIN|USING)\s+(jobs|manifest)\b")


def calls() -> Mapping[str, str]:
    """Return the statements that call the functions, under the names of those that they run."""
    return {
        name: f"SELECT * FROM fstore_job_{name}({', '.join(f'%({argument})s' for argument in _arguments(name))})"  # noqa: S608
        for name in NAMES
    }


def signatures() -> tuple[str, ...]:
    """Return the functions with the types of their arguments, as GRANT names them."""
    return tuple(f"fstore_job_{name}({', '.join(map(_type, _arguments(name)))})" for name in NAMES)


def create(connection: Connection, schema: str) -> None:
    """Make the functions, or make them anew; ``schema`` is the quoted name of the tables' schema."""
    for name, signature in zip(NAMES, signatures(), strict=True):
        statement = _TABLE.sub(rf"\1 {schema}.\2", _statement(name))
        body = _PLACE.sub(lambda place: _BOUNDED.get(place[1], f"given_{place[1]}"), statement)
        arguments = ", ".join(f"given_{argument} {_type(argument)}" for argument in _arguments(name))
        by_name = "given_keys IS NULL" if "keys" in _arguments(name) else "false"
        connection.exec_driver_sql(
            f"CREATE OR REPLACE FUNCTION {schema}.fstore_job_{name}({arguments}) "
            f"RETURNS {_RETURNED.get(name, 'SETOF text')} LANGUAGE plpgsql SECURITY DEFINER "
            f"SET search_path = pg_catalog, pg_temp AS $job$\n#variable_conflict use_column\nBEGIN\n"
            f"IF {by_name} THEN\n"
            "    RAISE insufficient_privilege USING MESSAGE = 'permission denied: jobs are named one by one';\nEND IF;\n"
            f"RETURN QUERY {body};\nEND $job$;\n"
            f"REVOKE ALL ON FUNCTION {schema}.{signature} FROM PUBLIC"
        )


def _statement(name: str) -> str:
    return {**statements("jobs"), **statements("job_control")}[name]


def _arguments(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PLACE.findall(_statement(name))))


def _type(argument: str) -> str:
    return _TYPES.get(argument, "double precision")
