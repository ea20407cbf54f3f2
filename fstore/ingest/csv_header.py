"""Does the first row of a CSV file hold names, or data? What reads as the other thing is refused.

Numbers and dates are names all the same where the rows below leave no doubt: next to a
word above times (``time,5,15``), as dates above numbers, as years in a row above numbers that are no
years (``country,2019,2020``), and counted from nought above a nameless index that counts as well, or of times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest
from fstore.ingest.csv_cells import MISSING, ColumnShapes, Shape, type_for
from fstore.ingest.csv_layout import CsvLayout
from fstore.ingest.csv_text import CsvText

_FOREIGN = {";": "';'", "\t": "'tab'", "|": "'|'", ",": "','"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d[\d:.Z+-]*")
_DATA = re.compile(
    r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?|[+-]?\d{1,2}:\d\d\b.*|[+-]?(\d+[.,]?\d*|[.,]\d+)[eE][+-]?\d+|0[xX][0-9a-fA-F]+"
    r"|[+-]?inf(inity)?|true|false|none",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"[<\[]?[^\W\d][\w ]*[>\]]?")
_DATE = re.compile(r"\d{4}-\d\d(-\d\d)?([ T].*)?|\d\d/\d\d/\d{4}")
_INDEX = re.compile(r"0|\d{4}-\d\d-\d\d.*")
_YEAR = re.compile(r"(19|20)\d\d")
_WAYS_OUT = (
    "say --no-header with --names a,b,c (header=False, names=[...]), or --header (header=True) if these are names"
)


def check_first_row(file: Path, text: CsvText, layout: CsvLayout) -> None:
    """Raise ``InvalidRequest`` for a first row that must be names but reads as data.

    So for one that another delimiter cuts.
    """
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
    if not _may_be_names(text):
        raise _is_data(file, row)
    if _takes_three_rows(text):
        raise InvalidRequest(
            "raw_data",
            f"{file}: the names take three rows, down to {_short(text.top[2][0])}; say --skip-rows 3 --no-header "
            "--names a,b,c (skip_rows=3, header=False, names=[...])",
        )
    for at, name in enumerate(row):
        # One nameless column at an edge is what an index, or a delimiter at the end of each row, leaves.
        if (not name.strip() and at not in (0, len(row) - 1)) or name in row[:at]:
            fault = f"holds {_short(name)} twice" if name in row[:at] else f"has no name for column {at + 1}"
            raise InvalidRequest("raw_data", f"{file}: the first row {fault}; {_WAYS_OUT}")


def check_doubtful_names(file: Path, text: CsvText, types: Sequence[pa.DataType], layout: CsvLayout) -> None:
    """Raise ``InvalidRequest`` for a first row that may be names with data among them.

    Unless the columns show what it is.
    """
    row = text.first_row
    if layout.header is not None or not any(map(reads_as_data, row)) or _counts(text):
        return
    below = [(cell, kind) for cell, kind in zip(row, types, strict=False) if reads_as_data(cell)]
    word_above_times = _is_word(row[0]) and pa.types.is_temporal(types[0])
    dates_above_numbers = not reads_as_data(row[0]) and all(
        _DATE.fullmatch(cell) and (pa.types.is_integer(kind) or pa.types.is_floating(kind)) for cell, kind in below
    )
    years_above_values = bool(_years(row)) and any(kind != pa.null() for _, kind in below)
    if not (word_above_times or dates_above_numbers or years_above_values):
        raise _is_data(file, row)


def check_years(file: Path, text: CsvText, name: str, cells: pa.Array, layout: CsvLayout) -> None:
    """Raise ``InvalidRequest`` for a first row of years that has years below."""
    if layout.header is not None or name not in _years(text.first_row):
        return
    if pc.any(pc.match_substring_regex(cells, rf"^\s*{_YEAR.pattern}(\.\d*)?\s*$")).as_py():
        raise _is_data(file, text.first_row)


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
    """Raise ``InvalidRequest`` when a column holds its own name.

    Data are taken for names then, or names stand again among the data.
    """
    if layout.header is not True and name and pc.any(pc.equal(cells, name)).as_py():
        raise InvalidRequest(
            "raw_data",
            f"{file}: column {name!r} holds its own name: the first row is data, or a later one repeats it; {_WAYS_OUT}",
        )


def check_no_header(
    file: Path, row: Sequence[str], names: Sequence[str], shapes: Mapping[str, Set[Shape]], layout: CsvLayout
) -> None:
    """Raise ``InvalidRequest`` when a file said to have no header begins with one.

    Its first row makes text of what is not.
    """
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


def _may_be_names(text: CsvText) -> bool:
    row = text.first_row
    if not any(map(reads_as_data, row)):
        return True
    return bool(_counts(text) or _is_word(row[0]) or _years(row)) or any(map(_DATE.fullmatch, row))


def _is_word(cell: str) -> bool:
    return _WORD.fullmatch(cell) is not None and not reads_as_data(cell)


def _takes_three_rows(text: CsvText) -> bool:
    """Tell whether these are pandas' names of two levels, as yfinance writes them.

    Labels come first, then the index's name alone.
    """
    if len(text.top) < 4:
        return False
    _, second, index, values = text.top
    alone = _is_word(index[0]) and len(index) > 1 and not any(index[1:])
    return alone and not any(map(reads_as_data, second)) and all(reads_as_data(cell) for cell in values if cell)


def _counts(text: CsvText) -> bool:
    """Tell whether the row is what pandas writes above columns without names.

    Beside a plain index or one of times.
    """
    row = text.first_row
    counted = row == ("", *map(str, range(len(row) - 1)))
    return counted and bool(text.second_row) and _INDEX.fullmatch(text.second_row[0]) is not None


def _years(row: Sequence[str]) -> list[str]:
    """Return the cells that read as data if they are years in a row, upwards or downwards."""
    found = [cell for cell in row if reads_as_data(cell)]
    if len(found) < 2 or not all(map(_YEAR.fullmatch, found)):
        return []
    steps = {int(later) - int(earlier) for earlier, later in pairwise(found)}
    return found if steps in ({1}, {-1}) else []


def _is_data(file: Path, row: Sequence[str]) -> InvalidRequest:
    cell = next(filter(reads_as_data, row))
    return InvalidRequest("raw_data", f"{file}: the first row reads as data ({_short(cell)}); {_WAYS_OUT}")


def _foreign(text: CsvText, mark: str) -> str | None:
    """Name what the first row may really be cut at.

    The next row has it too. Of one cell it may be a comma as well, and a space or a colon
    if the next row has as many and a number or a time between them. In a row of several, decimal
    commas may have made the cells.
    """
    row, below, alone = text.first_row, text.second_row, len(text.first_row) == 1
    signs = [sign for sign in _FOREIGN if sign != mark and (alone or sign != ",") and sign in "".join(row)]
    found = next((sign for sign in signs if not below or sign in "".join(below)), None)
    if found is None and alone and len(below) == 1 and not _TIME.fullmatch(below[0].strip()):
        for sign, name in ((None, "'space'"), (":", "':'")):
            cells = below[0].split(sign)
            if 1 < len(row[0].split(sign)) == len(cells) and any(map(reads_as_data, cells)):
                return name
    return _FOREIGN.get(found or "")


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 60 else f"{cell[:60]}...")
