"""CSV: types that fit every row of every file, then the rows.

All files are read twice: as text, to find out what the cells of each column look like
(``csv_cells`` has the rules), then with the types that follow. So the result does not
depend on where in the files the first odd value stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from fstore.errors import InvalidRequest, SourceChanged
from fstore.ingest.csv_cells import FALSE, MISSING, TRUE, ColumnShapes, Shape, type_for
from fstore.ingest.csv_header import (
    check_doubtful_names,
    check_first_row,
    check_no_header,
    check_own_name,
    check_years,
)
from fstore.ingest.csv_layout import CsvLayout
from fstore.ingest.csv_text import CsvText, inspect

_BLOCK_BYTES = 8 << 20
_WAYS_OUT = (
    "; say --skip-rows N (skip_rows=N) if lines stand above the names, --header --names a,b,c (header=True, "
    "names=[...]) if there are fewer names than columns, or mend that row"
)


@dataclass(frozen=True, slots=True)
class CsvFiles:
    """Files of one layout and the schema that fits them all."""

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]


def open_csv(files: Sequence[Path], layout: CsvLayout, as_text: Sequence[str] = ()) -> CsvFiles:
    """Read all files once and find the types that hold every cell.

    Raises ``InvalidRequest`` for what is no such file. The columns ``as_text`` are not typed, like those that the
    layout says so of.
    """
    texts: dict[Path, CsvText] = {}
    stamps = {file: stamp_of(file) for file in files}
    for file in files:
        texts[file] = inspect(file, layout)
        check_first_row(file, texts[file], layout)
        if layout.names is None and texts[file].top and texts[file].first_row != texts[files[0]].first_row:
            raise InvalidRequest("raw_data", f"{file} has other columns than {files[0].name}")
    names = list(layout.names or texts[files[0]].first_row)
    missing = [name for name in layout.text_columns if name not in names]
    if missing:
        raise InvalidRequest("text_columns", f"there is no column {missing[0]!r}, but {', '.join(names)}")
    if len(set(names)) < len(names):
        raise InvalidRequest("raw_data", f"{files[0]}: a column name is there twice; give others with --names (names=)")
    kept = {*layout.text_columns, *as_text}
    columns = {name: ColumnShapes(decimal=layout.decimal, text=name in kept) for name in names}
    for file in files:
        reader = CsvReader(file, layout, texts[file].broken_lines)
        _look(reader, texts[file], columns, names, files[0])
    if layout.header is False:
        shapes = {name: column.seen for name, column in columns.items()}
        for file in files:
            check_no_header(file, texts[file].first_row, names, shapes, layout)
            for name, cell in zip(names, texts[file].first_row, strict=False):
                columns[name].look(pa.array([cell]))
    types = {name: type_for(column.seen) for name, column in columns.items()}
    check_doubtful_names(files[0], texts[files[0]], list(types.values()), layout)

    def batches() -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from CsvReader(file, layout, texts[file].broken_lines).batches(types, names)
            if stamp_of(file) != stamps[file]:
                raise SourceChanged(str(file), "was changed while it was read; ingest it again when it is complete")

    return CsvFiles(pa.schema(list(types.items())), batches)


def _look(reader: CsvReader, text: CsvText, columns: Mapping[str, ColumnShapes], names: list[str], first: Path) -> None:
    """Gather the shapes of a file's cells, except of the first row if that may be a header."""
    rest = 1 if reader.layout.header is False else 0
    for batch in reader.batches(None, names):
        if batch.schema.names != names:
            raise InvalidRequest("raw_data", f"{reader.file} has other columns than {first.name}")
        for name, cells in zip(names, batch.columns, strict=True):
            columns[name].look(cells[rest:])
            check_years(reader.file, text, name, cells, reader.layout)
            if Shape.TEXT in columns[name].seen:
                check_own_name(reader.file, name, cells, reader.layout)
        rest = 0 if batch.num_rows else rest


def stamp_of(file: Path) -> tuple[int, int, int]:
    """Tell a file's content from another's, as far as that is seen without reading it."""
    try:
        found = file.stat()
    except OSError as exc:
        raise InvalidRequest("raw_data", f"{file} is not readable as CSV ({exc.strerror})") from exc
    return found.st_size, found.st_mtime_ns, found.st_ino


@dataclass(frozen=True, slots=True)
class CsvReader:
    """Reads one file.

    ``on_short_row`` decides on rows of another number of cells, which end it otherwise.
    """

    file: Path
    layout: CsvLayout
    broken_lines: bool
    on_short_row: Callable[[Any], str] | None = None

    def batches(self, types: Mapping[str, pa.DataType] | None, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Stream the rows, as text where there are no types yet."""
        layout = self.layout
        given = list(names) if layout.names is not None else None
        try:
            with csv.open_csv(
                str(self.file),
                read_options=csv.ReadOptions(
                    block_size=_BLOCK_BYTES,
                    encoding=layout.arrow_encoding,
                    skip_rows=layout.skip_rows,
                    column_names=given,
                    skip_rows_after_names=1 if given and layout.header else 0,
                ),
                # Where no cell holds a line break, blocks are cut faster.
                parse_options=csv.ParseOptions(
                    delimiter=layout.delimiter_of(self.file),
                    newlines_in_values=self.broken_lines,
                    invalid_row_handler=self.on_short_row,
                ),
                convert_options=csv.ConvertOptions(
                    column_types=types,
                    default_column_type=pa.string(),
                    null_values=["", *MISSING],
                    true_values=TRUE,
                    false_values=FALSE,
                    decimal_point=layout.decimal,
                ),
            ) as reader:
                yield from reader
        except (pa.ArrowException, UnicodeError, OSError) as exc:
            advice = _WAYS_OUT if "columns, got" in str(exc) else ""
            raise InvalidRequest("raw_data", f"{self.file} is not readable as CSV ({exc}){advice}") from exc
