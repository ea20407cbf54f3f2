"""A CSV file as text: its first row, and what makes it unreadable whatever its columns are."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.ingest.csv_layout import CsvLayout
from fstore.ingest.csv_quotes import closed_on_every_line

_CHUNK = 1 << 20
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


@dataclass(frozen=True, slots=True)
class CsvText:
    """What is known of a file before its columns are.

    ``top`` are its first rows, but empty ones; ``broken_lines``: a quoted cell may hold line breaks.
    """

    top: tuple[tuple[str, ...], ...]
    broken_lines: bool

    @property
    def first_row(self) -> tuple[str, ...]:
        """The names, or data."""
        return self.top[0] if self.top else ()

    @property
    def second_row(self) -> tuple[str, ...]:
        """What is below."""
        return self.top[1] if len(self.top) > 1 else ()


def inspect(file: Path, layout: CsvLayout) -> CsvText:
    """Read the file once as text.

    Raises ``InvalidRequest`` for a wrong encoding, NUL characters and broken quotes. A quote that is never closed
    would swallow the rows up to the next one, and text behind a closing quote would become part of the cell, both
    silently.
    """
    by_line = not _holds_quotes(file, layout) or closed_on_every_line(file, layout)
    with _opened(file, layout) as raw, _decoded(raw, layout) as text:
        rows = csv.reader(text, delimiter=layout.delimiter_of(file), strict=True)
        try:
            top = [*islice(filter(None, rows), 2)]
            alone, gap = bool(top) and len(top[0]) == 1, False
            top += islice(filter(None, rows), 0 if alone else 2)
            for row in rows if alone or not by_line else ():
                if alone and gap and row:
                    raise InvalidRequest(
                        "raw_data",
                        f"{file} has one column and an empty line before line {rows.line_num}, a row or none; "
                        'write "" for an empty cell, or delete the line',
                    )
                gap = not row
        except csv.Error as exc:
            raise InvalidRequest(
                "raw_data", f"{file}: bad quotes, or a cell too long, near line {rows.line_num} ({exc})"
            ) from exc
    return CsvText(tuple(map(tuple, top)), not by_line)


def _holds_quotes(file: Path, layout: CsvLayout) -> bool:
    """Decode all of the file, and tell whether it has a quote.

    An error comes while nothing has been written.
    """
    decoder = codecs.getincrementaldecoder(layout.codec)()
    quoted = False
    with _opened(file, layout) as raw:
        while block := raw.read(_CHUNK):
            chunk = decoder.decode(block)
            if "\0" in chunk:
                raise InvalidRequest(
                    "raw_data", f"{file} holds NUL characters: it is damaged or no UTF-8; {_advice('utf-16-le')}"
                )
            quoted = quoted or '"' in chunk
        decoder.decode(b"", final=True)
    return quoted


@contextmanager
def _opened(file: Path, layout: CsvLayout) -> Iterator[pa.NativeFile]:
    try:
        if layout.codec == "utf-8-sig":
            _refuse_marks(file)
        with pa.input_stream(str(file)) as raw:
            yield raw
    except UnicodeError as exc:
        raise InvalidRequest("raw_data", f"{file} is not {layout.encoding} ({exc}); {_advice()}") from exc
    except (pa.ArrowException, OSError) as exc:
        raise InvalidRequest("raw_data", f"{file} is not readable as CSV ({exc})") from exc


@contextmanager
def _decoded(raw: pa.NativeFile, layout: CsvLayout) -> Iterator[TextIO]:
    with io.TextIOWrapper(raw, encoding=layout.codec, newline="") as text:
        for _ in range(layout.skip_rows):
            text.readline()
        yield text


def _refuse_marks(file: Path) -> None:
    with pa.input_stream(str(file)) as raw:
        start = raw.read(4)
    found = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if found is not None:
        raise InvalidRequest("raw_data", f"{file} begins like {found}, not utf-8; {_advice(found)}")


def _advice(encoding: str = "latin-1") -> str:
    return f"say how it is encoded (--encoding {encoding}, encoding={encoding!r}) or convert it with iconv"
