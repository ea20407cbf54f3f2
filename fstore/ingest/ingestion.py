"""Turn raw data of any form into sealed Parquet: streaming, in bounded memory, published atomically.

What ``ingest`` writes carries the fingerprint of its content, so trainers identify it
by reading its footer alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

import pyarrow as pa

from fstore.errors import ConfigurationError, InvalidRequest
from fstore.features import Sessions, sessions
from fstore.fingerprint import USUAL, ParquetLimits, Progress
from fstore.increments import PartitionHasher
from fstore.ingest.csv_layout import CsvLayout
from fstore.ingest.inputs import Input, data_files, expected_bytes, list_csv, open_input
from fstore.ingest.presets.record import Preset
from fstore.ingest.presets.said import Said
from fstore.ingest.presets.table import preset_named
from fstore.ingest.presets.vendor_files import VendorFiles
from fstore.ingest.report import FileReport, IngestReport, Tally
from fstore.ingest.rows.refusals import Refusals
from fstore.ingest.rows.typed import TypedInput
from fstore.ingest.rows.zones import check_zone
from fstore.ingest.symbols import split_by_symbol
from fstore.ingest.times import TimeColumn, TimeIndex
from fstore.ingest.writer import SealedWriter
from fstore.model import ParquetSource
from fstore.storage import translated

__all__ = ["IngestOptions", "expected_bytes", "ingest"]


class CsvOptions(TypedDict, total=False):
    """What only CSV files need to be told; see ``fstore.ingest.csv_layout``."""

    header: bool | None
    names: Sequence[str] | None
    delimiter: str | None
    decimal: str
    encoding: str
    skip_rows: int
    text_columns: Collection[str]


class IngestOptions(CsvOptions, total=False):
    """The options of ``ingest``."""

    symbol_column: str | None
    time_column: str | None
    time_unit: str | None
    time_format: str | None
    date_column: str | None
    tz: str | None
    dtypes: Mapping[str, str] | None
    preset: str | None
    max_refused: int
    report: Callable[[IngestReport], None] | None
    partition: str | Sessions | None


def ingest(
    raw: object,
    dest: str | Path,
    *,
    symbol_column: str | None = None,
    time_column: str | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    date_column: str | None = None,
    tz: str | None = None,
    dtypes: Mapping[str, str] | None = None,
    preset: str | None = None,
    max_refused: int = 0,
    report: Callable[[IngestReport], None] | None = None,
    partition: str | Sessions | None = None,
    progress: Progress | None = None,
    limits: ParquetLimits = USUAL,
    **csv: Unpack[CsvOptions],
) -> ParquetSource:
    """Write raw data to ``dest`` and return the source to hand to trainers.

    ``raw`` is a frame, a table, an Arrow stream, a ``ParquetSource``, or a path to a
    file or folder of CSV, Parquet or Arrow IPC. ``time_column`` becomes the index; it
    may hold no null and not go back in time. It holds timestamps, dates or ISO text, or
    else ``time_unit`` (s, ms, us, ns since 1970 UTC) or ``time_format`` (of strptime)
    says how to read it, and ``date_column`` which column of days to put before it, with
    a space. With ``symbol_column`` ``dest`` is a folder that gets one
    ``<symbol>.parquet`` for each symbol, which is text as it is written, or a whole
    number; each file is published by itself. ``partition`` ("day", or
    ``fstore.sessions(...)``) cuts the file like the features that will be asked for, so
    that a request knows at once which days are new. ``progress`` is told the number of further
    bytes done, out of ``expected_bytes(raw)``. ``limits`` bound raw Parquet files.

    CSV is read as UTF-8 with a first row of names, cut at commas (tabs for .tsv; for .txt say which), unless
    ``header``, ``names``, ``delimiter``, ``decimal``, ``encoding`` or ``skip_rows`` say
    otherwise; columns get the types that hold every cell without loss
    (``fstore.ingest.csv_cells``), ``text_columns`` stay text.

    An existing file at ``dest`` is replaced. Raises ``InvalidRequest`` for input that
    cannot be read or does not fit the columns named, ``UnhashableInput`` for data without
    a faithful digest, ``StorageFull`` or ``StorageUnavailable`` for ``dest``.
    """
    for what, place in (("raw_data", raw), ("dest", dest)):
        _refuse_address(what, place)
    target = Path(dest).expanduser().absolute()
    refusals, types = Refusals(max_refused), dict(dtypes or {})
    by = _checked_partition(partition)
    if preset is not None:
        said: dict[str, object] = {**csv, "time_format": time_format, "date_column": date_column}
        known = preset_named(preset)
        symbol_column = symbol_column or known.symbol
        files = _vendor_files(raw, known, said, Said(tz, types, time_column, time_unit), target, refusals)
        time: TimeColumn | None = TimeColumn(files.time)
        given = cast("Input", files)
    else:
        layout = CsvLayout(**csv) if csv else None
        time = _time_column(time_column, time_unit, time_format, date_column, tz)
        given = open_input(raw, layout, [*_as_written(symbol_column, time), *types], limits)
        if types:
            name = Path(raw) if isinstance(raw, (str, Path)) else Path("raw data")
            given = TypedInput(given, types, decimal=csv.get("decimal", "."), name=name, refusals=refusals)
    _check_columns(given.schema, symbol_column, time, types)
    if symbol_column is not None:
        written = _ingest_by_symbol(given, target, symbol_column, time, by, progress)
    else:
        if _is_folder(target):
            raise InvalidRequest("dest", f"{target} is a folder; name the file to write, or give a symbol column")
        _refuse_own_source(raw, target)
        written = [_write(target, given.schema, given.batches(), time, by, progress)]
    if report is not None:
        report(IngestReport(tuple(written), refusals.told()))
    return ParquetSource(target)


def _refuse_address(what: str, place: object) -> None:
    """Refuse an address, also one that became a path on its way.

    A folder called ``s3:`` would be made of it.
    """
    if isinstance(place, (str, Path)) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(place)):
        raise InvalidRequest(
            what,
            f"{place} looks like an address, and ingest reads and writes files of this host; "
            "ingest into a file and copy it there with the store's own tools, which leaves its fingerprint as it is",
        )


def _vendor_files(
    raw: object, preset: Preset, said: Mapping[str, object], more: Said, target: Path, refusals: Refusals
) -> VendorFiles:
    """Open files by a preset, which leaves little to say."""
    if not isinstance(raw, (str, Path)):
        raise InvalidRequest("preset", f"{preset.name} is a layout of files; give a path to them")
    taken = {"delimiter", "encoding"}
    for option, value in said.items():
        if option not in taken and value not in (None, (), 0):
            raise InvalidRequest(
                option, f"--preset {preset.name} says how its files are laid out; leave out {option}, or the preset"
            )
    more = replace(
        more,
        delimiter=cast("str | None", said.get("delimiter")),
        encoding=cast("str", said.get("encoding") or "utf-8"),
    )
    if more.tz is not None:
        check_zone(more.tz)
    return VendorFiles(list_csv(raw), preset, more, scratch=target.parent, refusals=refusals)


def _time_column(
    name: str | None, unit: str | None, pattern: str | None, date: str | None, zone: str | None
) -> TimeColumn | None:
    if name is not None:
        return TimeColumn(name, unit, pattern, date, zone)
    if unit is not None or pattern is not None or date is not None or zone is not None:
        raise InvalidRequest("time_column", "name the column whose unit, format, date or zone is given")
    return None


def _check_columns(
    schema: pa.Schema, symbol_column: str | None, time: TimeColumn | None, types: Mapping[str, str]
) -> None:
    time_name, date_name = (time.name, time.date) if time else (None, None)
    for option, name in (("symbol_column", symbol_column), ("time_column", time_name), ("date_column", date_name)):
        if name is not None and name not in schema.names:
            raise InvalidRequest(option, f"there is no column {name!r}, but {', '.join(schema.names)}")
        if name is not None and schema.names.count(name) > 1:
            raise InvalidRequest(option, f"there are several columns {name!r}; rename all but one")
        if name is not None and name in types and types[name] != "string":
            raise InvalidRequest("dtype", f"{name!r} is the {option.replace('_', ' ')}; it has no other type")
    if not schema.names:
        raise InvalidRequest("raw_data", "there are no columns, and Parquet cannot hold rows without them")


def _checked_partition(partition: Any) -> Sessions | None:
    if partition is None or isinstance(partition, Sessions):
        return partition
    try:
        return sessions(partition)
    except ConfigurationError as exc:
        raise InvalidRequest("partition", str(exc)) from exc


def _is_folder(target: Path) -> bool:
    with translated(target):
        return target.is_dir()


def _as_written(symbol_column: str | None, time: TimeColumn | None) -> list[str]:
    symbols = [symbol_column] if symbol_column is not None else []
    return [*symbols, *(time.as_text if time else ())]


def _refuse_own_source(raw: object, target: Path) -> None:
    """Raw data are not overwritten by what is made of them, unless both are Parquet."""
    if not isinstance(raw, (str, Path)) or not target.exists() or target.suffix in (".parquet", ".pq"):
        return
    if any(file.samefile(target) for file in data_files(raw)):
        raise InvalidRequest("dest", f"{target} is itself the raw data; name another file")


def _ingest_by_symbol(
    given: Input,
    target: Path,
    symbol_column: str,
    time: TimeColumn | None,
    by: Sessions | None,
    progress: Progress | None,
) -> list[FileReport]:
    if target.suffix == ".parquet" or (not _is_folder(target) and target.exists()):
        raise InvalidRequest("dest", f"{target} must be a folder: a symbol column makes one file for each symbol")
    with split_by_symbol(given.batches(), given.schema, symbol_column, target) as parts:
        return [_write(target / f"{symbol}.parquet", given.schema, part, time, by, progress) for symbol, part in parts]


def _write(
    target: Path,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    time: TimeColumn | None,
    by: Sessions | None,
    progress: Progress | None,
) -> FileReport:
    times = TimeIndex(schema, time) if time is not None else None
    tally = Tally(time.name if time is not None else None)
    schema = times.schema if times else schema
    hasher = PartitionHasher(schema, by) if by is not None else None
    with SealedWriter(target, schema, hasher) as writer:
        for batch in batches:
            rows = times.apply(batch) if times else batch
            writer.write(rows)
            tally.add(rows)
            if progress:
                progress(int(batch.nbytes))
        writer.publish()
    return tally.report(target)
