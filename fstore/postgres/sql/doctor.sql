-- name: server
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
    current_setting('lock_timeout')::interval > current_setting('deadlock_timeout')::interval,
    current_setting('lock_timeout'), current_setting('deadlock_timeout'),
    current_setting('fsync')::boolean, pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8

-- name: has_revision
SELECT to_regclass('alembic_version') IS NOT NULL

-- name: revision
SELECT version_num FROM alembic_version
