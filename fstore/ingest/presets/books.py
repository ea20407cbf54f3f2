"""Order books whose times stand in another file, row for row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from fstore.errors import InvalidRequest


def twin_of(file: Path) -> Path:
    """Return the message file that belongs to an orderbook file; raises ``InvalidRequest`` without one."""
    twin = file.with_name(file.name.replace("_orderbook_", "_message_"))
    if twin == file or not twin.is_file():
        raise InvalidRequest(
            "raw_data", f"{file.name} has no times of its own; put its message file beside it, as {twin.name}"
        )
    return twin


def read_beside(rows: Iterator[pa.RecordBatch], times: Iterator[pa.Array], file: Path) -> Iterator[pa.RecordBatch]:
    """Put the times before the rows; both must be as many."""
    left = None
    for batch in rows:
        parts, wanted = [], batch.num_rows
        while wanted:
            if left is None or not len(left):
                left = next(times, None)
            if left is None:
                raise _unequal(file, "fewer")
            parts.append(left[:wanted])
            left = left[wanted:]
            wanted -= len(parts[-1])
        if parts:
            yield pa.RecordBatch.from_arrays(
                [pa.concat_arrays(parts), *batch.columns], names=["time", *batch.schema.names]
            )
    if (left is not None and len(left)) or next(times, None) is not None:
        raise _unequal(file, "more")


def _unequal(file: Path, how: str) -> InvalidRequest:
    return InvalidRequest(
        "raw_data", f"the message file of {file.name} has {how} rows than it, so no row has its time; get both again"
    )
