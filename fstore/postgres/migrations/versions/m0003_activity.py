"""What happened in each hour.

A report can show a ratio over time and when the store was degraded by it.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE activity (
    hour timestamptz NOT NULL,
    name text NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (hour, name)
);
COMMENT ON TABLE activity IS 'counters by the hour in which they were flushed, at most a minute after they were counted';
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(TABLE)
