"""The servers of a local stack: a real Postgres and a real Redis."""
