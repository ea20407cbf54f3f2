-- name: find_live
-- The hit path: primary key, few columns, no lock that a publisher could make wait.
SELECT key, path, rows, file_size_bytes, content_digest
FROM manifest WHERE key = %(key)s AND state = 'live'

-- name: find_live_many
SELECT key, path, rows, file_size_bytes, content_digest
FROM manifest WHERE key = ANY(%(keys)s) AND state = 'live'

-- name: find_entry
SELECT {columns} FROM manifest WHERE key = %(key)s

-- name: find_by_prefix
SELECT {columns} FROM manifest WHERE key >= %(low)s AND key < %(high)s ORDER BY key LIMIT %(limit)s

-- name: list_entries
SELECT {columns} FROM manifest
WHERE (%(symbol)s::text IS NULL OR symbol = %(symbol)s) AND (%(feature)s::text IS NULL OR feature = %(feature)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY created_ts DESC, key LIMIT %(limit)s

-- name: nearest_entries
-- What explain compares a miss with: entries of the same feature, those of the same
-- symbol first, newest first.
SELECT {columns} FROM manifest WHERE feature = %(feature)s
ORDER BY (symbol = %(symbol)s) DESC, created_ts DESC LIMIT %(limit)s

-- name: other_source_digest
-- Has this explicit version been published with other source code?
SELECT source_digest FROM manifest
WHERE feature = %(feature)s AND feature_version = %(feature_version)s AND source_digest <> %(source_digest)s
LIMIT 1

-- name: publish
-- One string, one implicit transaction, one round trip. LOCK comes first (any other
-- order deadlocks). The fence: only rows whose job is still run by this very claim
-- are inserted, and the job ends with the insert. A live row is never replaced:
-- first publisher wins, its file is the answer.
-- Running it twice is harmless: the second time the fence holds nothing and the
-- outcome tells by its path whether the first one was committed.
LOCK TABLE manifest IN EXCLUSIVE MODE;
SELECT set_config('fstore.locked_at', clock_timestamp()::text, true);
WITH candidate AS (
    SELECT * FROM jsonb_to_recordset(%(entries)s::jsonb) AS c(
        key text, symbol text, feature text, feature_version text, source_digest text, config text,
        fingerprint text, hash_method text, source json, path text, start_ts timestamptz, end_ts timestamptz,
        rows bigint, file_size_bytes bigint, content_digest text, compute_seconds double precision,
        library_versions jsonb, attempt integer, owner text)
), fence AS (
    DELETE FROM jobs USING candidate c
    WHERE jobs.key = c.key AND jobs.attempt = c.attempt AND jobs.owner = c.owner AND jobs.state = 'running'
    RETURNING jobs.key
), inserted AS (
    INSERT INTO manifest AS m (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method,
        source, path, start_ts, end_ts, rows, file_size_bytes, content_digest, state, created_ts, condemned_ts,
        verified_ts, compute_seconds, attempt, library_versions)
    SELECT c.key, c.symbol, c.feature, c.feature_version, c.source_digest, c.config::json, c.fingerprint, c.hash_method,
        c.source, c.path, c.start_ts, c.end_ts, c.rows, c.file_size_bytes, c.content_digest, 'live', now(), NULL,
        now(), c.compute_seconds, c.attempt, c.library_versions
    FROM candidate c JOIN fence f ON f.key = c.key
    ON CONFLICT (key) DO UPDATE SET
        source_digest = EXCLUDED.source_digest, hash_method = EXCLUDED.hash_method, source = EXCLUDED.source,
        path = EXCLUDED.path, start_ts = EXCLUDED.start_ts, end_ts = EXCLUDED.end_ts, rows = EXCLUDED.rows,
        file_size_bytes = EXCLUDED.file_size_bytes, content_digest = EXCLUDED.content_digest, state = 'live',
        created_ts = EXCLUDED.created_ts, condemned_ts = NULL, withdrawn = false, verified_ts = EXCLUDED.verified_ts,
        compute_seconds = EXCLUDED.compute_seconds, attempt = EXCLUDED.attempt,
        library_versions = EXCLUDED.library_versions
    WHERE m.state <> 'live'
    RETURNING m.key, m.path
)
SELECT c.key, EXISTS (SELECT FROM fence f WHERE f.key = c.key), coalesce(i.path, m.path),
    extract(epoch FROM current_setting('fstore.locked_at')::timestamptz - transaction_timestamp())::float8,
    extract(epoch FROM clock_timestamp() - current_setting('fstore.locked_at')::timestamptz)::float8
FROM candidate c
LEFT JOIN inserted i ON i.key = c.key
LEFT JOIN manifest m ON m.key = c.key AND m.state = 'live'

-- name: quarantine
-- Only the very file that was found wrong: a row that points to another one by now stays.
-- A function, because trainers may hide what they find wrong but not write rows (migration 0002).
SELECT * FROM fstore_quarantine(%(key)s, %(path)s)

-- name: condemn
-- A function as well; see quarantine.
SELECT * FROM fstore_condemn(%(key)s, %(symbol)s, %(feature)s)

-- name: revive
-- A request for a condemned entry takes it back, as long as it has not been reaped.
-- One that somebody invalidated is computed anew: its numbers are not wanted.
UPDATE manifest SET state = 'live', condemned_ts = NULL
WHERE key = %(key)s AND state = 'condemned' AND NOT withdrawn AND condemned_ts > now() - make_interval(secs => %(youngest_s)s)
RETURNING key, path, rows, file_size_bytes, content_digest

-- name: count_by_state
SELECT state, count(*), coalesce(sum(file_size_bytes), 0) FROM manifest GROUP BY state

-- name: totals_by
SELECT {column}, count(*), coalesce(sum(file_size_bytes), 0) FROM manifest WHERE state = 'live'
GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT %(limit)s

-- name: count_unused_since
SELECT count(*) FROM manifest m LEFT JOIN usage u USING (key)
WHERE m.state = 'live' AND greatest(m.created_ts, u.last_accessed_ts) < %(before)s

-- name: expected_seconds
-- What a computation of this feature usually takes.
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY compute_seconds) FROM (
    SELECT compute_seconds FROM manifest WHERE feature = %(feature)s ORDER BY created_ts DESC LIMIT 50) AS recent

-- name: read_counters
SELECT name, value FROM counters

-- name: store_identity
SELECT store_id, format FROM store

-- name: usage_of
SELECT hits, last_accessed_ts FROM usage WHERE key = %(key)s
