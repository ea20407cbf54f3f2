-- name: shard_rows
-- One shard of the manifest in the order of the primary key; keys are hex, so "g" follows every digit.
SELECT m.key, m.path, m.file_size_bytes, m.state, m.created_ts,
    CASE WHEN NOT m.withdrawn AND u.last_accessed_ts > m.created_ts THEN u.last_accessed_ts END, m.condemned_ts,
    NOT m.withdrawn AND p.key IS NOT NULL
FROM manifest m LEFT JOIN usage u ON u.key = m.key LEFT JOIN pins p ON p.key = m.key
WHERE m.key >= %(shard)s AND m.key < %(shard)s || 'g'

-- name: rows_of_packs
-- The live entries that lie in some packs, as shards have them; by the index of migration 0011.
SELECT m.key, m.path, m.file_size_bytes, m.state, m.created_ts,
    CASE WHEN NOT m.withdrawn AND u.last_accessed_ts > m.created_ts THEN u.last_accessed_ts END, m.condemned_ts,
    NOT m.withdrawn AND p.key IS NOT NULL
FROM manifest m LEFT JOIN usage u ON u.key = m.key LEFT JOIN pins p ON p.key = m.key
WHERE split_part(m.path, '/', 2) = 'packs' AND split_part(m.path, '/', 4) = ANY(%(packs)s) AND m.state = 'live'
ORDER BY m.key

-- name: superseded
-- Live segments whose partitions are all in another live segment of their series and period. Only those that were
-- marked when they or the other came, and their neighbours, are looked at (migration 0012), each once: so the rest
-- cost nothing. A segment that has not more names holds no other: that is told before names are compared, which takes
-- longer than all else together, and in an order that depends on the plan.
WITH places AS (
    SELECT DISTINCT series, period FROM segments WHERE is_held
), near AS MATERIALIZED (
    SELECT o.key, o.series, o.period, o.names, o.is_held, m.path, m.file_size_bytes, m.created_ts, m.withdrawn
    FROM places JOIN segments o USING (series, period) JOIN manifest m ON m.key = o.key AND m.state = 'live'
)
SELECT s.key, s.path, s.file_size_bytes, s.created_ts,
    CASE WHEN NOT s.withdrawn AND u.last_accessed_ts > s.created_ts THEN u.last_accessed_ts ELSE s.created_ts END
FROM near s
LEFT JOIN usage u ON u.key = s.key
WHERE s.is_held AND NOT EXISTS (SELECT FROM pins p WHERE p.key = s.key) AND EXISTS (
    SELECT FROM near o
    WHERE o.series = s.series AND o.period = s.period
        AND CASE WHEN cardinality(s.names) < cardinality(o.names) THEN s.names <@ o.names ELSE false END)
LIMIT %(limit)s

-- name: rows_of
SELECT key, path FROM manifest WHERE key = ANY(%(keys)s)

-- name: working_keys
-- Whoever holds one of these may still publish a file that has no row yet, however old its lease is:
-- the fence asks for the job row, not for the lease.
SELECT key FROM jobs WHERE state IN ('queued', 'running') AND key = ANY(%(keys)s)

-- name: named_packs
-- Which packs still have a row, in whatever state: whoever reads, or looks at what was hidden, comes by it.
SELECT DISTINCT split_part(path, '/', 4) FROM manifest
WHERE split_part(path, '/', 2) = 'packs' AND split_part(path, '/', 4) = ANY(%(packs)s)

-- name: unsettled_keys
-- Of the results in a pack that no row names: those that somebody may still publish, or that were replaced so
-- recently that a reader may still be on the way to the file.
SELECT key FROM jobs WHERE state IN ('queued', 'running') AND key = ANY(%(keys)s)
UNION SELECT key FROM manifest WHERE key = ANY(%(keys)s) AND created_ts > now() - make_interval(secs => %(grace_s)s)

-- name: working_paths
SELECT DISTINCT request->'raw_data'->>'path' FROM jobs WHERE state IN ('queued', 'running')

