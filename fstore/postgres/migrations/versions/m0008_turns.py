"""Turns that only those may take who need them.

And jobs that trainers see without the tokens of their claims. Upkeep's turns are rows with leases: a lock of a
session stays with a server connection when a pooler stands between. The publishers' turn (migration 0004) was a
pair of advisory locks, which every role may take and keep; now it is the lock of a row and the lock of a table, for
the length of a transaction each, which need rights to them.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE upkeep_turns (
    kind text PRIMARY KEY,
    owner text NOT NULL DEFAULT '',
    lease_until timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
COMMENT ON TABLE upkeep_turns IS 'one run at a time of each kind; renewed while it goes on, free again when the lease is over';
INSERT INTO upkeep_turns (kind) VALUES ('gc'), ('sweep'), ('reconcile'), ('flush');

CREATE TABLE publish_turn (one boolean PRIMARY KEY DEFAULT true CHECK (one));
COMMENT ON TABLE publish_turn IS 'whoever has locked the row publishes; it is only ever tried';
INSERT INTO publish_turn DEFAULT VALUES;
CREATE TABLE publish_done (one boolean);
COMMENT ON TABLE publish_done IS 'no rows: its lock is what all others wait for at once while one publishes';

CREATE VIEW jobs_seen AS
SELECT key, state, attempt, starts, stops,
    left(owner, -32) || CASE WHEN owner <> '' THEN left(encode(sha256(convert_to(owner, 'UTF8')), 'hex'), 32) ELSE '' END AS owner,
    lease_until, request, requested_ts, sent_ts, started_ts, finished_ts, error
FROM jobs;
COMMENT ON VIEW jobs_seen IS 'jobs without the tokens that end and publish a claim: of each a digest stands in its place';

CREATE FUNCTION fstore_condemn_one(wanted_key text) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM {schema}.fstore_condemn(wanted_key, NULL, NULL) WHERE wanted_key IS NOT NULL
$$;
COMMENT ON FUNCTION fstore_condemn_one IS 'hides one entry for good; for those who may not hide whole features';
REVOKE ALL ON FUNCTION fstore_condemn_one(text) FROM PUBLIC;
"""

FUNCTIONS = """
CREATE OR REPLACE FUNCTION fstore_take_turn(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
DECLARE
    locked_at timestamptz;
BEGIN
    LOCK TABLE publish_done IN EXCLUSIVE MODE;
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

CREATE OR REPLACE FUNCTION fstore_publish(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM publish_turn FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        RETURN QUERY SELECT * FROM fstore_take_turn(offered);
        RETURN;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO pending (path, offer)
    SELECT o.offer->>'path', o.offer FROM jsonb_array_elements(offered) AS o(offer) ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION fstore_settle(offered jsonb)
RETURNS TABLE (offered_key text, live_path text, lock_hold_s double precision) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM publish_turn FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        RETURN QUERY SELECT * FROM fstore_take_turn(offered);
        RETURN;
    END IF;
    LOCK TABLE publish_done IN ROW SHARE MODE;
    IF (
        SELECT bool_and(coalesce(o.offer->>'path' = (SELECT m.path FROM manifest m WHERE m.key = o.offer->>'key'), false))
        FROM jsonb_array_elements(offered) AS o(offer)
    ) THEN
        RETURN QUERY SELECT o.offer->>'key',
            (SELECT m.path FROM manifest m WHERE m.key = o.offer->>'key' AND m.state = 'live'), 0.0::float8
            FROM jsonb_array_elements(offered) AS o(offer);
    END IF;
END $$;
"""


def upgrade() -> None:
    """Create tables and view, and replace the functions of migration 0004.

    What trainers may run is made by ``grants``.
    """
    bind = op.get_bind()
    schema = str(bind.exec_driver_sql("SELECT current_schema()").scalar_one())
    bind.exec_driver_sql(TABLES.replace("{schema}", bind.dialect.identifier_preparer.quote(schema)) + FUNCTIONS)
