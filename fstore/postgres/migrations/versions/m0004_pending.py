"""Publishing that shares its flushes: one publisher at a time moves what all others left pending.

The manifest's lock is held for one flush of the log, so that one row a transaction
would cap all workers together at one row a flush. ``fstore_publish`` publishes at once
if it is nobody else's turn. Otherwise it leaves its rows in ``pending``, and
``fstore_settle`` waits until the one whose turn it is has committed, and looks: the rows
were moved, or it is this one's turn now, or it has to ask again.

Two advisory locks, for the length of a transaction each, order the publishers. TURN is
only ever tried: who has it publishes. DONE is what the others wait for, all of them at
once and not one after the other, as a queue for the manifest's own lock would have it.

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

SPACE, TURN, DONE = 0x66737075, 1, 2

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

# All in plpgsql, which keeps its plans; sub-selects rather than joins, because a planner that expects a hundred offers
# would read the whole manifest to find one.
#
# The fence: only offers whose job is still run by this very claim are inserted, and the job ends with the insert. A live
# row is never replaced: first publisher wins, its file is the answer. Jobs are locked in the order of their keys, as
# whoever registers or claims many does.
MOVE = """
CREATE FUNCTION fstore_move(offered jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
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
    )
    INSERT INTO manifest AS m ({columns}, state, created_ts, verified_ts)
    SELECT {values}, 'live', now(), now()
    FROM candidate JOIN fence USING (path)
    ON CONFLICT (key) DO UPDATE SET state = 'live', condemned_ts = NULL, withdrawn = false,
        {replaced}
    WHERE m.state <> 'live';
END $$;
COMMENT ON FUNCTION fstore_move IS 'inserts what is offered and what is pending; the manifest must be locked before';
"""

# To be called by whoever has the turn. LOCK comes before any row is touched: any other order deadlocks.
TAKE = """
CREATE FUNCTION fstore_take_turn(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
DECLARE
    locked_at timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock({space}, {done});
    LOCK TABLE manifest IN EXCLUSIVE MODE;
    locked_at := clock_timestamp();
    BEGIN
        PERFORM fstore_move(offered);
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        -- A row of somebody else cannot be inserted, and must not stop everybody: each offers its own again.
        DELETE FROM pending;
        PERFORM fstore_move(offered);
    END;
    RETURN QUERY SELECT o.offer->>'key',
        (SELECT m.path FROM manifest m WHERE m.key = o.offer->>'key' AND m.state = 'live'),
        extract(epoch FROM clock_timestamp() - locked_at)::float8
        FROM jsonb_array_elements(offered) AS o(offer);
END $$;
COMMENT ON FUNCTION fstore_take_turn IS 'moves what is offered and what is pending, and tells which file answers for each offered key';
"""

PUBLISH = """
CREATE FUNCTION fstore_publish(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_xact_lock({space}, {turn}) THEN
        RETURN QUERY SELECT * FROM fstore_take_turn(offered);
        RETURN;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO pending (path, offer)
    SELECT o.offer->>'path', o.offer FROM jsonb_array_elements(offered) AS o(offer) ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION fstore_publish IS 'publishes at once, or leaves the offers pending and returns no row when somebody else is publishing';
"""

# Offered again, because a crash of Postgres may have emptied pending meanwhile: the fence holds back a second insert.
SETTLE = """
CREATE FUNCTION fstore_settle(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_xact_lock({space}, {turn}) THEN
        RETURN QUERY SELECT * FROM fstore_take_turn(offered);
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock_shared({space}, {done});
    IF (
        SELECT bool_and(coalesce(o.offer->>'path' = (SELECT m.path FROM manifest m WHERE m.key = o.offer->>'key'), false))
        FROM jsonb_array_elements(offered) AS o(offer)
    ) THEN
        RETURN QUERY SELECT o.offer->>'key',
            (SELECT m.path FROM manifest m WHERE m.key = o.offer->>'key' AND m.state = 'live'), 0.0::float8
            FROM jsonb_array_elements(offered) AS o(offer);
    END IF;
END $$;
COMMENT ON FUNCTION fstore_settle IS 'waits for whoever publishes now; returns no row when the offers were not moved and it is not yet our turn';
"""


def upgrade() -> None:
    """Create the table and the functions, which run with the rights of whoever calls them."""
    replaced = ", ".join(f"{name} = EXCLUDED.{name}" for name in REPLACED.split(", "))
    move = MOVE.replace("{columns}", COLUMNS).replace("{values}", COLUMNS.replace("config,", "config::json,"))
    text = "".join((TABLE, move.replace("{replaced}", replaced), TAKE, PUBLISH, SETTLE))
    for name, number in (("{space}", SPACE), ("{turn}", TURN), ("{done}", DONE)):
        text = text.replace(name, str(number))
    op.get_bind().exec_driver_sql(text)
