"""Raw data that share a file: cut out of it by their path, the file read once for those who read one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from fstore.errors import SourceChanged
from fstore.storage.layout import RawPart
from fstore.storage.verify import raw_in

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


def raw_part(path: str, part: RawPart, open_file: Callable[[str], ReadPart], last: LastRead | None) -> pa.Table:
    """Return raw data that lie in a file with others; ``last`` keeps it open for whoever reads one after the other."""
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
