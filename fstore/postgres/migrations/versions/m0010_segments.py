"""Which partitions an entry holds, found by series and period.

Others can copy from it so, or be answered by it. Rows are written in the transaction that publishes their entries,
and deleted with them. An entry answers without one: a worker of the version before, which publishes what a trainer
of its own staged while a deploy goes on, offers none, and nothing is copied from that. A row without an entry
answers nothing, for the manifest is always asked.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE segments (
    key text PRIMARY KEY,
    series bytea NOT NULL,
    period text NOT NULL,
    names bytea[] NOT NULL,
    created_ts timestamptz NOT NULL
);
COMMENT ON TABLE segments IS 'which partitions an entry holds; names are the beginnings of theirs, whose files hold all of them';
CREATE INDEX segments_series ON segments (series, period, created_ts);
"""

MAKE = """
CREATE OR REPLACE FUNCTION fstore_make_move() RETURNS void LANGUAGE plpgsql AS $make$
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
            jsonb_to_record(o.offer) AS c(%2$s, owner text, segment jsonb)
    ), held AS (
        SELECT j.key, c.path FROM jobs j JOIN candidate c
            ON j.key = c.key AND j.attempt = c.attempt AND j.owner = c.owner AND j.state = 'running'
        ORDER BY j.key FOR UPDATE OF j
    ), fence AS (
        DELETE FROM jobs USING held WHERE jobs.key = held.key RETURNING held.path
    ), inserted AS (
    INSERT INTO manifest AS m (%1$s, state, created_ts, verified_ts)
    SELECT %3$s, 'live', now(), now()
    FROM candidate JOIN fence USING (path)
    ON CONFLICT (key) DO UPDATE SET state = 'live', condemned_ts = NULL, withdrawn = false,
        created_ts = now(), verified_ts = now(), %4$s
    WHERE m.state <> 'live' RETURNING m.path
    )
    INSERT INTO segments AS s (key, series, period, names, created_ts)
    SELECT c.key, decode(c.segment->>'series', 'hex'), c.segment->>'period', ARRAY(
        SELECT decode(n.name, 'hex') FROM jsonb_array_elements_text(c.segment->'names') WITH ORDINALITY AS n(name, at) ORDER BY n.at
    ), now()
    FROM candidate c JOIN inserted USING (path) WHERE c.segment IS NOT NULL
    ON CONFLICT (key) DO UPDATE SET series = EXCLUDED.series, period = EXCLUDED.period, names = EXCLUDED.names,
        created_ts = EXCLUDED.created_ts;
END $move$
$text$, columns, types, given, replaced);
END $make$;
SELECT fstore_make_move();
"""


def upgrade() -> None:
    """Create the table, and have publishing fill it."""
    op.execute(TABLE)
    op.get_bind().exec_driver_sql(MAKE.replace("%", "%%"))
