"""Packs: several small entries in one file, found by the entries that still lie in it.

A row says in its path where in a pack it lies (``storage/layout.py``), so the manifest has no
new column, and workers of two versions publish beside each other. The index holds packed
entries alone: whether any row still names a pack is asked before the file goes.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEX = """
CREATE INDEX manifest_packs ON manifest (split_part(path, '/', 4)) WHERE split_part(path, '/', 2) = 'packs';
COMMENT ON INDEX manifest_packs IS 'which entries lie in a pack; a pack goes with the last row that names it';
"""


def upgrade() -> None:
    """Create the index."""
    op.execute(INDEX)
