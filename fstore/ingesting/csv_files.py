"""CSV: types that fit every row of every file, then the rows.

Types are inferred from the first block and widened where a later row does not fit
(empty -> integer -> float -> text; date -> nanoseconds -> text), so the result does not
depend on where in the file the first odd value stands. Empty text stays text, other
empty cells are null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from fstore.errors import InvalidRequest

CSV_DELIMITERS = {".csv": ",", ".tsv": "\t"}
COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")
_BLOCK_BYTES = 8 << 20
_COLUMN = re.compile(r"CSV column #(\d+)")


def csv_schema(files: Sequence[Path]) -> pa.Schema:
    """Read all files once and find the schema that fits every row."""
    kinds: dict[str, pa.DataType] = {}
    names: list[str] = []
    for file in files:
        while True:
            with _open(file, kinds) as reader:
                names = names or reader.schema.names
                if reader.schema.names != names:
                    raise InvalidRequest("raw_data", f"{file.name} has other columns than {files[0].name}")
                found = {field.name: _settled(field.type) for field in reader.schema}
                if kinds != found:
                    kinds = found
                    continue
                misfit = _first_misfit(file, reader)
            if misfit is None:
                break
            kinds[names[misfit]] = _wider(kinds[names[misfit]])
    return pa.schema([pa.field(name, kinds[name]) for name in names])


def csv_batches(files: Sequence[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Stream the rows of all files."""
    for file in files:
        with _open(file, dict(zip(schema.names, schema.types, strict=True))) as reader:
            try:
                yield from reader
            except pa.ArrowException as exc:
                raise InvalidRequest("raw_data", f"{file}: {exc}") from exc


def _open(file: Path, kinds: dict[str, pa.DataType]) -> csv.CSVStreamingReader:
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in COMPRESSIONS]
    delimiter = CSV_DELIMITERS[suffixes[-1]]
    try:
        return csv.open_csv(
            str(file),
            read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(column_types=kinds),
        )
    except (pa.ArrowException, OSError) as exc:
        misfit = _COLUMN.search(str(exc))
        if misfit is None or not kinds:
            raise InvalidRequest("raw_data", f"{file} is not readable as CSV ({exc})") from exc
        widened = dict(kinds)
        name = list(kinds)[int(misfit.group(1))]
        widened[name] = _wider(kinds[name])
        return _open(file, widened)


def _first_misfit(file: Path, reader: csv.CSVStreamingReader) -> int | None:
    try:
        for _ in reader:
            pass
    except pa.ArrowException as exc:
        column = _COLUMN.search(str(exc))
        if column is None:
            raise InvalidRequest("raw_data", f"{file}: {exc}") from exc
        return int(column.group(1))
    return None


def _settled(kind: pa.DataType) -> pa.DataType:
    """Read all times in nanoseconds: fractions may come later."""
    return pa.timestamp("ns", tz=kind.tz) if pa.types.is_timestamp(kind) else kind


def _wider(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.int64()
    if pa.types.is_integer(kind):
        return pa.float64()
    if pa.types.is_date(kind):
        return pa.timestamp("ns")
    return pa.string()
