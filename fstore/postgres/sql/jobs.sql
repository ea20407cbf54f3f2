-- What job_functions.py names is run as a function: a change of it takes effect with the next 'fstore migrate'.

-- name: enqueue
-- Registers a computation unless one is known. A failure that everybody has been
-- told of (older than failure_memory_s) starts anew; a dead job does not: somebody must
-- look at it first. Returns the keys that are newly queued: only those are sent.
INSERT INTO jobs AS j (key, state, attempt, starts, owner, request, requested_ts)
SELECT r.key, 'queued', 0, 0, '', r.request, now()
FROM jsonb_to_recordset(%(requests)s::jsonb) AS r(key text, request json)
WHERE NOT EXISTS (SELECT FROM manifest m WHERE m.key = r.key AND m.state = 'live')
ORDER BY r.key
ON CONFLICT (key) DO UPDATE SET state = 'queued', starts = 0, stops = 0, owner = '', lease_until = NULL,
    request = EXCLUDED.request, requested_ts = now(), sent_ts = NULL, started_ts = NULL, finished_ts = NULL, error = NULL
WHERE j.state = 'failed' AND j.finished_ts < now() - make_interval(secs => %(failure_memory_s)s)
RETURNING j.key

-- name: claim
-- Compare and set: a queued job, one whose lease ran out, or one that nobody has
-- registered yet. The attempt grows with every claim, the owner is a fresh token:
-- together they are the fence that a publisher must still hold. Repeated by the same
-- owner, whose answer was lost, it is the same claim.
INSERT INTO jobs AS j (key, state, attempt, starts, owner, lease_until, request, requested_ts, started_ts)
SELECT %(key)s, 'running', 1, 1, %(owner)s, now() + make_interval(secs => %(lease_s)s), %(request)s::json, now(), now()
WHERE NOT EXISTS (SELECT FROM manifest m WHERE m.key = %(key)s AND m.state = 'live')
ON CONFLICT (key) DO UPDATE SET state = 'running',
    attempt = CASE WHEN j.owner = EXCLUDED.owner THEN j.attempt ELSE j.attempt + 1 END,
    starts = CASE WHEN j.owner = EXCLUDED.owner THEN j.starts WHEN j.state = 'failed' THEN 1 ELSE j.starts + 1 END,
    stops = CASE WHEN j.state = 'failed' THEN 0 ELSE j.stops END,
    owner = EXCLUDED.owner, lease_until = EXCLUDED.lease_until, started_ts = now(), finished_ts = NULL, error = NULL
WHERE (j.state = 'running' AND j.owner = EXCLUDED.owner)
   OR (j.state = 'queued' AND j.starts < %(max_starts)s)
   OR (j.state = 'running' AND j.lease_until < now() AND j.starts < %(max_starts)s)
   OR (j.state = 'failed' AND j.finished_ts < now() - make_interval(secs => %(failure_memory_s)s))
RETURNING j.attempt, j.starts + j.stops,
    EXISTS (SELECT FROM manifest m WHERE m.key = j.key AND m.state = 'condemned' AND NOT m.withdrawn)

-- name: claim_many
-- Claims at once whatever was never started: a job that ended a worker before is
-- claimed by itself, so that it cannot take others down with it again, and a
-- condemned entry may be taken back first. In the order of the keys, as everybody
-- who locks many jobs does.
INSERT INTO jobs AS j (key, state, attempt, starts, owner, lease_until, request, requested_ts, started_ts)
SELECT r.key, 'running', 1, 1, %(owner)s, now() + make_interval(secs => %(lease_s)s), r.request, now(), now()
FROM jsonb_to_recordset(%(requests)s::jsonb) AS r(key text, request json)
WHERE NOT EXISTS (SELECT FROM manifest m WHERE m.key = r.key AND (m.state = 'live' OR (m.state = 'condemned' AND NOT m.withdrawn)))
ORDER BY r.key
ON CONFLICT (key) DO UPDATE SET state = 'running',
    attempt = CASE WHEN j.owner = EXCLUDED.owner THEN j.attempt ELSE j.attempt + 1 END,
    starts = 1, owner = EXCLUDED.owner, lease_until = EXCLUDED.lease_until, started_ts = now(), finished_ts = NULL, error = NULL