-- name: condemn_unused
-- Looks once more: an entry that was used, pinned or published anew since the plan was made stays.
UPDATE manifest m SET state = 'condemned', condemned_ts = now()
FROM unnest(%(keys)s::text[], %(paths)s::text[], %(last_used)s::timestamptz[]) AS c(key, path, last_used)
WHERE m.key = c.key AND m.path = c.path AND m.state = 'live'
    AND NOT EXISTS (SELECT FROM usage u WHERE u.key = m.key AND u.last_accessed_ts > c.last_used)
    AND NOT EXISTS (SELECT FROM pins p WHERE p.key = m.key)
RETURNING m.key

-- name: revive_used
-- Condemned, then used or pinned before it was reaped: somebody still needs it.
UPDATE manifest m SET state = 'live', condemned_ts = NULL
WHERE m.key = ANY(%(keys)s) AND m.state = 'condemned' AND NOT m.withdrawn
    AND (EXISTS (SELECT FROM usage u WHERE u.key = m.key AND u.last_accessed_ts > m.condemned_ts)
        OR EXISTS (SELECT FROM pins p WHERE p.key = m.key))
RETURNING m.key

-- name: reap
-- The row goes first and is committed; its file is removed afterwards. Re-checked here: an entry
-- revived or replaced since the plan was made stays.
WITH gone AS (
    DELETE FROM manifest m
    WHERE m.key = ANY(%(keys)s) AND m.state <> 'live' AND m.condemned_ts < now() - make_interval(secs => %(grace_s)s)
        AND NOT EXISTS (
            SELECT FROM usage u WHERE m.state = 'condemned' AND NOT m.withdrawn AND u.key = m.key
                AND u.last_accessed_ts > m.condemned_ts)
        AND NOT EXISTS (SELECT FROM pins p WHERE m.state = 'condemned' AND NOT m.withdrawn AND p.key = m.key)
    RETURNING m.key, m.path, m.file_size_bytes
), unused AS (
    DELETE FROM usage u USING gone WHERE u.key = gone.key
), unheld AS (
    DELETE FROM segments s USING gone WHERE s.key = gone.key
)
SELECT key, path, file_size_bytes FROM gone

-- name: quarantine_lost
UPDATE manifest m SET state = 'quarantined', condemned_ts = now()
FROM unnest(%(keys)s::text[], %(paths)s::text[]) AS c(key, path)
WHERE m.key = c.key AND m.path = c.path AND m.state = 'live'
RETURNING m.key

-- name: forget_sources
DELETE FROM sources WHERE recorded_ts < now() - interval '180 days'

-- name: forget_segments
-- Of entries that a collection of the version before deleted, while a deploy went on.
DELETE FROM segments s WHERE NOT EXISTS (SELECT FROM manifest m WHERE m.key = s.key)

-- name: longest_unverified
-- The page after the given one; what is verified or published during the run lies behind its end.
SELECT {locator}, verified_ts
FROM manifest
WHERE state = 'live' AND verified_ts < %(before)s AND (verified_ts, key) > (%(after_ts)s::timestamptz, %(after_key)s)
ORDER BY verified_ts, key LIMIT %(limit)s

-- name: mark_verified
UPDATE manifest m SET verified_ts = now()
FROM unnest(%(keys)s::text[], %(paths)s::text[]) AS c(key, path)
WHERE m.key = c.key AND m.path = c.path AND m.state = 'live'

-- name: vacuum_manifest
-- VACUUM shuts publishers out while it runs, and unlike autovacuum it does not yield to them: the
-- caller allows it half a second. TRUNCATE would take the strongest lock of all.
VACUUM (TRUNCATE false, SKIP_LOCKED) manifest

-- name: analyze_manifest
ANALYZE (SKIP_LOCKED) manifest

-- name: vacuum_usage
VACUUM (ANALYZE, SKIP_LOCKED) usage

-- name: vacuum_jobs
VACUUM (ANALYZE, SKIP_LOCKED) jobs

-- name: live_sources
-- The files of users that live entries were computed from, and how many entries stand on each state of them. A
-- segment stands on some days of a file, and a new day changes none of them.
SELECT source->>'path', fingerprint, hash_method, count(*)
FROM manifest WHERE state = 'live' AND source->>'kind' = 'parquet' AND fingerprint NOT LIKE 'b3p%%'
GROUP BY 1, 2, 3 ORDER BY 1, 2
