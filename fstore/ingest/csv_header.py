"""Does the first row of a CSV file hold names, or data? What reads as the other thing is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest
from fstore.ingest.csv_cells import MISSING, ColumnShapes, Shape, type_for
from fstore.ingest.csv_layout import CsvLayout
from fstore.ingest.csv_text import CsvText

_FOREIGN = {";": "';'", "\t": "'tab'", "|": "'|'", ",": "','"}
_STAMP = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.Z+-]+")
_DATA = re.compile(
    r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?|[+-]?\d{1,2}:\d\d\b.*|[+-]?(\d+[.,]?\d*|[.,]\d+)[eE][+-]?\d+|0[xX][0-9a-fA-F]+"
    r"|[+-]?inf(inity)?|true|false|none",
    re.IGNORECASE | re.DOTALL,
)
_WAYS_OUT = (
    "say --no-header with --names a,b,c (header=False, names=[...]), or --header (header=True) if these are names"
)


def check_first_row(file: Path, text: CsvText, layout: CsvLayout) -> None:
    """Raise ``InvalidRequest`` for a first row that another delimiter cuts, or that must be names but reads as data."""
    row, mark = text.first_row, layout.delimiter_of(file)
    strange = _foreign(text, mark) if not layout.mark else None
    if strange:
        raise InvalidRequest(
            "raw_data",
            f"{file} has {len(row)} column(s), first {_short(row[0])}, when cut at {_FOREIGN[mark]}; say --delimiter "
            f"{strange} (delimiter={strange}) if it is cut there, or --delimiter {_FOREIGN[mark]} if the cells are whole",
        )
    if layout.header is not None:
        return
    for at, name in enumerate(row):
        if reads_as_data(name):
            raise InvalidRequest("raw_data", f"{file}: the first row reads as data ({_short(name)}); {_WAYS_OUT}")
        # One nameless column at an edge is what an index, or a delimiter at the end of each row, leaves.
        if (not name.strip() and at not in (0, len(row) - 1)) or name in row[:at]:
            fault = f"holds {_short(name)} twice" if name in row[:at] else f"has no name for column {at + 1}"
            raise InvalidRequest("raw_data", f"{file}: the first row {fault}; {_WAYS_OUT}")


def reads_as_data(cell: str) -> bool:
    """Tell whether a cell is a number, a time or a missing value rather than a name.

    What has digits and no letter is data, and so is a date or a clock time with whatever
    follows (``01.01.2024 00:00 GMT+0100``), ``1E5``, ``0x1F`` and ``NaN``; ``5min_return`` and ``10y`` are names.
    """
    cell = cell.strip()
    if any(sign.isdigit() for sign in cell) and not any(sign.isalpha() for sign in cell):
        return True
    return cell in MISSING or _DATA.fullmatch(cell) is not None


def check_own_name(file: Path, name: str, cells: pa.Array, layout: CsvLayout) -> None:
    """Raise ``InvalidRequest`` when a column holds its own name: data taken for names, or names again among the data."""
    if layout.header is not True and name and pc.any(pc.equal(cells, name)).as_py():
        raise InvalidRequest(
            "raw_data",
            f"{file}: column {name!r} holds its own name: the first row is data, or a later one repeats it; {_WAYS_OUT}",
        )


def check_no_header(
    file: Path, row: Sequence[str], names: Sequence[str], shapes: Mapping[str, Set[Shape]], layout: CsvLayout
) -> None:
    """Raise ``InvalidRequest`` when the first row of a file said to have no header makes text of what is not."""
    for name, cell in zip(names, row, strict=False):
        own = ColumnShapes(decimal=layout.decimal)
        own.look(pa.array([cell]))
        before = type_for(shapes[name])
        if before in (pa.null(), pa.string()) or reads_as_data(cell) or not cell.strip():
            continue
        if type_for(shapes[name] | own.seen) == pa.string():
            raise InvalidRequest(
                "raw_data",
                f"{file}: the first row reads as a header ({_short(cell)} in a column of {before}); leave out "
                f"--no-header (header=False), or keep the column as text (--text-column {name})",
            )


def _foreign(text: CsvText, mark: str) -> str | None:
    """Name what the first row may really be cut at.

    Of one cell that is a comma as well, and a space or a colon if the next row has as
    many. In a row of several, decimal commas may have made the cells.
    """
    row, alone = text.first_row, len(text.first_row) == 1
    found = next((sign for sign in _FOREIGN if sign != mark and (alone or sign != ",") and sign in "".join(row)), None)
    if found is None and alone and len(text.second_row) == 1 and not _STAMP.fullmatch(text.second_row[0].strip()):
        for sign, name in ((None, "'space'"), (":", "':'")):
            if 1 < len(row[0].split(sign)) == len(text.second_row[0].split(sign)):
                return name
    return _FOREIGN.get(found or "")


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 60 else f"{cell[:60]}...")
