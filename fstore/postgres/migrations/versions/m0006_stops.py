"""How often a computation was stopped with its worker.

A deploy must not count as one that ended its worker.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; workers of the version before neither read nor write it."""
    op.execute("ALTER TABLE jobs ADD COLUMN stops integer NOT NULL DEFAULT 0")
    op.execute(
        "COMMENT ON COLUMN jobs.stops IS 'orderly stops of its worker since the job was queued; not counted in starts'"
    )
