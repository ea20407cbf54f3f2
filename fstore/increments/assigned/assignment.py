"""What whoever computes a segment has to know besides its rows, small enough for a message.

Names commit to all that partitions depend on, so a partition that a relative holds under
its name needs no rows, and the rows of another are right if the name that they give is
the one that was asked for. So of a month to which a day was appended that day is read
and no more.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fstore.errors import InvalidRequest
from fstore.features import MOST_IN_A_SEGMENT, Declaration
from fstore.increments.naming import Segment, fingerprint_of
from fstore.increments.table import PartitionTable


@dataclass(frozen=True, slots=True)
class Assignment:
    """One segment to be computed from the *run* of partitions that its windows reach into.

    ``rows`` are those of the run's partitions, of which the segment's own begin at ``at``;
    each own one has a name, and reaches from the partition ``low`` to ``high`` of the run.
    ``first`` is the run's first row in its source, 0 where the run lies by itself. ``numerics``
    says what must compute it, where the names commit to that too.
    """

    declared: str
    period: str
    first: int
    rows: tuple[int, ...]
    at: int
    names: tuple[bytes, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    numerics: str = ""

    def __post_init__(self) -> None:
        own = range(self.at, self.at + len(self.names))
        fits = len(self.low) == len(self.high) == len(self.names) and 0 < len(self.names) <= MOST_IN_A_SEGMENT
        fits = fits and self.at >= 0 and self.first >= 0 and all(0 < rows < 1 << 48 for rows in self.rows)
        if not fits or not all(
            0 <= low <= at <= high < len(self.rows) for low, at, high in zip(self.low, own, self.high, strict=True)
        ):
            raise InvalidRequest("segment", "its partitions do not fit together")

    @property
    def fingerprint(self) -> str:
        """What the names come to in a key."""
        return fingerprint_of(self.names)

    @property
    def total_rows(self) -> int:
        """The rows of the whole run."""
        return sum(self.rows)

    def stretches(self, wanted: Collection[bytes]) -> list[tuple[int, int]]:
        """List what of the run the windows of some partitions reach into.

        As first and last partition, apart from each other.
        """
        found: list[tuple[int, int]] = []
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if name not in wanted:
                continue
            if found and low <= found[-1][1] + 1:
                found[-1] = (min(found[-1][0], low), max(found[-1][1], high))
            else:
                found.append((low, high))
        return found


def assign(
    segment: Segment, table: PartitionTable, declared: Declaration, *, in_source: bool, numerics: str = ""
) -> Assignment:
    """Say what it takes to compute a segment of data with this table.

    From their source or from the run alone.
    """
    low, high = segment.reach
    rows = table.cut.rows
    return Assignment(
        declared=declared.text,
        period=segment.period,
        first=rows[low] if in_source else 0,
        rows=tuple(each.rows for each in table.partitions[low : high + 1]),
        at=segment.parts[0].window.at - low,
        names=segment.names,
        low=tuple(part.window.low - low for part in segment.parts),
        high=tuple(part.window.high - low for part in segment.parts),
        numerics=numerics,
    )
