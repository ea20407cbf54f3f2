"""Reading the rows that partitions are computed from, and no others.

Each is checked by the name that it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import pandas as pd
import pyarrow as pa

from fstore.errors import InvalidRequest, SourceChanged, UnhashableInput
from fstore.features import Declaration
from fstore.increments.assigned.assignment import Assignment
from fstore.increments.data import PartitionedData
from fstore.increments.execution import Due

ReadRows = Callable[[int, int], pd.DataFrame | pa.Table]


def read_due(
    assigned: Assignment, declared: Declaration, read: ReadRows, where: str, wanted: Collection[bytes]
) -> dict[bytes, Due]:
    """Read the rows that some partitions need, and make sure that they are what was asked for.

    ``read`` returns rows of the source by their numbers. Raises ``SourceChanged``, naming
    ``where``, if they give other names.
    """
    due: dict[bytes, Due] = {}
    for low, high in assigned.stretches(wanted):
        first = assigned.first + sum(assigned.rows[:low])
        given = read(first, first + sum(assigned.rows[low : high + 1]))
        try:
            data = PartitionedData(given, declared)
            due |= {
                part.name: Due(part, data) for part in data.parts(numerics=assigned.numerics) if part.name in wanted
            }
        except (UnhashableInput, InvalidRequest) as error:  # what was identified could be cut
            raise SourceChanged(where, f"its content is not what was identified ({error}); ask again") from error
    if missing := sum(name not in due for name in wanted):
        raise SourceChanged(
            where, f"{missing} of {len(wanted)} partitions of {assigned.period} are not what was identified; ask again"
        )
    return due
