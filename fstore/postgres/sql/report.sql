-- name: activity
SELECT hour, name, value FROM activity WHERE hour >= %(since)s ORDER BY hour, name

-- name: slowest_features
SELECT feature, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY compute_seconds),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY compute_seconds), sum(compute_seconds)
FROM manifest WHERE created_ts >= %(since)s GROUP BY feature ORDER BY 3 DESC LIMIT %(limit)s

-- name: runs
SELECT kind, started_ts, finished_ts, report FROM upkeep_runs
WHERE kind IN ('gc', 'sweep') AND started_ts >= %(since)s ORDER BY started_ts

-- name: jobs_now
SELECT state, count(*), extract(epoch FROM now() - min(requested_ts))::float8 FROM jobs GROUP BY state ORDER BY state

-- name: now
SELECT now()
