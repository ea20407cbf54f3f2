"""Entries that somebody wants kept: garbage collection leaves them alone until they are unpinned.

A table of its own and no column: whoever pins waits for no publisher, who holds the
manifest locked, and a pinned key that is computed anew stays pinned. Trainers pin
through a function, since whoever could write the table could lock it.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PINS = """
CREATE TABLE pins (key text PRIMARY KEY, pinned_ts timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE pins IS 'keys whose entries are not given up for age or space; invalidating one still hides it';

CREATE FUNCTION fstore_pin(wanted_keys text[], wanted boolean) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF wanted THEN
        RETURN QUERY INSERT INTO {schema}.pins AS p (key)
            SELECT m.key FROM {schema}.manifest m WHERE m.key = ANY(wanted_keys) AND m.state = 'live' ORDER BY m.key
            ON CONFLICT DO NOTHING RETURNING p.key;
    ELSE
        RETURN QUERY DELETE FROM {schema}.pins p WHERE p.key IN (
            SELECT q.key FROM {schema}.pins q WHERE q.key = ANY(wanted_keys) ORDER BY q.key FOR UPDATE) RETURNING p.key;
    END IF;
END $$;
COMMENT ON FUNCTION fstore_pin IS 'pins live entries, or unpins; returns the keys that this changed';
REVOKE ALL ON FUNCTION fstore_pin(text[], boolean) FROM PUBLIC;
"""


def upgrade() -> None:
    """Create table and function in the schema of the tables."""
    bind = op.get_bind()
    schema = str(bind.exec_driver_sql("SELECT current_schema()").scalar_one())
    bind.exec_driver_sql(PINS.replace("{schema}", bind.dialect.identifier_preparer.quote(schema)))
