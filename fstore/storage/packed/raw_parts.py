"""Raw data that share a file, cut out of it by their path.

The file is read once for those who read one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from fstore.errors import SourceChanged
from fstore.storage.layout import RawPart
from fstore.storage.parquet import arrow_bytes
from fstore.storage.verify import raw_in

FILE_BYTES = 8 << 20
"""After which a file is full: texts may be of any length, and a bucket gives the whole of it to whoever wants a part."""

ReadPart = Callable[[int, int], pa.Buffer]
"""Returns the bytes of an open file from an offset on, as many as are wanted or as there are."""


@dataclass(slots=True)
class LastRead:
    """The file of several raw data that was read last, open."""

    path: str = ""
    read: ReadPart | None = None

    def close(self) -> None:
        """Hold it open no longer."""
        self.path, self.read = "", None


def in_files(raw: Iterable[tuple[str, pa.Table]]) -> Iterator[list[tuple[str, pa.Buffer]]]:
    """Give what is to lie in one file, digest and bytes each; no more than that is held in memory."""
    some, size = list[tuple[str, pa.Buffer]](), 0
    for digest, table in raw:
        data = arrow_bytes(table)
        if some and size + data.size > FILE_BYTES:
            yield some
            some, size = [], 0
        some.append((digest, data))
        size += data.size
    if some:
        yield some


def raw_part(path: str, part: RawPart, open_file: Callable[[str], ReadPart], last: LastRead | None) -> pa.Table:
    """Return raw data that lie in a file with others.

    ``last`` keeps it open for whoever reads one after the other.
    """
    read = last.read if last is not None and last.path == part.path else None
    if read is None:
        try:
            read = open_file(part.path)
        except SourceChanged as error:
            raise SourceChanged(path, error.reason) from error
        if last is not None:
            last.path, last.read = part.path, read
    return raw_in(path, read(part.offset, part.length))


def part_of(data: pa.Buffer) -> ReadPart:
    """Return what reads bytes that are in memory already."""

    def read(offset: int, length: int) -> pa.Buffer:
        first = min(offset, data.size)  # a message says both
        return data.slice(first, min(length, data.size - first))

    return read
