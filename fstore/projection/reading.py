"""Verified reads of some columns and row groups of a file whose tail has digests.

The bytes come from a function that is given several ranges (offset, length) at once, be they
on a disk, mapped or in an object store. Arrow is shown nothing but verified bytes: where it asked for others it
would get an error, and not what happens to lie there.
"""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fstore.projection.chunk_digests import Digest, Tail, chunks_of, digest_of, digests_in
from fstore.projection.selection import Selection, rows_between, time_field_of

ReadRanges = Callable[[Sequence[tuple[int, int]]], Sequence[Any]]
_FIRST = 4  # the magic at the beginning, which nothing depends on
_PARALLEL_FROM = 1 << 20
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


class DamagedFile(Exception):
    """Bytes are not those that were written; says which."""


class NoDigests(Exception):
    """The file was written without digests of its chunks, and can only be verified whole."""


class VerifiedFile:
    """A file of which parts can be read; opening it reads and verifies its tail."""

    def __init__(self, read_ranges: ReadRanges, size: int, tail: Tail, digest: Digest = digest_of) -> None:
        self._read_ranges = read_ranges
        self._digest = digest
        self._start = size - tail.bytes
        if self._start < _FIRST:
            raise DamagedFile(f"size: {size} bytes hold no tail of {tail.bytes}")
        found = memoryview(read_ranges([(self._start, tail.bytes)])[0])
        if len(found) != tail.bytes or digest(found).hex() != tail.digest:
            raise DamagedFile("digest: the tail is not what was written")
        said = digests_in(found)
        if said is None:
            raise NoDigests
        self._digests, footer = said
        self._bytes = _VerifiedBytes(size)
        try:
            # From the footer alone: Arrow would read more than it from the file's end, of bytes nobody verified.
            about = pq.read_metadata(pa.BufferReader(pa.py_buffer(found[footer:])))
            self._parquet = pq.ParquetFile(pa.PythonFile(self._bytes, mode="r"), metadata=about, pre_buffer=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedFile(f"unreadable: {error}") from error
        self._chunks = chunks_of(self._parquet.metadata)
        if len(self._chunks) != len(self._digests):
            raise NoDigests
        self.bytes_read = tail.bytes

    @property
    def schema(self) -> pa.Schema:
        """The schema of the whole file, with its metadata."""
        return self._parquet.schema_arrow

    @property
    def rows(self) -> int:
        """The rows of the whole file."""
        return int(self._parquet.metadata.num_rows)

    @property
    def groups(self) -> int:
        """The number of its row groups."""
        return int(self._parquet.metadata.num_row_groups)

    def group_rows(self, group: int) -> int:
        """The rows of a row group."""
        return int(self._parquet.metadata.row_group(group).num_rows)

    def groups_within(self, name: str, start: int | None, end: int | None, unit: str) -> list[int]:
        """List the row groups that may hold times of a column.

        From ``start`` up to ``end``, counted in ``unit``.
        """
        leaf = self._leaves([name])
        if len(leaf) != 1:
            return list(range(self.groups))
        about = self._parquet.metadata
        stored = _unit_of(about.schema.column(leaf[0]))
        kept = []
        for group in range(self.groups):
            known = about.row_group(group).column(leaf[0]).statistics
            if (
                stored != unit
                or known is None
                or not known.has_min_max
                or ((end is None or known.min_raw < end) and (start is None or known.max_raw >= start))
            ):
                kept.append(group)
        return kept

    def read(self, columns: Sequence[str] | None = None, groups: Iterable[int] | None = None) -> pa.Table:
        """Read columns, in the order of the file, of row groups.

        Raises ``DamagedFile`` for a chunk that is not what was written.
        """
        chosen = list(range(self.groups)) if groups is None else sorted(groups)
        names = self.schema.names if columns is None else [name for name in self.schema.names if name in columns]
        leaves = self._leaves(names)
        width = self._parquet.metadata.num_columns
        self._load([group * width + leaf for group in chosen for leaf in leaves])
        try:
            parallel = self.bytes_read > _PARALLEL_FROM
            table = self._parquet.read_row_groups(chosen, columns=names, use_threads=parallel)
            return table.select(names)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise DamagedFile(f"unreadable: {error}") from error

    def select(self, wanted: Selection) -> pa.Table | None:
        """Read a part of the result, and no row group without rows of it; None if it must be read whole."""
        names = wanted.fields_of(self.schema)
        if names is None:
            return None
        if wanted.between is None:
            return self.read(names).select(names)
        field = time_field_of(self.schema)
        ticks = wanted.between.ticks(field.type.unit, field.type.tz)
        read = self.read([*names, field.name], self.groups_within(field.name, *ticks, field.type.unit))
        return rows_between(read, field, wanted.between).select(names)

    def _leaves(self, names: Sequence[str]) -> list[int]:
        """List the leaf columns that Arrow reads for these: those called so, and those below one called so."""
        about = self._parquet.metadata
        paths = [about.schema.column(i).path for i in range(about.num_columns)]
        wanted = set(names)
        return [i for i, path in enumerate(paths) if not wanted.isdisjoint(_above(path))]

    def _load(self, wanted: Sequence[int]) -> None:
        missing = [at for at in wanted if not self._bytes.holds(self._chunks[at].offset)]
        chunks = [self._chunks[at] for at in missing]
        if any(each.offset < _FIRST or each.offset + each.length > self._start for each in chunks):
            raise DamagedFile("a chunk lies outside of the file's data")
        read = self._read_ranges([(each.offset, each.length) for each in chunks]) if chunks else ()
        for at, chunk, data in zip(missing, chunks, read, strict=True):
            found = memoryview(data)
            if len(found) != chunk.length or self._digest(found) != self._digests[at]:
                raise DamagedFile(f"digest: the {chunk.length} bytes at {chunk.offset} are not those that were written")
            self.bytes_read += chunk.length
            self._bytes.add(chunk.offset, found)


class _VerifiedBytes(io.RawIOBase):
    """A file of which some ranges are there; reading beyond them is an error."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._at = 0
        self._starts: list[int] = []
        self._ranges: list[memoryview] = []

    def add(self, offset: int, data: memoryview) -> None:
        at = bisect_right(self._starts, offset)
        self._starts.insert(at, offset)
        self._ranges.insert(at, data)

    def holds(self, offset: int) -> bool:
        at = bisect_right(self._starts, offset) - 1
        return at >= 0 and self._starts[at] == offset

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def size(self) -> int:
        return self._size

    def read(self, count: int | None = -1) -> Any:
        wanted = self._size - self._at if count is None or count < 0 else min(count, self._size - self._at)
        at = bisect_right(self._starts, self._at) - 1
        inside = self._at - self._starts[at] if at >= 0 else 0
        if at < 0 or inside + wanted > len(self._ranges[at]):
            raise OSError(f"{wanted} bytes at {self._at} were not verified")
        self._at += wanted
        return self._ranges[at][inside : inside + wanted]


def _above(path: str) -> list[str]:
    """List a leaf's path and all that it may lie below; a name may hold dots itself."""
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _unit_of(column: Any) -> str | None:
    said = json.loads(column.logical_type.to_json())
    return _UNITS.get(said.get("timeUnit")) if said.get("Type") == "Timestamp" else None
