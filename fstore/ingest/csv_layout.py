"""How a CSV file is laid out, as far as the caller says so.

What is not said is checked, never guessed.
"""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fstore.errors import InvalidRequest

CSV_DELIMITERS = {".csv": ",", ".tsv": "\t"}
TEXT = ".txt"  # promises nothing: its delimiter has to be said
COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")
_SPELT_OUT = {"tab": "\t", "\\t": "\t", "space": " "}


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """The caller's word on a CSV file; ``InvalidRequest`` for what cannot be.

    ``header`` says whether each file begins with a row of names; None means that it does
    and that a first row which reads as data is refused. ``names`` are the columns' names:
    with ``header=False`` there are no others, with ``header=True`` they replace those of
    the file. ``text_columns`` are kept as they are written, whatever they look like.
    """

    header: bool | None = None
    names: Sequence[str] | None = None
    delimiter: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    skip_rows: int = 0
    text_columns: Collection[str] = ()

    def __post_init__(self) -> None:
        self._check_names()
        given = self.delimiter
        if given is not None and (len(self.mark) != 1 or not self.mark.isascii() or self.mark in '"\r\n\0'):
            raise InvalidRequest("delimiter", f"{given!r} is not one ASCII character; write ';', '|', 'tab' or 'space'")
        if self.decimal not in (".", ","):
            raise InvalidRequest("decimal", f"{self.decimal!r} is neither '.' nor ','")
        if self.decimal == self.mark:
            raise InvalidRequest("decimal", f"{self.decimal!r} is the delimiter as well")
        if isinstance(self.skip_rows, bool) or not isinstance(self.skip_rows, int) or self.skip_rows < 0:
            raise InvalidRequest("skip_rows", f"{self.skip_rows!r} is no number of lines")
        if isinstance(self.text_columns, str):
            raise InvalidRequest("text_columns", f"{self.text_columns!r} is a text; give a list of names")
        try:
            known = codecs.lookup(self.encoding)
            "".encode(known.name)
        except (LookupError, TypeError, ValueError) as exc:
            raise InvalidRequest("encoding", f"{self.encoding!r} is no text encoding that Python knows") from exc

    @property
    def mark(self) -> str:
        """The delimiter as one character, or nothing when the caller leaves it to the file's name."""
        return _SPELT_OUT.get(self.delimiter or "", self.delimiter or "")

    @property
    def codec(self) -> str:
        """Python's name of the encoding; a byte order mark is no part of UTF-8 text."""
        name = codecs.lookup(self.encoding).name
        return "utf-8-sig" if name == "utf-8" else name

    @property
    def arrow_encoding(self) -> str:
        """Arrow's name of the encoding; it knows of the byte order mark itself."""
        return "utf8" if self.codec == "utf-8-sig" else self.codec

    def delimiter_of(self, file: Path) -> str:
        """Return what separates the cells of ``file``: what the caller says, else what its name promises."""
        suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() not in COMPRESSIONS]
        chosen = self.mark or CSV_DELIMITERS.get(suffixes[-1])
        if chosen is None:
            raise InvalidRequest("delimiter", f"say what separates the cells of {file.name} (--delimiter ',')")
        if chosen == self.decimal:
            raise InvalidRequest("decimal", f"{chosen!r} separates the cells of {file.name}; name its delimiter too")
        return chosen

    def _check_names(self) -> None:
        if self.names is None:
            if self.header is False:
                raise InvalidRequest("names", "a file without a header needs the names of its columns (--names a,b,c)")
            return
        if isinstance(self.names, str) or not all(isinstance(name, str) and name for name in self.names):
            raise InvalidRequest("names", f"{self.names!r} is not a list of names")
        twice = [name for at, name in enumerate(self.names) if name in self.names[:at]]
        if twice or not self.names:
            raise InvalidRequest("names", f"{twice[0]!r} is there twice" if twice else "there is none")
        if self.header is None:
            raise InvalidRequest(
                "names",
                "say whether the file has a first row that they replace (--header) or not (--no-header)",
            )
