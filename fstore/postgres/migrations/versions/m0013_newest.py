"""The newest entries are found by an index, not by sorting all of them.

``fstore ls`` shows them, and a batch of misses asks what the last computations of its feature
took; at a million rows both read and sorted all rows there are, of a feature at least. Times only grow, so that
a publish adds at the end of the index.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEX = """
CREATE INDEX manifest_newest ON manifest (created_ts);
COMMENT ON INDEX manifest_newest IS 'the newest entries, and what the last computations of a feature took';
"""


def upgrade() -> None:
    """Create the index."""
    op.execute(INDEX)
