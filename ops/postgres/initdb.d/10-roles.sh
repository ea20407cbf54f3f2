#!/bin/sh
# Runs once, when the database is created: gives every role of fstore a login of its own.
# What each may do is granted by 'fstore migrate'.
set -eu

for role in trainer worker upkeep monitor; do
    password="$(cat "/run/secrets/postgres_${role}_password")"
    # The password goes in over standard input: everybody can read argument lists.
    psql -v ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
CREATE ROLE fstore_${role} LOGIN PASSWORD '${password}';
SQL
done
