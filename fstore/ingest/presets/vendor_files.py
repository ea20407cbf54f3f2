"""Files in a published layout as one stream of typed rows, oldest first."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest, SourceChanged
from fstore.ingest.csv_files import CsvReader, stamp_of
from fstore.ingest.csv_layout import CsvLayout
from fstore.ingest.csv_text import inspect
from fstore.ingest.presets.books import read_beside, twin_of
from fstore.ingest.presets.fit import Fitted, advice, fit, links_on_top, no_layout
from fstore.ingest.presets.record import Column, Preset
from fstore.ingest.presets.said import Said, told_of
from fstore.ingest.rows.backwards import backwards
from fstore.ingest.rows.cells import Text, kind_named, none_of, without_missing
from fstore.ingest.rows.moments import SinceMidnight, day_in
from fstore.ingest.rows.refusals import Refusals, is_not
from fstore.ingest.rows.zones import UTC_NS, in_utc, why_not


class VendorFiles:
    """Reads files by a preset; ``InvalidRequest`` names the row that is otherwise, and what to do.

    ``scratch`` is a folder for what has to be turned round. Cells are read once, as text, and each is
    either a value of its column's type or refused.
    """

    def __init__(self, files: Sequence[Path], preset: Preset, said: Said, *, scratch: Path, refusals: Refusals) -> None:
        self._preset, self._said, self._scratch = told_of(preset, said), said, scratch
        # A row of a book that is left out would shift all others against their times.
        self._refusals = Refusals() if preset.levels else refusals
        self._files = _fitting(files, preset)
        self._stamps = {file: stamp_of(file) for file in self._files}
        self._opened = {file: self._open(file) for file in self._files}
        first = self._opened[self._files[0]]
        for file in self._files[1:]:
            if self._opened[file].schema != first.schema:
                raise InvalidRequest(
                    "raw_data", f"{file} has other columns than {self._files[0].name}; ingest them one by one"
                )
        self.schema, self.time = first.schema, first.time

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream the rows of all files, in the order of their names."""
        for file in self._files:
            opened = self._opened[file]
            rows = opened.batches()
            if self._preset.levels:
                rows = read_beside(rows, self._times_of_book(file), file)
            yield from backwards(rows, self._scratch) if opened.newest_first else rows
            if stamp_of(file) != self._stamps[file]:
                raise SourceChanged(str(file), "was changed while it was read; ingest it again when it is complete")

    def _open(self, file: Path) -> _VendorFile:
        preset, said = self._preset, self._said
        skip = links_on_top(file, said.encoding) if preset.link_on_top else 0
        plain = CsvLayout(delimiter=said.delimiter or preset.delimiter, encoding=said.encoding, skip_rows=skip)
        text = inspect(file, plain)
        fitted = fit(preset, text.top)
        if isinstance(fitted, str):
            raise no_layout(file, preset, fitted, said.encoding)
        day = day_in(file.name)
        if any(isinstance(column.kind, SinceMidnight) for column in preset.columns):
            if day is None:
                raise InvalidRequest(
                    "preset",
                    f"{file.name} does not say of which day it is; name it as {preset.name} does: {preset.about}",
                )
            dated = [
                replace(column, kind=SinceMidnight(day)) if isinstance(column.kind, SinceMidnight) else column
                for column in fitted.columns
            ]
            fitted = replace(fitted, columns=tuple(dated))
        names = [column.name for column in fitted.columns]
        layout = replace(plain, header=fitted.header, names=names)
        times = [] if preset.levels else preset.time.split("|")
        time = next((name for name in times if name in names), "time")
        reader = CsvReader(file, layout, text.broken_lines, (lambda _: "skip") if self._refusals.allowed else None)
        return _VendorFile(reader, preset, fitted, said, time, text.top, self._refusals)

    def _times_of_book(self, file: Path) -> Iterator[pa.Array]:
        from fstore.ingest.presets.table import PRESETS  # noqa: PLC0415 the table needs nothing of this

        messages = VendorFiles(
            [twin_of(file)], PRESETS["lobster-messages"], replace(self._said, dtypes={}),
            scratch=self._scratch, refusals=Refusals(),
        )  # fmt: skip
        for batch in messages.batches():
            yield batch.column("time")


