-- name: longest_unused
-- Reads the whole manifest: asked for once a minute at most.
SELECT extract(epoch FROM now() - min(greatest(m.created_ts, u.last_accessed_ts)))::float8
FROM manifest m LEFT JOIN usage u USING (key) WHERE m.state = 'live'

-- name: jobs
SELECT state, count(*), coalesce(extract(epoch FROM now() - min(requested_ts)), 0)::float8 FROM jobs GROUP BY state

-- name: last_runs
-- The last run of each kind that ended, dry runs aside.
SELECT DISTINCT ON (kind) kind, extract(epoch FROM now() - finished_ts)::float8,
    extract(epoch FROM finished_ts - started_ts)::float8, report ? 'error',
    coalesce((report->'summary'->>'total_files_deleted')::bigint, 0),
    coalesce((report->'summary'->>'total_bytes_freed')::bigint, 0),
    coalesce((report->'summary'->>'entries_condemned')::bigint, 0),
    coalesce((report->>'checked')::bigint, 0), coalesce((report->>'bytes_read')::bigint, 0),
    coalesce((report->>'quarantined')::bigint, 0)
FROM upkeep_runs
WHERE finished_ts IS NOT NULL AND NOT coalesce((report->>'dry_run')::boolean, false)
ORDER BY kind, id DESC
