-- name: recall
SELECT digest FROM sources WHERE stamp = %(stamp)s

-- name: remember
-- The stamp tells everything that shows that a file is unchanged; equal stamps
-- have equal digests, so whoever comes second changes nothing.
INSERT INTO sources (stamp, path, digest, recorded_ts) VALUES (%(stamp)s, %(path)s, %(digest)s, now())
ON CONFLICT (stamp) DO NOTHING

-- name: recall_many
SELECT stamp, digest FROM sources WHERE stamp = ANY(%(stamps)s)

-- name: remember_many
-- In order of their stamps, so that two who remember the same files never wait for each other in a circle.
INSERT INTO sources (stamp, path, digest, recorded_ts)
SELECT s.stamp, s.path, s.digest, now()
FROM unnest(%(stamps)s::text[], %(paths)s::text[], %(digests)s::text[]) AS s(stamp, path, digest)
ORDER BY s.stamp
ON CONFLICT (stamp) DO NOTHING
