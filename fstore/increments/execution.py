"""Computing partitions: each from a frame of its own that holds its window and nothing else.

There is no other way to compute a feature that declares a partition, be it the first
time, all of it, or one day of ten years: what does not differ cannot give other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.features import Declaration
from fstore.fingerprint import to_dataset
from fstore.frames import to_frame
from fstore.increments.contents import PartRecord, offsets_of, record_of
from fstore.increments.data import PartitionedData
from fstore.increments.naming import NamedPartition, Segment
from fstore.increments.results import joined, trimmed

Config = Callable[[], Mapping[str, Any]]


class PartitionFailed(Exception):
    """A feature function raised, for one partition; the error itself is the cause."""

    def __init__(self, label: str, period: str, error: Exception) -> None:
        super().__init__(label, period, error)
        self.label, self.period, self.error = label, period, error

    def __str__(self) -> str:
        return f"partition {self.label} of {self.period}: {type(self.error).__name__}: {self.error}"


@dataclass(frozen=True, slots=True)
class Made:
    """A segment's result, and what is known of its partitions."""

    table: pa.Table
    records: tuple[PartRecord, ...]
    copied: int = 0

    @property
    def computed(self) -> int:
        """How many partitions were computed."""
        return len(self.records) - self.copied


@dataclass(frozen=True, slots=True)
class Copies:
    """A relative's verified result, and which of its rows are whose."""

    table: pa.Table
    records: tuple[PartRecord, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A partition that is to be computed, and data that hold its window."""

    part: NamedPartition
    data: PartitionedData


def make_segment(
    func: Callable[..., Any],
    segment: Segment,
    data: PartitionedData,
    config: Config,
    *,
    kind: str = "pandas",
    copies: Copies | None = None,
    numerics: str = "",
    on_done: Callable[[NamedPartition], None] | None = None,
) -> Made:
    """Compute a segment's partitions and put them together.

    Save those that ``copies`` hold under the same names. ``config`` makes a new config at each call. Raises
    ``PartitionFailed`` for the first partition whose call raised, ``UnstorableResult`` where partitions do not fit
    together.
    """
    due = {part.name: Due(part, data) for part in segment.parts}
    return make_parts(
        func, segment.period, segment.names, due, config, kind=kind, copies=copies, numerics=numerics, on_done=on_done
    )


def make_parts(
    func: Callable[..., Any],
    period: str,
    names: Sequence[bytes],
    due: Mapping[bytes, Due],
    config: Config,
    *,
    kind: str = "pandas",
    copies: Copies | None = None,
    numerics: str = "",
    on_done: Callable[[NamedPartition], None] | None = None,
) -> Made:
    """Do the same for partitions by their names.

    What ``copies`` do not hold is ``due``, with data of its own perhaps.
    """
    kept = offsets_of(copies.records) if copies else {}
    known = {record.name: record for record in copies.records} if copies else {}
    tables: list[pa.Table] = []
    records: list[PartRecord] = []
    labels: list[str] = []
    for name in names:
        if copies and name in kept:
            tables.append(copies.table.slice(*kept[name]))
            records.append(known[name])
            labels.append(f"a partition of {period} that was computed before")
            continue
        part, data = due[name].part, due[name].data
        window = data.windows[part.window.at]
        result = _called(func, data.rows(window.first, window.stop), config, kind, part, period)
        tables.append(trimmed(result, part.span, part.label, is_zoned=data.is_zoned, time=data.declared.time))
        records.append(record_of(part, data.table().schema, tables[-1].num_rows, numerics))
        labels.append(f"partition {part.label}")
        if on_done:
            on_done(part)
    return Made(joined(tables, labels), tuple(records), sum(name in kept for name in names))


def whole_result(
    func: Callable[..., Any],
    raw: pd.DataFrame | pa.Table,
    config: Config,
    declared: Declaration,
    *,
    kind: str = "pandas",
) -> pa.Table:
    """Compute a feature over all of the data by its contract, and put the segments together."""
    data = PartitionedData(raw, declared)
    made = [(segment, make_segment(func, segment, data, config, kind=kind)) for segment in data.segments()]
    return composed([(segment.period, one.table) for segment, one in made])


def composed(segments: Sequence[tuple[str, pa.Table]]) -> pa.Table:
    """Put segments together, in order of time; raises ``UnstorableResult`` naming two that do not fit."""
    if not segments:
        raise InvalidRequest("raw_data", "no partition has rows, so nothing tells what columns a result would have")
    return joined([table for _, table in segments], [f"segment {period}" for period, _ in segments])


def _called(
    func: Callable[..., Any], rows: pa.Table, config: Config, kind: str, part: NamedPartition, period: str
) -> object:
    given = rows if kind == "arrow" else to_dataset(rows) if kind == "dataset" else to_frame(rows)
    try:
        return func(given, config())
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except Exception as error:  # whatever the function raises, its author is told for which day
        raise PartitionFailed(part.label, period, error) from error