@dataclass(frozen=True, slots=True)
class _VendorFile:
    reader: CsvReader
    preset: Preset
    fitted: Fitted
    said: Said
    time: str
    top: tuple[tuple[str, ...], ...]
    refusals: Refusals

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is kept: the column of days is part of the time."""
        return tuple(column for column in self.fitted.columns if column.name != self.preset.day)

    @property
    def schema(self) -> pa.Schema:
        kept = [pa.field(column.name, self._type(column)) for column in self.columns]
        return pa.schema([pa.field("time", self._zoned(pa.timestamp("ns"))), *kept] if self.preset.levels else kept)

    @property
    def newest_first(self) -> bool:
        """Whether the first rows go back in time; all others are checked when they are written."""
        if not self.preset.newest_first:
            return False
        rows = [row for row in self.top[1:] if len(row) == len(self.fitted.columns)]
        names = self.reader.layout.names or ()
        at = list(names).index(self.time)
        ticks = self.fitted.columns[at].kind.parse(pa.array([row[at] for row in rows], pa.string())).values
        found = [tick for tick in ticks.cast(pa.int64()).to_pylist() if tick is not None]
        return found[:1] > found[-1:]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Stream the rows as they stand."""
        short = self._short_rows() if self.refusals.allowed else []
        for row in short:
            self.refusals.add(self.reader.file, row, "it has another number of cells")
        names, row = list(self.reader.layout.names or ()), 1
        try:
            for batch in self.reader.batches(None, names):
                yield self._typed(batch, row, short)
                row += batch.num_rows
        except InvalidRequest as exc:
            if "columns, got" not in str(exc):
                raise
            hint = advice(self.reader.file, self.said.encoding, self.preset)
            at = (self._short_rows() or [row])[0]
            raise InvalidRequest(
                "raw_data",
                f"{self.reader.file}, row {at}: it has another number of cells than {self.preset.name}, {len(names)}; mend "
                f"or delete it, or say how many such rows may be left out (--max-refused N, max_refused=N); {hint}",
            ) from exc

    def _typed(self, batch: pa.RecordBatch, first_row: int, short: Sequence[int]) -> pa.RecordBatch:
        arrays, refused = [], none_of(batch.column(0))
        faults: dict[int, str] = {}
        for column in self.columns:
            texts = batch.column(column.name)
            if column.name == self.time and self.preset.day is not None:
                texts = pc.binary_join_element_wise(batch.column(self.preset.day), texts, " ")
            values, bad, wants = self._read(column, texts)
            for at in pc.indices_nonzero(bad).to_pylist() if pc.any(bad).as_py() else ():
                faults.setdefault(at, is_not(column.name, texts[at].as_py(), wants(at)))
            refused = pc.or_(refused, bad)
            arrays.append(values)
        for at, fault in sorted(faults.items()):
            row = _counted(first_row + at, short)
            hint = "" if row > 1 else f"; {advice(self.reader.file, self.said.encoding, self.preset)}"
            self.refusals.add(self.reader.file, row, fault, hint)
        made = pa.RecordBatch.from_arrays(arrays, names=[column.name for column in self.columns])
        return made.filter(pc.invert(refused)) if faults else made

    def _read(self, column: Column, texts: pa.Array) -> tuple[pa.Array, pa.Array, Callable[[int], str]]:
        if column.name in self.said.dtypes:
            column = replace(column, kind=kind_named(self.said.dtypes[column.name]))
        kind = column.kind
        if isinstance(kind, Text):
            return texts, none_of(texts), lambda _: kind.wants
        told = without_missing(pc.utf8_trim(texts, " \t"))
        parsed = kind.parse(told)
        values, bad = parsed.values, parsed.bad
        if not column.may_be_empty:
            bad = pc.or_(bad, told.is_null())
        if column.name == self.time:
            # Where a vendor writes a number for no time, there is none to be the index.
            bad = pc.or_(bad, values.is_null())
        if column.name != self.time or values.type == UTC_NS or self.zone is None:
            return values, bad, lambda _: kind.wants
        zone = self.zone
        instants = in_utc(values, zone)
        return (
            instants.values,
            pc.or_(bad, instants.bad),
            lambda at: why_not(zone) if instants.bad[at].as_py() else kind.wants,
        )

    @property
    def zone(self) -> str | None:
        """Of what is naive."""
        return self.said.tz or self.preset.zone

    def _type(self, column: Column) -> pa.DataType:
        if column.name in self.said.dtypes:
            return kind_named(self.said.dtypes[column.name]).type
        return self._zoned(column.kind.type) if column.name == self.time else column.kind.type

    def _zoned(self, kind: pa.DataType) -> pa.DataType:
        return kind if kind == UTC_NS or self.zone == "naive" else UTC_NS

    def _short_rows(self) -> list[int]:
        """Find the rows of another number of cells, with Python's reader, which tells where they are."""
        layout, wanted = self.reader.layout, len(self.fitted.columns)
        with pa.input_stream(str(self.reader.file)) as raw:
            text = csv.reader(
                (line.decode(layout.codec, errors="replace") for line in _lines(raw, layout.skip_rows)),
                delimiter=layout.mark,
            )
            rows = filter(None, text)
            return [at for at, cells in enumerate(rows, 0 if layout.header else 1) if len(cells) != wanted and at]


def _lines(raw: pa.NativeFile, skip: int) -> Iterator[bytes]:
    lines = io.BufferedReader(raw)
    for at, line in enumerate(lines):
        if at >= skip:
            yield line


def _counted(row: int, short: Sequence[int]) -> int:
    """Count the rows that were skipped before this one as well."""
    for at in short:
        if at <= row:
            row += 1
    return row


def _fitting(files: Sequence[Path], preset: Preset) -> list[Path]:
    if preset.file is None:
        return list(files)
    found = [file for file in files if re.fullmatch(preset.file, file.name)]
    if not found:
        raise InvalidRequest(
            "preset", f"{files[0].name} is not named as the files of {preset.name} are: {preset.about}"
        )
    return found
