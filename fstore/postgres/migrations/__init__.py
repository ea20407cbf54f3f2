"""Alembic migrations of fstore's tables; ``fstore migrate`` runs them."""
