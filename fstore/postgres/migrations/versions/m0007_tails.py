"""What verifies parts of an entry's file.

Length and digest of its tail, which holds a digest of each column chunk. Entries published before, and those of
workers of the version before while a deploy goes on, have none and are read whole.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and write ``fstore_move`` anew with them."""
    op.execute("ALTER TABLE manifest ADD COLUMN tail_bytes integer, ADD COLUMN tail_digest text")
    op.execute(
        "COMMENT ON COLUMN manifest.tail_bytes IS "
        "'length of the end of the file that holds digests of its column chunks; NULL: it is read whole'"
    )
    op.execute("COMMENT ON COLUMN manifest.tail_digest IS 'hex BLAKE3 of these bytes'")
    op.execute("SELECT fstore_make_move()")
