-- name: try_lock
-- Session-level: held until the connection ends, so that a killed run leaves nothing to clean.
SELECT pg_try_advisory_lock(%(space)s, %(lock)s)

-- name: unlock
SELECT pg_advisory_unlock(%(space)s, %(lock)s)

-- name: still_locked
-- Run on the lock's own connection: that it answers at all is the proof.
SELECT count(*) > 0 FROM pg_locks
WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = %(space)s AND objid = %(lock)s AND granted

-- name: ran_within
SELECT EXISTS (
    SELECT FROM upkeep_runs
    WHERE kind = %(kind)s AND started_ts > now() - interval '1 day' AND finished_ts > now() - make_interval(secs => %(seconds)s)
        AND NOT coalesce((report->>'dry_run')::boolean, false))

-- name: begin_run
INSERT INTO upkeep_runs (kind, started_ts) VALUES (%(kind)s, now()) RETURNING id, started_ts

-- name: finish_run
UPDATE upkeep_runs SET finished_ts = now(), report = %(report)s::jsonb WHERE id = %(id)s RETURNING finished_ts

-- name: forget_runs
-- The frequent kinds are kept a day, the nightly ones a year.
DELETE FROM upkeep_runs
WHERE kind = %(kind)s AND started_ts < now() - CASE WHEN kind IN ('reconcile', 'flush') THEN interval '1 day' ELSE interval '1 year' END

-- name: list_runs
SELECT id, kind, started_ts, finished_ts, report FROM upkeep_runs
WHERE (%(kind)s::text IS NULL OR kind = %(kind)s) ORDER BY id DESC LIMIT %(limit)s

-- name: now
SELECT now()
