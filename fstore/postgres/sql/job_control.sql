-- See jobs.sql on what is run as a function. Cancelling is none: it ends the claims of others.

-- name: list
-- What runs first, then what waits, the longest waiting first; what ended last, the latest first.
SELECT {job} FROM jobs_seen j
WHERE (%(state)s::text IS NULL OR j.state = %(state)s)
  AND (%(symbol)s::text IS NULL OR j.request->>'symbol' = %(symbol)s)
  AND (%(feature)s::text IS NULL OR j.request->>'feature' = %(feature)s)
ORDER BY array_position(ARRAY['running', 'queued', 'failed', 'dead'], j.state), j.finished_ts DESC NULLS LAST,
    coalesce(j.started_ts, j.requested_ts), j.key
LIMIT %(limit)s

-- name: cancel
-- Stops a job for good: a dead one is never claimed, and the note tells its waiters why. Whoever computes it holds
-- no claim any more, so the result cannot be published.
UPDATE jobs SET state = 'dead', owner = '', lease_until = NULL, finished_ts = now(), error = %(error)s::jsonb
WHERE key IN (SELECT key FROM jobs WHERE key = ANY(%(keys)s) AND state IN ('queued', 'running') ORDER BY key FOR UPDATE)
RETURNING key

-- name: restart
-- Lets a failed or dead job start anew at once: whoever calls this sends the message. Raw data that only the caller
-- had cannot be computed from by anybody else.
UPDATE jobs SET state = 'queued', starts = 0, stops = 0, owner = '', lease_until = NULL, requested_ts = now(), sent_ts = now(),
    started_ts = NULL, finished_ts = NULL, error = NULL
WHERE key IN (
    SELECT key FROM jobs WHERE key = ANY(%(keys)s) AND state IN ('failed', 'dead')
      AND request->'raw_data'->>'kind' <> 'caller' ORDER BY key FOR UPDATE)
RETURNING key, request

-- name: forget
-- Drops failed and dead jobs: the next request for such a key computes it.
DELETE FROM jobs
WHERE key IN (SELECT key FROM jobs WHERE key = ANY(%(keys)s) AND state IN ('failed', 'dead') ORDER BY key FOR UPDATE)
RETURNING key
