-- name: find_live
-- The hit path: primary key, few columns, no lock that a publisher could make wait.
SELECT {locator}
FROM manifest WHERE key = %(key)s AND state = 'live'

-- name: find_live_many
SELECT {locator}
FROM manifest WHERE key = ANY(%(keys)s) AND state = 'live'

-- name: find_live_entries
SELECT {entry} FROM manifest WHERE key = ANY(%(keys)s) AND state = 'live'

-- name: find_entry
SELECT {entry} FROM manifest WHERE key = %(key)s

-- name: find_by_prefix
SELECT {entry} FROM manifest WHERE key >= %(low)s AND key < %(high)s ORDER BY key LIMIT %(limit)s

-- name: list_entries
SELECT {entry} FROM manifest
WHERE (%(symbol)s::text IS NULL OR symbol = %(symbol)s) AND (%(feature)s::text IS NULL OR feature = %(feature)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (NOT %(pinned)s OR EXISTS (SELECT FROM pins WHERE pins.key = manifest.key))
ORDER BY created_ts DESC, key LIMIT %(limit)s

-- name: nearest_entries
-- What explain compares a miss with: entries of the same feature, those first that share most of their key's
-- parts, however many newer ones share less; of equals those of the same symbol, then the newest.
SELECT {entry} FROM manifest WHERE feature = %(feature)s
ORDER BY (symbol = %(symbol)s)::int + (feature_version = %(feature_version)s)::int + (config::text = %(config)s)::int
    + (fingerprint = %(fingerprint)s)::int DESC, (symbol = %(symbol)s) DESC, created_ts DESC LIMIT %(limit)s

-- name: other_source
-- Has this explicit version been published with other source code? Only digests of one format can be compared,
-- and entries older than that mark have the first one.
SELECT {entry} FROM manifest
WHERE feature = %(feature)s AND feature_version = %(feature_version)s AND source_digest NOT IN (%(source_digest)s, '')
  AND coalesce(library_versions->>'source_format', 'fstore-source-1') = %(source_format)s
LIMIT 1

-- name: find_segments
-- Relatives of a segment: for each period a few, the latest first. The manifest alone says whether they are live.
SELECT s.series, s.period, s.names, {manifest_locator}
FROM unnest(%(series)s::text[], %(periods)s::text[]) AS p(series, period)
CROSS JOIN LATERAL (
    SELECT k.series, k.period, k.names, k.key, k.created_ts FROM segments k
    WHERE k.series = decode(p.series, 'hex') AND k.period = p.period ORDER BY k.created_ts DESC LIMIT %(limit)s) AS s
JOIN manifest m ON m.key = s.key AND m.state = 'live'
ORDER BY s.series, s.period, s.created_ts DESC, s.key

-- name: find_segment
SELECT series, period, names FROM segments WHERE key = %(key)s

-- name: segments_of
SELECT key, series, period, names FROM segments WHERE key = ANY(%(keys)s)

-- name: count_segments
SELECT count(*), coalesce(sum(cardinality(s.names)), 0)::bigint
FROM segments s JOIN manifest m ON m.key = s.key AND m.state = 'live'

-- name: publish
-- One statement, one transaction, one round trip (migration 0004). No row comes back when
-- somebody else is publishing; the offers then lie in pending.
-- Running it twice is harmless: the second time the fence holds nothing and the
-- outcome tells by its path whether the first one was committed.
SELECT * FROM fstore_publish(%(offers)s::jsonb)

-- name: settle
-- Waits for whoever publishes now. No row comes back when these offers were not among what
-- was moved and it is still somebody else's turn: ask again.
SELECT * FROM fstore_settle(%(offers)s::jsonb)

-- name: quarantine
-- Only the very file that was found wrong: a row that points to another one by now stays.
-- A function, because trainers may hide what they find wrong but not write rows (migration 0002).
SELECT * FROM fstore_quarantine(%(key)s, %(path)s)

-- name: condemn
-- A function as well; see quarantine.
SELECT * FROM fstore_condemn(%(key)s, %(symbol)s, %(feature)s)

-- name: pin
-- A function, because trainers may pin but not write the table (migration 0009).
SELECT * FROM fstore_pin(%(keys)s::text[], %(wanted)s)

-- name: condemn_one
-- What trainers may do: name each entry that they hide (migration 0008).
SELECT * FROM fstore_condemn_one(%(key)s)

-- name: revive
-- A request for a condemned entry takes it back, as long as it has not been reaped.
-- One that somebody invalidated is computed anew: its numbers are not wanted.
UPDATE manifest SET state = 'live', condemned_ts = NULL
WHERE key = %(key)s AND state = 'condemned' AND NOT withdrawn AND condemned_ts > now() - make_interval(secs => %(youngest_s)s)
RETURNING {locator}

-- name: count_by_state
SELECT state, count(*), coalesce(sum(file_size_bytes), 0) FROM manifest GROUP BY state

-- name: totals_by
SELECT {column}, count(*), coalesce(sum(file_size_bytes), 0) FROM manifest WHERE state = 'live'
GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT %(limit)s

-- name: expected_seconds
-- What a computation of this feature usually takes.
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY compute_seconds) FROM (
    SELECT compute_seconds FROM manifest WHERE feature = %(feature)s ORDER BY created_ts DESC LIMIT 50) AS recent

-- name: store_identity
SELECT store_id, format FROM store
