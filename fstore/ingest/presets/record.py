"""What one published layout is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fstore.ingest.rows.cells import Kind


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, how its cells are written, and its name in the file.

    That is a pattern; its own name if not said. An empty cell is refused unless ``may_be_empty``; ``optional``
    columns are not in every file.
    """

    name: str
    kind: Kind
    header: str | None = None
    may_be_empty: bool = False
    optional: bool = False

    def is_called(self, cell: str) -> bool:
        """Tell whether a cell of a header names it, in whatever case."""
        return re.fullmatch(self.header or re.escape(self.name), cell.strip(), re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class Preset:
    """A published layout.

    ``header`` says whether files begin with names: columns are found by them (``"always"``), stand
    in their order (``"never"``), or in their order, below names in some files (``"sometimes"``).
    ``time`` is the column that becomes the index, in ``zone`` if it is naive: None for a file
    that does not say which, so that the caller must. ``day`` is the column of days that belongs before it.
    ``file`` is the pattern of the files' names, where a folder holds others as well.
    ``levels`` are columns of a book, repeated with _1, _2 and so on for as many levels as a row has.
    """

    name: str
    about: str
    columns: tuple[Column, ...]
    time: str
    header: Literal["always", "never", "sometimes"] = "always"
    zone: str | None = "UTC"
    day: str | None = None
    symbol: str | None = None
    delimiter: str = ","
    link_on_top: bool = False
    newest_first: bool = False
    file: str | None = None
    levels: tuple[Column, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether columns are known by where they stand."""
        return self.header != "always"
