-- name: add_usage
-- One statement for a minute of hits and counters; the notes carry no times, so what they tell
-- happened just now at the latest.
WITH hit AS (
    INSERT INTO usage AS u (key, last_accessed_ts, hits)
    SELECT key, now(), n FROM unnest(%(keys)s::text[], %(hits)s::bigint[]) AS h(key, n) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET last_accessed_ts = now(),
        hits = least(u.hits::numeric + EXCLUDED.hits, 9223372036854775807)
), counted AS (
    INSERT INTO counters AS c (name, value)
    SELECT name, n FROM unnest(%(names)s::text[], %(values)s::bigint[]) AS v(name, n) ORDER BY name
    ON CONFLICT (name) DO UPDATE SET value = least(c.value::numeric + EXCLUDED.value, 9223372036854775807)
), happened AS (
    -- The buckets of timings would be a hundred rows an hour, and nobody looks at them by the hour.
    INSERT INTO activity AS a (hour, name, value)
    SELECT date_trunc('hour', now()), name, n FROM unnest(%(names)s::text[], %(values)s::bigint[]) AS v(name, n)
    WHERE name !~ '_le:|_sum_us$' ORDER BY name
    ON CONFLICT (hour, name) DO UPDATE SET value = least(a.value::numeric + EXCLUDED.value, 9223372036854775807)
)
SELECT 1

-- name: usage_of
SELECT hits, last_accessed_ts FROM usage WHERE key = %(key)s

-- name: count_unused_since
SELECT count(*) FROM manifest m LEFT JOIN usage u USING (key)
WHERE m.state = 'live' AND greatest(m.created_ts, u.last_accessed_ts) < %(before)s

-- name: longest_unused
-- Reads the whole manifest: asked for once a minute at most.
SELECT extract(epoch FROM now() - min(greatest(m.created_ts, u.last_accessed_ts)))::float8
FROM manifest m LEFT JOIN usage u USING (key) WHERE m.state = 'live'

-- name: read_counters
SELECT name, value FROM counters

-- name: activity
SELECT hour, name, value FROM activity WHERE hour >= %(since)s ORDER BY hour, name

-- name: forget_usage
-- Usage of entries that are gone.
DELETE FROM usage u
WHERE u.last_accessed_ts < now() - make_interval(secs => %(older_s)s) AND NOT EXISTS (SELECT FROM manifest m WHERE m.key = u.key)

-- name: forget_activity
DELETE FROM activity WHERE hour < now() - interval '400 days'
