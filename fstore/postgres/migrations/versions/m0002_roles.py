"""The two things trainers may do to the manifest, as functions.

``fstore.postgres.grants`` says who may call them.

A trainer that finds a file wrong must be able to hide its entry, and may
invalidate entries; it must not be able to write a row, because a row is what
everybody believes. Both functions can only hide: a hidden entry is a miss.

They run as the owner of the tables, so their search path is fixed: otherwise a
caller could put tables of its own in front.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FUNCTIONS = """
CREATE FUNCTION fstore_quarantine(wanted_key text, wanted_path text) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE {schema}.manifest SET state = 'quarantined', condemned_ts = now()
    WHERE key = wanted_key AND path = wanted_path AND state <> 'quarantined'
    RETURNING key
$$;
COMMENT ON FUNCTION fstore_quarantine IS 'hides an entry whose file is wrong: only the very file that was read';

CREATE FUNCTION fstore_condemn(wanted_key text, wanted_symbol text, wanted_feature text) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE {schema}.manifest SET state = 'condemned', condemned_ts = now(), withdrawn = true
    WHERE (state = 'live' OR (state = 'condemned' AND NOT withdrawn)) AND num_nonnulls(wanted_key, wanted_symbol, wanted_feature) > 0
      AND (wanted_key IS NULL OR key = wanted_key)
      AND (wanted_symbol IS NULL OR symbol = wanted_symbol)
      AND (wanted_feature IS NULL OR feature = wanted_feature)
    RETURNING key
$$;
COMMENT ON FUNCTION fstore_condemn IS 'hides entries that fit every condition given, for good; none of them given hides none';

REVOKE ALL ON FUNCTION fstore_quarantine(text, text), fstore_condemn(text, text, text) FROM PUBLIC;
"""


def upgrade() -> None:
    """Create the functions in the schema of the tables."""
    bind = op.get_bind()
    schema = str(bind.exec_driver_sql("SELECT current_schema()").scalar_one())
    bind.exec_driver_sql(FUNCTIONS.replace("{schema}", bind.dialect.identifier_preparer.quote(schema)))
