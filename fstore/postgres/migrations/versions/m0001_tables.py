"""The tables of the first release.

No foreign key points into the manifest: checking one locks rows there, and those
locks wait while a publisher holds the table.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE manifest (
    key text PRIMARY KEY,
    symbol text NOT NULL,
    feature text NOT NULL,
    feature_version text NOT NULL,
    source_digest text NOT NULL,
    config json NOT NULL,
    fingerprint text NOT NULL,
    hash_method text NOT NULL CHECK (hash_method IN ('full', 'footer', 'tail')),
    source json,
    path text NOT NULL,
    start_ts timestamptz,
    end_ts timestamptz,
    rows bigint NOT NULL,
    file_size_bytes bigint NOT NULL,
    content_digest text NOT NULL,
    state text NOT NULL CHECK (state IN ('live', 'condemned', 'quarantined')),
    created_ts timestamptz NOT NULL,
    condemned_ts timestamptz,
    verified_ts timestamptz,
    compute_seconds double precision NOT NULL,
    attempt integer NOT NULL,
    library_versions jsonb NOT NULL,
    withdrawn boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN manifest.config IS 'json, not jsonb: keeps the canonical text to the letter, so that a key can be derived again';
COMMENT ON COLUMN manifest.withdrawn IS 'condemned because somebody invalidated it: use does not bring it back';
CREATE INDEX manifest_feature_symbol ON manifest (feature, symbol, created_ts);
CREATE INDEX manifest_unverified ON manifest (verified_ts) WHERE state = 'live';
CREATE INDEX manifest_hidden ON manifest (condemned_ts) WHERE state <> 'live';

CREATE TABLE usage (
    key text PRIMARY KEY,
    last_accessed_ts timestamptz NOT NULL,
    hits bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE jobs (
    key text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'failed', 'dead')),
    attempt integer NOT NULL,
    starts integer NOT NULL,
    owner text NOT NULL,
    lease_until timestamptz,
    request json NOT NULL,
    requested_ts timestamptz NOT NULL,
    sent_ts timestamptz,
    started_ts timestamptz,
    finished_ts timestamptz,
    error jsonb
) WITH (fillfactor = 70);
COMMENT ON COLUMN jobs.attempt IS 'the fencing number: grows with every claim, checked again inside the publishing transaction';
COMMENT ON COLUMN jobs.starts IS 'claims since the job was queued; the third one without an end makes it dead';
CREATE INDEX jobs_state ON jobs (state, lease_until);

CREATE TABLE sources (
    stamp text PRIMARY KEY,
    path text NOT NULL,
    digest text NOT NULL,
    recorded_ts timestamptz NOT NULL
);
COMMENT ON TABLE sources IS 'memo: content digests of foreign Parquet files, by everything that shows that a file is unchanged';

CREATE TABLE counters (
    name text PRIMARY KEY,
    value bigint NOT NULL
);

CREATE TABLE upkeep_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    started_ts timestamptz NOT NULL,
    finished_ts timestamptz,
    report jsonb
);
CREATE INDEX upkeep_runs_kind ON upkeep_runs (kind, started_ts);

CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    store_id text NOT NULL,
    format integer NOT NULL
);
INSERT INTO store (store_id, format) VALUES (replace(gen_random_uuid()::text, '-', ''), 1);
"""


def upgrade() -> None:
    """Create every table, and give the store its id."""
    op.execute(TABLES)
