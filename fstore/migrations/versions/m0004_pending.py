"""Publishing that shares its flushes: whoever holds the manifest's lock moves what others left pending.

The lock is held for one flush of the log, so that one row a transaction would cap
all workers together at one row a flush. ``fstore_publish`` takes the lock when it
is free; when it is not, it leaves its rows in ``pending``, and ``fstore_settle``,
once the lock is its own, moves everything that is pending by then, or finds that
its rows were moved already.

``pending`` is not logged: a row in it is a promise to nobody. A crash of Postgres
empties it, and its publisher, whose connection broke, offers the row again; a
publisher that dies leaves a row that the next one moves, if its claim still holds;
if no other publisher comes, its lease lapses and the job is taken over.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = (
    "key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, source, path, start_ts, "
    "end_ts, rows, file_size_bytes, content_digest, compute_seconds, library_versions, attempt"
)
REPLACED = (
    "source_digest, hash_method, source, path, start_ts, end_ts, rows, file_size_bytes, content_digest, created_ts, "
    "verified_ts, compute_seconds, attempt, library_versions"
)

TABLE = """
CREATE UNLOGGED TABLE pending (
    path text PRIMARY KEY,
    offer jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE pending IS 'offers whose publishers found the manifest locked; moved by whoever holds its lock next';
"""

# The fence: only offers whose job is still run by this very claim are inserted, and the job ends
# with the insert. A live row is never replaced: first publisher wins, its file is the answer.
# Jobs are locked in the order of their keys, as whoever registers or claims many does.
MOVE = """
CREATE FUNCTION fstore_move(offered jsonb) RETURNS bigint LANGUAGE sql AS $$
    WITH taken AS (
        DELETE FROM pending RETURNING offer
    ), candidate AS (
        SELECT DISTINCT ON (c.path) c.*
        FROM (SELECT offer FROM taken UNION ALL SELECT jsonb_array_elements(offered)) AS o(offer),
            jsonb_to_record(o.offer) AS c(
                key text, symbol text, feature text, feature_version text, source_digest text, config text,
                fingerprint text, hash_method text, source json, path text, start_ts timestamptz, end_ts timestamptz,
                rows bigint, file_size_bytes bigint, content_digest text, compute_seconds double precision,
                library_versions jsonb, attempt integer, owner text)
    ), held AS (
        SELECT j.key, c.path FROM jobs j JOIN candidate c
            ON j.key = c.key AND j.attempt = c.attempt AND j.owner = c.owner AND j.state = 'running'
        ORDER BY j.key FOR UPDATE OF j
    ), fence AS (
        DELETE FROM jobs USING held WHERE jobs.key = held.key RETURNING held.path
    ), inserted AS (
        INSERT INTO manifest AS m ({columns}, state, created_ts, verified_ts)
        SELECT {values}, 'live', now(), now()
        FROM candidate JOIN fence USING (path)
        ON CONFLICT (key) DO UPDATE SET state = 'live', condemned_ts = NULL, withdrawn = false,
            {replaced}
        WHERE m.state <> 'live'
        RETURNING m.key
    )
    SELECT count(*) FROM inserted
$$;
COMMENT ON FUNCTION fstore_move IS 'inserts what is offered and what is pending; the manifest must be locked before';
"""

OUTCOME = """
CREATE FUNCTION fstore_outcome(offered jsonb) RETURNS TABLE (offered_key text, live_path text) LANGUAGE sql AS $$
    SELECT o.offer->>'key', m.path
    FROM jsonb_array_elements(offered) AS o(offer)
    LEFT JOIN manifest m ON m.key = o.offer->>'key' AND m.state = 'live'
$$;
COMMENT ON FUNCTION fstore_outcome IS 'which file answers for each key that was offered';
"""

PUBLISH = """
CREATE FUNCTION fstore_publish(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
DECLARE
    locked_at timestamptz;
BEGIN
    BEGIN
        LOCK TABLE manifest IN EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        PERFORM set_config('synchronous_commit', 'off', true);
        INSERT INTO pending (path, offer)
        SELECT o.offer->>'path', o.offer FROM jsonb_array_elements(offered) AS o(offer) ON CONFLICT DO NOTHING;
        RETURN;
    END;
    locked_at := clock_timestamp();
    PERFORM fstore_move(offered);
    RETURN QUERY SELECT f.offered_key, f.live_path, extract(epoch FROM clock_timestamp() - locked_at)::float8
        FROM fstore_outcome(offered) AS f;
END $$;
COMMENT ON FUNCTION fstore_publish IS 'publishes at once if the manifest is free; else leaves the offers pending and returns no row';
"""

# Offered again, because a crash of Postgres may have emptied pending meanwhile: the fence holds back a second insert.
SETTLE = """
CREATE FUNCTION fstore_settle(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
DECLARE
    locked_at timestamptz;
BEGIN
    LOCK TABLE manifest IN EXCLUSIVE MODE;
    locked_at := clock_timestamp();
    IF EXISTS (
        SELECT FROM jsonb_array_elements(offered) AS o(offer)
        WHERE NOT EXISTS (SELECT FROM manifest m WHERE m.key = o.offer->>'key' AND m.path = o.offer->>'path')
    ) THEN
        PERFORM fstore_move(offered);
    END IF;
    RETURN QUERY SELECT f.offered_key, f.live_path, extract(epoch FROM clock_timestamp() - locked_at)::float8
        FROM fstore_outcome(offered) AS f;
END $$;
COMMENT ON FUNCTION fstore_settle IS 'moves what is pending, unless somebody moved these offers already';
"""


def upgrade() -> None:
    """Create the table and the functions, which run with the rights of whoever calls them."""
    replaced = ", ".join(f"{name} = EXCLUDED.{name}" for name in REPLACED.split(", "))
    move = MOVE.replace("{columns}", COLUMNS).replace("{values}", COLUMNS.replace("config,", "config::json,"))
    for statement in (TABLE, move.replace("{replaced}", replaced), OUTCOME, PUBLISH, SETTLE):
        op.get_bind().exec_driver_sql(statement)
