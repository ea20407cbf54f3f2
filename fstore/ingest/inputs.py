"""The forms raw data come in, as one: a schema and a stream of record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.fingerprint import BLOCK_ROWS, USUAL, ParquetInput, ParquetLimits, open_raw, refuse_set_aside, visible_files
from fstore.ingest.csv_files import open_csv
from fstore.ingest.csv_layout import COMPRESSIONS, CSV_DELIMITERS, TEXT, CsvLayout
from fstore.model import ParquetSource

_PARQUET = (".parquet", ".pq")
_IPC = (".arrow", ".feather", ".ipc", ".arrows")
_ARCHIVES = (".zip", ".xz", ".7z", ".rar", ".tar", ".tgz", ".lzma", ".br", ".snappy", ".z")


class Input(Protocol):
    """Raw data to be read once."""

    @property
    def schema(self) -> pa.Schema:
        """What all batches have."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream the rows in order."""


@dataclass(frozen=True, slots=True)
class _Streamed:
    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]


def open_input(
    raw: object,
    layout: CsvLayout | None = None,
    as_text: Sequence[str] = (),
    limits: ParquetLimits = USUAL,
) -> Input:
    """Find out what the raw data are, without reading more than their schema.

    CSV is read once to learn its types. ``layout`` is what the caller says of CSV files, and refused for anything
    else; the columns ``as_text`` are not typed if they come from CSV.
    """
    if isinstance(raw, (str, Path)):
        return _open_path(_absolute(raw), layout, as_text, limits)
    if layout is not None:
        raise _no_csv()
    if isinstance(raw, pa.RecordBatchReader):
        reader = raw
        return _Streamed(reader.schema, lambda: _cut(reader))
    return open_raw(raw, limits)


def expected_bytes(raw: object) -> int:
    """Estimate how many bytes ``ingest`` will report as done, for a progress bar."""
    if isinstance(raw, (str, Path)):
        files = data_files(raw)
        if _family(files) == "parquet":
            return sum(ParquetInput(ParquetSource(file)).nbytes for file in files)
        return sum(file.stat().st_size for file in files)
    return int(getattr(raw, "nbytes", 0)) if isinstance(raw, pa.RecordBatchReader) else open_raw(raw).nbytes


def data_files(raw: str | Path) -> list[Path]:
    """List the file, or the data files of the folder, that ``raw`` names, in the order of their paths."""
    path = _absolute(raw)
    try:
        return _data_files(path)
    except OSError as exc:
        raise InvalidRequest("raw_data", f"{path} cannot be read ({exc.strerror or exc})") from exc


def list_csv(raw: str | Path) -> list[Path]:
    """List the CSV files that ``raw`` names; raises ``InvalidRequest`` for files of another kind."""
    files = data_files(raw)
    if _family(files) != "csv":
        raise InvalidRequest("preset", f"{files[0].name} is no CSV file, and presets are layouts of those")
    return files


def _absolute(raw: str | Path) -> Path:
    try:
        return Path(raw).expanduser().absolute()
    except RuntimeError as exc:  # ~ of nobody
        raise InvalidRequest("raw_data", f"{raw} does not exist ({exc})") from exc


def _open_path(path: Path, layout: CsvLayout | None, as_text: Sequence[str], limits: ParquetLimits) -> Input:
    files = data_files(path)
    family = _family(files)
    if family != "parquet" and (keyed := [file for file in files if "=" in file.relative_to(path).parent.as_posix()]):
        raise InvalidRequest(
            "raw_data",
            f"{keyed[0]} is in a folder of the form key=value, whose value would be lost; "
            "ingest such folders one by one, or add the column",
        )
    if family == "csv":
        return open_csv(files, layout or CsvLayout(), as_text)
    if layout is not None:
        raise _no_csv()
    if family == "parquet":
        source = ParquetSource(path) if path.is_file() or all(f.suffix == ".parquet" for f in files) else None
        if source is None:
            raise InvalidRequest("raw_data", f"rename the files in {path} to end in .parquet")
        return ParquetInput(source, limits)
    with _open_ipc(files[0]) as first:
        schema = first.schema
    return _Streamed(schema, lambda: _ipc_batches(files, schema))


def _no_csv() -> InvalidRequest:
    return InvalidRequest("csv", "header, names, delimiter, decimal, encoding, skip_rows and text_columns are for CSV")


def _data_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidRequest("raw_data", f"{path} does not exist")
    shown = []
    for file in visible_files(path):
        name = file.relative_to(path).as_posix()
        if _kind(file) is not None:
            refuse_set_aside(name, path)
            shown.append(file)
        elif file.suffix.lower() in _ARCHIVES:
            raise InvalidRequest("raw_data", f"{path} holds {name}, which is not read: unpack it, or move it elsewhere")
    if not shown:
        raise InvalidRequest("raw_data", f"{path} holds no CSV, Parquet or Arrow file")
    # Beside data of other names, texts are notes.
    return [file for file in shown if TEXT not in map(str.lower, file.suffixes)] or shown


def _kind(file: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    if last in _PARQUET:
        return "parquet"
    if last in _IPC:
        return "ipc"
    return "csv" if last in CSV_DELIMITERS or last == TEXT else None


def _family(files: list[Path]) -> str:
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise InvalidRequest(
            "raw_data", f"the folder mixes formats ({', '.join(sorted(map(str, kinds)))}); ingest one at a time"
        )
    kind = kinds.pop()
    if kind is None:
        known = ", ".join([*CSV_DELIMITERS, TEXT, *_PARQUET, *_IPC])
        raise InvalidRequest("raw_data", f"{files[0].name} ends in none of {known}")
    return kind


def _open_ipc(file: Path) -> pa.RecordBatchReader:
    """Open an IPC file or stream; the first bytes tell which."""
    try:
        opened = pa.OSFile(str(file), "rb")
        is_file = opened.read(6) == b"ARROW1"
        opened.seek(0)
        if not is_file:
            return pa.ipc.open_stream(opened)
        reader = pa.ipc.open_file(opened)
        chunks = (reader.get_batch(i) for i in range(reader.num_record_batches))
        return pa.RecordBatchReader.from_batches(reader.schema, chunks)
    except (pa.ArrowException, OSError) as exc:
        raise InvalidRequest("raw_data", f"{file} is not readable as Arrow IPC ({exc})") from exc


def _ipc_batches(files: list[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for file in files:
        with _open_ipc(file) as reader:
            if reader.schema != schema:
                raise InvalidRequest("raw_data", f"{file.name} has other columns or types than {files[0].name}")
            try:
                yield from _cut(reader)
            except (pa.ArrowException, OSError) as exc:
                raise InvalidRequest("raw_data", f"{file} cannot be read to the end ({exc})") from exc


def _cut(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            yield batch.slice(start, BLOCK_ROWS)
