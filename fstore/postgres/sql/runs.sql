-- name: take_turn
-- By the database's clock alone. Repeated by the same owner, whose answer was lost, it is the same turn.
UPDATE upkeep_turns SET owner = %(owner)s, lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE kind = %(kind)s AND (lease_until < now() OR owner = %(owner)s)
RETURNING owner

-- name: keep_turn
-- A lease that ran out is taken up again, unless somebody else has begun since.
UPDATE upkeep_turns SET lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE kind = %(kind)s AND owner = %(owner)s
RETURNING owner

-- name: end_turn
UPDATE upkeep_turns SET owner = '', lease_until = '-infinity' WHERE kind = %(kind)s AND owner = %(owner)s
RETURNING kind

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
