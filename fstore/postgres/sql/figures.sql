-- name: jobs_by_state
SELECT state, count(*), coalesce(extract(epoch FROM now() - min(requested_ts)), 0)::float8 FROM jobs_seen GROUP BY state

-- name: slowest_features
SELECT feature, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY compute_seconds),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY compute_seconds), sum(compute_seconds)
FROM manifest WHERE created_ts >= %(since)s GROUP BY feature ORDER BY 3 DESC LIMIT %(limit)s

-- name: failing_features
-- What is remembered: failed jobs for a day, dead ones until somebody lets them start anew. Trainers may write what stands
-- in a job: texts are cut.
SELECT coalesce(left(request->>'feature', 200), 'unknown'), count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'dead'), max(finished_ts),
    coalesce((array_agg(left(request->>'symbol', 100) ORDER BY finished_ts DESC NULLS LAST, key))[1], 'unknown'),
    (array_agg(CASE WHEN error IS NULL THEN 'each process that ran it ended'
        ELSE left(concat_ws(': ', error->>'error_type', error->>'detail'), 300) END ORDER BY finished_ts DESC NULLS LAST, key))[1]
FROM jobs_seen WHERE state IN ('failed', 'dead') GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT %(limit)s

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

-- name: runs_since
SELECT kind, started_ts, finished_ts, report FROM upkeep_runs
WHERE kind IN ('gc', 'sweep') AND started_ts >= %(since)s ORDER BY started_ts

-- name: server
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
    current_setting('lock_timeout')::interval > current_setting('deadlock_timeout')::interval,
    current_setting('lock_timeout'), current_setting('deadlock_timeout'),
    current_setting('fsync')::boolean, pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8

-- name: has_revision
SELECT to_regclass('alembic_version') IS NOT NULL

-- name: revision
SELECT version_num FROM alembic_version
