"""A function that writes ``fstore_move`` from the manifest's columns.

A new column then needs no list of them.

``fstore_move`` (migration 0004) names every column of the manifest three times. It is
called with the manifest locked, so it stays a plain statement whose plan is kept; but
from now on ``fstore_make_move`` writes it, from what the catalog says. A migration that
adds a column ends with ``SELECT fstore_make_move()``.

Offers come from workers of two versions while a deploy goes on. What an older one does
not offer gets the column's default, or NULL where it has none: a new column must allow
one of both. What the manifest does not have is ignored.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# What a publish sets itself is offered by nobody. ``config`` is offered as text, which jsonb would rewrite.
MAKE = """
CREATE FUNCTION fstore_make_move() RETURNS void LANGUAGE plpgsql AS $make$
DECLARE
    columns text;
    types text;
    given text;
    replaced text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),
        string_agg(
            quote_ident(attname) || CASE attname WHEN 'config' THEN ' text' ELSE ' ' || format_type(atttypid, atttypmod) END,
            ', ' ORDER BY attnum),
        string_agg(
            CASE WHEN attname = 'config' THEN 'config::json'
                WHEN adbin IS NULL THEN quote_ident(attname)
                ELSE format('coalesce(%I, %s)', attname, pg_get_expr(adbin, adrelid)) END,
            ', ' ORDER BY attnum),
        string_agg(format('%1$I = EXCLUDED.%1$I', attname), ', ' ORDER BY attnum) FILTER (WHERE attname <> 'key')
    INTO STRICT columns, types, given, replaced
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = 'manifest'::regclass AND attnum > 0 AND NOT attisdropped
        AND attname NOT IN ('state', 'created_ts', 'condemned_ts', 'verified_ts', 'withdrawn');
    EXECUTE format($text$
CREATE OR REPLACE FUNCTION fstore_move(offered jsonb) RETURNS void LANGUAGE plpgsql AS $move$
BEGIN
    WITH taken AS (
        DELETE FROM pending RETURNING offer
    ), candidate AS (
        SELECT DISTINCT ON (c.path) c.*
        FROM (SELECT offer FROM taken UNION ALL SELECT jsonb_array_elements(offered)) AS o(offer),
            jsonb_to_record(o.offer) AS c(%2$s, owner text)
    ), held AS (
        SELECT j.key, c.path FROM jobs j JOIN candidate c
            ON j.key = c.key AND j.attempt = c.attempt AND j.owner = c.owner AND j.state = 'running'
        ORDER BY j.key FOR UPDATE OF j
    ), fence AS (
        DELETE FROM jobs USING held WHERE jobs.key = held.key RETURNING held.path
    )
    INSERT INTO manifest AS m (%1$s, state, created_ts, verified_ts)
    SELECT %3$s, 'live', now(), now()
    FROM candidate JOIN fence USING (path)
    ON CONFLICT (key) DO UPDATE SET state = 'live', condemned_ts = NULL, withdrawn = false,
        created_ts = now(), verified_ts = now(), %4$s
    WHERE m.state <> 'live';
END $move$
$text$, columns, types, given, replaced);
END $make$;
COMMENT ON FUNCTION fstore_make_move IS 'writes fstore_move from the columns of the manifest; for migrations that add one';
SELECT fstore_make_move();
"""


def upgrade() -> None:
    """Create the function and let it write the other one."""
    op.get_bind().exec_driver_sql(MAKE.replace("%", "%%"))