WHERE (j.state = 'running' AND j.owner = EXCLUDED.owner)
   OR (j.state = 'queued' AND j.starts = 0)
   OR (j.state = 'failed' AND j.finished_ts < now() - make_interval(secs => %(failure_memory_s)s))
RETURNING j.key, j.attempt

-- name: renew
UPDATE jobs SET lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE key IN (
    SELECT j.key FROM jobs j
    JOIN unnest(%(keys)s::text[], %(attempts)s::integer[], %(owners)s::text[]) AS c(key, attempt, owner)
        ON j.key = c.key AND j.attempt = c.attempt AND j.owner = c.owner
    WHERE j.state = 'running' ORDER BY j.key FOR UPDATE OF j)
RETURNING key

-- name: return_unstarted
-- Gives claims back that were never begun: as if they had not been started, and sent again by whoever gives them back.
UPDATE jobs SET state = 'queued', owner = '', lease_until = NULL, sent_ts = now(), requested_ts = now(), starts = 0
WHERE key IN (
    SELECT j.key FROM jobs j
    JOIN unnest(%(keys)s::text[], %(attempts)s::integer[], %(owners)s::text[]) AS c(key, attempt, owner)
        ON j.key = c.key AND j.attempt = c.attempt AND j.owner = c.owner
    WHERE j.state = 'running' ORDER BY j.key FOR UPDATE OF j)
RETURNING key

-- name: complete
-- Ends a job that needs no result of its own any more.
DELETE FROM jobs
WHERE key = %(key)s AND attempt = %(attempt)s AND owner = %(owner)s AND state = 'running'
RETURNING key

-- name: release
-- Gives a claim back unfinished, since the worker is shutting down: a start that was ordered to end is none that
-- ended its worker. Beyond max_stops it counts, or a function that tells its own worker to stop would run for ever.
UPDATE jobs SET state = 'queued', owner = '', lease_until = NULL, sent_ts = NULL, requested_ts = now(),
    starts = CASE WHEN stops < %(max_stops)s THEN greatest(starts - 1, 0) ELSE starts END, stops = stops + 1
WHERE key = %(key)s AND attempt = %(attempt)s AND owner = %(owner)s AND state = 'running'
RETURNING key

-- name: fail
UPDATE jobs SET state = 'failed', finished_ts = now(), lease_until = NULL, error = %(error)s::jsonb
WHERE key = %(key)s AND attempt = %(attempt)s AND owner = %(owner)s AND state = 'running'
RETURNING key

-- name: bury
-- Started max_starts times and never ended: it kills its workers.
UPDATE jobs SET state = 'dead', finished_ts = now()
WHERE (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s))
  AND starts >= %(max_starts)s AND ((state = 'running' AND lease_until < now()) OR state = 'queued')
RETURNING key

