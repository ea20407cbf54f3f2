-- name: recall
SELECT digest FROM sources WHERE stamp = %(stamp)s

-- name: remember
-- The stamp tells everything that shows that a file is unchanged; equal stamps
-- have equal digests, so whoever comes second changes nothing.
INSERT INTO sources (stamp, path, digest, recorded_ts) VALUES (%(stamp)s, %(path)s, %(digest)s, now())
ON CONFLICT (stamp) DO NOTHING
