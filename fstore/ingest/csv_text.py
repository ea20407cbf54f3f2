"""A CSV file as text: its first row, and what makes it unreadable whatever its columns are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from fstore.errors import InvalidRequest
from fstore.ingest.csv_layout import CsvLayout

_CHUNK = 1 << 20
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


@dataclass(frozen=True, slots=True)
class CsvText:
    """What is known of a file before its columns are: ``quoted`` says that it has a quote anywhere."""

    first_row: tuple[str, ...]
    second_row: tuple[str, ...]
    quoted: bool


def inspect(file: Path, layout: CsvLayout) -> CsvText:
    """Read the file once as text; ``InvalidRequest`` for a wrong encoding, NUL characters and broken quotes.

    A quote that is never closed would swallow the rows up to the next one, and
    text behind a closing quote would become part of the cell, both silently.
    """
    quoted = False
    with _opened(file, layout) as text:
        for chunk in iter(lambda: text.read(_CHUNK), ""):
            if "\0" in chunk:
                raise InvalidRequest(
                    "raw_data", f"{file} holds NUL characters: it is damaged or no UTF-8; {_advice('utf-16-le')}"
                )
            quoted = quoted or '"' in chunk
    with _opened(file, layout) as text:
        rows = csv.reader(text, delimiter=layout.delimiter_of(file), strict=True)
        try:
            first, second = (next((row for row in rows if row), []) for _ in range(2))
            alone, gap = len(first) == 1, False
            for row in rows if quoted or alone else ():
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
    return CsvText(tuple(first), tuple(second), quoted)


@contextmanager
def _opened(file: Path, layout: CsvLayout) -> Iterator[TextIO]:
    try:
        with pa.input_stream(str(file)) as raw:
            if layout.codec == "utf-8-sig":
                _refuse_marks(file)
            with io.TextIOWrapper(raw, encoding=layout.codec, newline="") as text:
                for _ in range(layout.skip_rows):
                    text.readline()
                yield text
    except UnicodeError as exc:
        raise InvalidRequest("raw_data", f"{file} is not {layout.encoding} ({exc}); {_advice()}") from exc
    except (pa.ArrowException, OSError) as exc:
        raise InvalidRequest("raw_data", f"{file} is not readable as CSV ({exc})") from exc


def _refuse_marks(file: Path) -> None:
    with pa.input_stream(str(file)) as raw:
        start = raw.read(4)
    found = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if found is not None:
        raise InvalidRequest("raw_data", f"{file} begins like {found}, not utf-8; {_advice(found)}")


def _advice(encoding: str = "latin-1") -> str:
    return f"say how it is encoded (--encoding {encoding}, encoding={encoding!r}) or convert it with iconv"