-- name: take_stale
-- Jobs whose message or worker was lost, marked as sent now, so that of many who
-- look only one sends each. ``LeaseTimes`` says after how long a queued job is due. Soonest when
-- the workers' queue is empty, so that its message cannot be in there. Otherwise its message may
-- wait behind others, and one more would only make the queue longer: workers take them in the
-- order in which they were sent, so it is lost when one that was sent later is being computed.
-- All of that holds for each queue by itself: a feature may have one of its own, which "drained" names
-- when it is empty ("" for the one that all share).
-- A row is written by trainers: a request that is longer than messages may be is not even read.
-- A job that was given back unfinished has no message. A running one is due when its lease is over.
WITH taken AS (
    -- A job that is as old as its start was registered by its claim: its message was another client's.
    SELECT coalesce(request->>'queue', '') AS queue, max(coalesce(sent_ts, requested_ts)) AS up_to FROM jobs
    WHERE state = 'running' AND requested_ts < started_ts GROUP BY 1
)
UPDATE jobs SET sent_ts = now()
WHERE key IN (
    SELECT key FROM jobs CROSS JOIN LATERAL (
        SELECT coalesce(request->>'queue', '') = ANY(%(drained)s) AS idle,
            (SELECT up_to FROM taken WHERE taken.queue = coalesce(request->>'queue', '')) AS up_to) AS here
    WHERE (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s)) AND starts < %(max_starts)s
      AND request->'raw_data'->>'kind' <> 'caller'
      AND ((state = 'queued' AND coalesce(sent_ts, requested_ts) < now() - CASE
                WHEN here.idle THEN make_interval(secs => %(lost_when_idle_s)s)
                WHEN sent_ts IS NULL THEN make_interval(secs => %(lost_unsent_s)s)
                ELSE make_interval(secs => %(lost_sent_s)s) END
            AND (here.idle OR (sent_ts IS NULL AND starts + stops > 0)
                OR coalesce(sent_ts, requested_ts) < here.up_to
                OR (here.up_to IS NULL AND coalesce(sent_ts, requested_ts) < now() - greatest(
                    make_interval(secs => %(lost_when_unwatched_s)s), sent_ts - requested_ts))))
        OR (state = 'running' AND lease_until < now()
            AND (sent_ts IS NULL OR sent_ts < lease_until OR sent_ts < now() - make_interval(secs => %(resend_pause_s)s))))
    ORDER BY key LIMIT %(limit)s FOR UPDATE OF jobs SKIP LOCKED)
RETURNING key, CASE WHEN octet_length(request::text) > %(most_request_bytes)s THEN '{}' ELSE request END

-- name: delete_published
-- A job whose key has a live entry is over, however it came to be queued: the entry
-- was revived, or published while the request was on its way.
DELETE FROM jobs j USING manifest m
WHERE m.key = j.key AND m.state = 'live' AND (%(keys)s::text[] IS NULL OR j.key = ANY(%(keys)s))
  AND (j.state <> 'running' OR j.lease_until < now())
RETURNING j.key

-- name: look
-- What a waiter asks: is it there, is it being computed, did it fail? One round trip.
SELECT k.key, m.state, {manifest_locator}, {job_status}
FROM unnest(%(keys)s::text[]) AS k(key)
LEFT JOIN manifest m ON m.key = k.key
LEFT JOIN jobs_seen j ON j.key = k.key

-- name: find_job
SELECT {job} FROM jobs_seen j WHERE j.key = %(key)s

-- name: find_jobs_by_prefix
SELECT j.key FROM jobs_seen j WHERE j.key >= %(low)s AND j.key < %(high)s ORDER BY j.key LIMIT %(limit)s

-- name: reset
-- Lets a failed or dead job start anew.
DELETE FROM jobs WHERE key = %(key)s AND state IN ('failed', 'dead') RETURNING key

-- name: reset_failure
-- Only the very failure that was seen, as jobs_seen shows its owner: the token is that of no other claim.
DELETE FROM jobs
WHERE key = %(key)s AND state = 'failed'
  AND left(owner, -32) || left(encode(sha256(convert_to(owner, 'UTF8')), 'hex'), 32) = %(owner)s
RETURNING key

-- name: delete_old_failures
DELETE FROM jobs WHERE state = 'failed' AND finished_ts < now() - interval '1 day' RETURNING key

-- name: count_by_state
SELECT state, count(*) FROM jobs_seen GROUP BY state

-- name: abandon_callers
-- Computations that only their caller could run, whose caller is gone: nobody can be sent there.
-- A caller that was only frozen finds the fence closed; whoever asks next starts anew.
DELETE FROM jobs
WHERE state = 'running' AND lease_until < now() - make_interval(secs => %(caller_gone_s)s) AND request->'raw_data'->>'kind' = 'caller'
RETURNING key
