"""Segments that another one holds all of are marked when either comes.

What was copied from an entry asks for it once more.

A collection gives up marked ones; looking for them among all that there are took the
longer the more there were. A mark alone decides nothing: whoever reads it compares again,
for the other one may be gone or hidden by then.

A segment that was copied from an entry in part is published only if that very entry still
answers, under the lock that whoever hides one waits for. Its job ends all the same: who
asks next computes without it.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLE = """
ALTER TABLE segments ADD COLUMN is_held boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN segments.is_held IS 'another segment of its series and period held all of its partitions when the later of both came';
CREATE INDEX segments_held ON segments (key) WHERE is_held;
UPDATE segments s SET is_held = true WHERE EXISTS (
    SELECT FROM segments o WHERE o.series = s.series AND o.period = s.period AND o.key <> s.key
        AND s.names <@ o.names AND NOT o.names <@ s.names);
"""

# After the row, so that rows of one statement see each other. Publishers take turns: no two come at once unseen.
MARK = """
CREATE FUNCTION fstore_mark_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE segments o SET is_held = true
    WHERE o.series = NEW.series AND o.period = NEW.period AND o.key <> NEW.key AND NOT o.is_held
        AND o.names <@ NEW.names AND NOT NEW.names <@ o.names;
    UPDATE segments s SET is_held = NOT s.is_held
    WHERE s.key = NEW.key AND s.is_held <> EXISTS (
        SELECT FROM segments o WHERE o.series = NEW.series AND o.period = NEW.period AND o.key <> NEW.key
            AND NEW.names <@ o.names AND NOT o.names <@ NEW.names);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION fstore_mark_held IS 'marks segments all of whose partitions another one holds';
CREATE TRIGGER segments_mark_held AFTER INSERT OR UPDATE OF names, series, period ON segments
    FOR EACH ROW EXECUTE FUNCTION fstore_mark_held();
"""

# A sub-select rather than EXISTS, which a planner that expects many offers would answer by reading the whole manifest.
ANCHOR = "    FROM candidate JOIN fence USING (path)\n    ON CONFLICT"
CHECKED = """    FROM candidate JOIN fence USING (path)
    WHERE candidate.segment->'copied' IS NULL OR coalesce((
        SELECT r.state = 'live' AND r.path = candidate.segment->'copied'->>'path'
        FROM manifest r WHERE r.key = candidate.segment->'copied'->>'key'), false)
    ON CONFLICT"""


def upgrade() -> None:
    """Mark what is held, and have publishing mark and ask.

    The rest of what publishing does stays as it was written before.
    """
    bind = op.get_bind()
    bind.exec_driver_sql(TABLE + MARK)
    text = str(bind.exec_driver_sql("SELECT pg_get_functiondef('fstore_make_move'::regproc)").scalar_one())
    if text.count(ANCHOR) != 1:
        raise RuntimeError("fstore_make_move is not as the migrations before have written it")
    bind.exec_driver_sql(text.replace(ANCHOR, CHECKED).replace("%", "%%"))
    bind.exec_driver_sql("SELECT fstore_make_move()")
