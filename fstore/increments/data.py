"""Raw data in memory, cut by a declaration: partitions to be named, and windows to be computed from.

The same class serves who asks, with all of the data, and who computes, with no more than
the *run* of consecutive partitions that a segment's windows touch: names do not depend on
what lies beyond, so the one's can be held against the other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import pandas as pd
import pyarrow as pa

from fstore.errors import SourceChanged
from fstore.features import Declaration
from fstore.fingerprint import table_in_form
from fstore.frames import describe, look_at, table_of
from fstore.increments.cutting import Cut, cut_times
from fstore.increments.digests import Progress, digested
from fstore.increments.naming import NamedPartition, Segment, named, segments_of
from fstore.increments.table import PartitionTable
from fstore.increments.times import times_of
from fstore.increments.windows import Window, windows_of


class PartitionedData:
    """A frame or a table, cut.

    ``known`` spares it the digests that somebody holds already, as of an ingested file.
    """

    def __init__(
        self, raw: pd.DataFrame | pa.Table, declared: Declaration, known: PartitionTable | None = None
    ) -> None:
        self.declared = declared
        self.times = times_of(raw, declared.time)
        self.cut: Cut = cut_times(self.times, declared.cut)
        self._raw = raw
        self._table = known
        self._whole: pa.Table | None = None
        self._schema: pa.Schema | None = None

    @cached_property
    def windows(self) -> list[Window]:
        """Which rows each partition is computed from; who only asks does not need to know."""
        return windows_of(self.times, self.cut, self.declared)

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self._raw.shape[1])

    @property
    def is_zoned(self) -> bool:
        """Have the times a zone."""
        return self.times.zone is not None

    def table(self, progress: Progress | None = None) -> PartitionTable:
        """Digest all partitions, once."""
        if self._table is None:
            self._table = digested(self._raw, self.times, self.cut, self.declared.cut, self.declared.time, progress)
        return self._table

    def parts(self, only: Sequence[int] | None = None, *, numerics: str = "") -> list[NamedPartition]:
        """Name all partitions, or those at the positions ``only``."""
        windows = self.windows if only is None else [self.windows[at] for at in only]
        return named(self.table(), self.declared, windows, numerics=numerics)

    def segments(self, only: Sequence[int] | None = None, *, numerics: str = "") -> list[Segment]:
        """Name partitions and put them into segments."""
        return segments_of(self.parts(only, numerics=numerics), self.declared)

    def segment(self, period: str, names: Sequence[bytes], where: str, *, numerics: str = "") -> Segment:
        """Find the segment that was asked for by the names of its partitions.

        Raises ``SourceChanged`` if one is not there.
        """
        found = {part.name: part for part in self.parts(numerics=numerics)}
        if missing := sum(name not in found for name in names):
            raise SourceChanged(
                where, f"{missing} of {len(names)} partitions of {period} are not what was asked for; ask again"
            )
        return Segment(period, tuple(found[name] for name in names))

    def rows(self, first: int, stop: int) -> pa.Table:
        """Return rows in the one form, in memory of their own.

        Where they lay must not show, not even in the last bit.
        """
        if self._whole is None:
            self._whole = rangeless(self._raw)
        return own_table(self._whole, first, stop)

    def stretch(self, first: int, stop: int) -> pa.Table:
        """Return the same of a frame without converting its other rows: of a long history a month is wanted."""
        if not isinstance(self._raw, pd.DataFrame):
            return self.rows(first, stop)
        if self._schema is None:
            self._schema = look_at(self._raw).schema
        table = _without_range(table_of(look_at(self._raw.iloc[first:stop], self._schema)))
        return own_table(table, 0, table.num_rows)

    def run(self, segment: Segment) -> pa.Table:
        """Return the rows of all partitions that the windows of a segment touch.

        That is what is needed to compute it elsewhere.
        """
        low, high = segment.reach
        return self.stretch(self.cut.rows[low], self.cut.rows[high + 1])


def rangeless(raw: pd.DataFrame | pa.Table) -> pa.Table:
    """Convert raw data to the one form without the RangeIndex that would tell windows where they lie."""
    return _without_range(table_of(look_at(raw)) if isinstance(raw, pd.DataFrame) else raw)


def _without_range(table: pa.Table) -> pa.Table:
    about = describe(table.schema)
    fields = [table.schema.field(i) for i in about.order]
    columns = [table.column(i) for i in about.order]
    return table_in_form(pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=about.form.metadata)))


def own_table(whole: pa.Table, first: int, stop: int) -> pa.Table:
    """Copy rows of a table without a RangeIndex into memory of their own."""
    columns = []
    for column in whole.slice(first, stop - first).columns:
        chunks = column.chunks or [pa.nulls(0, column.type)]
        columns.append(pa.concat_arrays([*chunks, chunks[0].slice(0, 0)]))  # of one array alone it makes no copy
    return table_in_form(pa.Table.from_arrays(columns, schema=whole.schema))
