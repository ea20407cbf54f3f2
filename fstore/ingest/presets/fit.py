"""Does a file have the layout that a preset says, and which preset would it fit?

By its first rows, cell by cell.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.ingest.csv_header import reads_as_data
from fstore.ingest.presets.record import Column, Preset
from fstore.ingest.presets.table import PRESETS
from fstore.ingest.rows.cells import Text, without_missing

_TOP_BYTES = 64 << 10
_LINK = ("http://", "https://", "www.")


@dataclass(frozen=True, slots=True)
class Fitted:
    """The columns of a file in its own order, bound to its first row.

    ``header`` says whether names stand above.
    """

    header: bool
    columns: tuple[Column, ...]


def fit(preset: Preset, rows: Sequence[Sequence[str]]) -> Fitted | str:
    """Lay the preset over the first rows of a file, or say what does not fit."""
    if not rows:
        return "there is no row"
    first = [cell.strip() for cell in rows[0]]
    found = _by_place(preset, first) if preset.fixed else _by_name(preset, first)
    if isinstance(found, str):
        return found
    values = rows[1] if found.header and len(rows) > 1 else () if found.header else rows[0]
    cells = [*values, *[""] * len(found.columns)]
    bound = [
        replace(column, kind=column.kind.bound(cell.strip()))
        for column, cell in zip(found.columns, cells, strict=False)
    ]
    return replace(found, columns=tuple(bound))


def top_rows(file: Path, delimiter: str, encoding: str, skip: int) -> list[list[str]]:
    """Read the first rows, as far as they can be read."""
    try:
        with pa.input_stream(str(file)) as raw:
            text = raw.read(_TOP_BYTES).decode(encoding, errors="replace")
    except (pa.ArrowException, OSError):
        return []
    lines = text.splitlines(keepends=True)[skip : skip + 8]
    try:
        return list(filter(None, csv.reader(io.StringIO("".join(lines)), delimiter=delimiter)))[:4]
    except csv.Error:
        return []


def links_on_top(file: Path, encoding: str) -> int:
    """Return how many lines with the vendor's address stand above the names."""
    rows = top_rows(file, "\x1f", encoding, 0)
    return 1 if rows and rows[0][0].strip().lower().startswith(_LINK) else 0


def presets_for(file: Path, encoding: str) -> list[str]:
    """Name the presets whose layout the first rows of a file have."""
    found = []
    for preset in PRESETS.values():
        skip = links_on_top(file, encoding) if preset.link_on_top else 0
        rows = top_rows(file, preset.delimiter, encoding, skip)
        fitted = fit(preset, rows)
        if isinstance(fitted, str):
            continue
        values = rows[1:2] if fitted.header else rows[:1]
        if values and all(_reads(column, cell) for column, cell in zip(fitted.columns, values[0], strict=False)):
            found.append(preset.name)
    return found


def advice(file: Path, encoding: str, preset: Preset) -> str:
    """Say what to do with a file that does not have the layout."""
    others = [name for name in presets_for(file, encoding) if name != preset.name]
    if others:
        return f"it has the layout of --preset {' or '.join(others)}"
    return f"the layout is: {preset.about}; for any other, leave out the preset and say --no-header, --names, --time-format"


def _by_place(preset: Preset, first: list[str]) -> Fitted | str:
    levels = len(preset.levels)
    if levels:
        if len(first) % levels or not first:
            return f"its first row has {len(first)} cells, no multiple of {levels}"
        columns = tuple(
            replace(column, name=f"{column.name}_{level}")
            for level in range(1, len(first) // levels + 1)
            for column in preset.levels
        )
    else:
        columns = preset.columns
        least = sum(not column.optional for column in columns)
        if not least <= len(first) <= len(columns):
            counts = f"{least}" if least == len(columns) else f"{least} to {len(columns)}"
            return f"its first row has {len(first)} cells when cut at {preset.delimiter!r}, not {counts}"
        columns = columns[: len(first)]
    if any(map(reads_as_data, first)):
        return Fitted(False, columns)
    if preset.header == "never":
        return f"it begins with names ({first[0]!r}), and this layout has none"
    for column, cell in zip(columns, first, strict=True):
        if not column.is_called(cell):
            return f"its column {cell!r} stands where this layout has {column.name!r}"
    return Fitted(True, columns)


def _by_name(preset: Preset, first: list[str]) -> Fitted | str:
    if all(map(reads_as_data, filter(None, first))):
        return f"its first row is data ({first[0]!r}), and this layout begins with names"
    columns: list[Column] = []
    for cell in first:
        known = next((column for column in preset.columns if column.is_called(cell)), None)
        if known is None:
            return f"its column {cell!r} is none of this layout's"
        column = known if known.name else replace(known, name=cell)
        if column.name in [other.name for other in columns]:
            return f"its column {cell!r} is there twice"
        columns.append(column)
    names = [column.name for column in columns]
    missing = [column.name for column in preset.columns if not column.optional and column.name not in names]
    times = preset.time.split("|")
    if missing or not any(name in names for name in times):
        return f"it has no column {(missing or times)[0]!r}"
    return Fitted(True, tuple(columns))


def _reads(column: Column, cell: str) -> bool:
    texts = pa.array([cell], pa.string())
    if not isinstance(column.kind, Text):
        texts = without_missing(texts)
        if texts.null_count:
            return column.may_be_empty
    # The parts of a time in two columns are not read by themselves.
    return column.name in ("time", "date") or not column.kind.parse(texts).bad[0].as_py()


def no_layout(file: Path, preset: Preset, fault: str, encoding: str) -> InvalidRequest:
    """Make the error for a file that is laid out otherwise."""
    return InvalidRequest(
        "preset", f"{file} is not laid out as {preset.name}: {fault}; {advice(file, encoding, preset)}"
    )
