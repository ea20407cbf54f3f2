"""Text cells as times, in the forms that vendors write.

A format, a count since 1970, ISO, seconds after midnight.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fstore.ingest.rows.cells import Number, Parsed, Settled, cast_each
from fstore.ingest.rows.zones import UTC_NS
from fstore.ingest.time_texts import UNITS

_NAIVE_NS = pa.timestamp("ns")
_DIGITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Format(Settled):
    """Text in a form of strptime.

    ``shape`` is what all of it looks like, since strptime takes fewer digits too.
    """

    pattern: str
    shape: str

    @property
    def type(self) -> pa.DataType:
        """Naive, unless there are offsets."""
        return UTC_NS if "%z" in self.pattern else _NAIVE_NS

    @property
    def wants(self) -> str:
        """The form."""
        return f"a time like {pd.Timestamp('2012-02-01 16:05:09', tz='UTC').strftime(self.pattern)!r}"

    def parse(self, texts: pa.Array) -> Parsed:
        """Read what has the shape."""
        well = pc.fill_null(pc.match_substring_regex(texts, f"^(?:{self.shape})$"), False)
        kept = pc.if_else(well, texts, None).to_pandas()
        moments = pd.to_datetime(kept, format=self.pattern, errors="coerce", utc="%z" in self.pattern)
        values = pa.Array.from_pandas(moments.dt.as_unit("ns"), type=self.type)
        return Parsed(values, pc.and_(texts.is_valid(), values.is_null()))


@dataclass(frozen=True, slots=True)
class Count:
    """Whole numbers since 1970 UTC.

    Without a unit the number of digits in a file tells it, for years from 2001 to 2286. ``void`` are the numbers
    that stand for no time; ``iso`` allows ISO text in their place, for a whole file.
    """

    unit: str | None = None
    void: tuple[int, ...] = ()
    iso: bool = False
    digits: int | None = None
    type = UTC_NS

    @property
    def wants(self) -> str:
        """The unit, once it is known."""
        if self.digits is not None:
            return f"{self.digits} digits, a number of {self.unit} since 1970, as where the file begins"
        if self.unit is not None:
            return f"a number of {self.unit} since 1970"
        return "10, 13, 16 or 19 digits, a number of s, ms, us or ns since 1970; say which (--time-unit, time_unit=)"

    def bound(self, cell: str) -> Count | Iso:
        """Take the unit from the first cell, for all of the file."""
        if self.iso and "-" in cell[1:]:
            return Iso()
        whole = cell.split(".", maxsplit=1)[0]
        unit = _DIGITS.get(len(whole)) if whole.isdecimal() else None
        return self if self.unit or unit is None else replace(self, unit=unit, digits=len(whole))

    def parse(self, texts: pa.Array) -> Parsed:
        """Read the numbers, exact to the nanosecond."""
        size = f"{{{self.digits}}}" if self.digits is not None else "+"
        form = rf"^\d{size}(\.0+)?$" if self.unit != "s" else rf"^\d{size}(\.\d{{1,9}})?$"
        well = pc.fill_null(pc.match_substring_regex(texts, form), False)
        if self.void:
            void = pc.fill_null(pc.is_in(texts, value_set=pa.array([str(number) for number in self.void])), False)
            texts, well = pc.if_else(void, None, texts), pc.and_(well, pc.invert(void))
        if self.unit is None:
            return Parsed(pa.nulls(len(texts), UTC_NS), texts.is_valid())
        ticks = cast_each(pc.if_else(well, texts, None), self._ticks)
        return Parsed(ticks.cast(UTC_NS), pc.and_(texts.is_valid(), ticks.is_null()))

    def _ticks(self, texts: pa.Array) -> pa.Array:
        return _exact_ticks(texts, UNITS[self.unit or "ns"])


@dataclass(frozen=True, slots=True)
class Iso(Settled):
    """ISO text with Z or an offset."""

    type = UTC_NS
    wants = "an ISO time with Z, as where the file begins"

    def parse(self, texts: pa.Array) -> Parsed:
        """Read what names its zone."""
        form = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$"
        well = pc.fill_null(pc.match_substring_regex(texts, form), False)
        values = cast_each(pc.if_else(well, texts, None), lambda cells: cells.cast(UTC_NS))
        return Parsed(values, pc.and_(texts.is_valid(), values.is_null()))


@dataclass(frozen=True, slots=True)
class SinceMidnight(Settled):
    """Seconds that the clocks show after midnight of a day, which the file's name has."""

    day: str = "1970-01-01"
    type = _NAIVE_NS
    wants = "seconds after midnight, below 86400, with at most nine decimals"

    def parse(self, texts: pa.Array) -> Parsed:
        """Add them to the day."""
        well = pc.fill_null(pc.match_substring_regex(texts, r"^\d{1,5}(\.\d{1,9})?$"), False)
        ticks = _exact_ticks(pc.if_else(well, texts, None), UNITS["s"])
        ticks = pc.if_else(pc.less(ticks, _DAY_NS), ticks, None)
        values = pc.add(ticks, pd.Timestamp(self.day).value).cast(_NAIVE_NS)
        return Parsed(values, pc.and_(texts.is_valid(), values.is_null()))


def day_in(name: str) -> str | None:
    """Find the day in a file's name, between underscores."""
    found = re.search(r"_(\d{4}-\d\d-\d\d)_", name)
    try:
        return str(pd.Timestamp(found[1]).date()) if found else None
    except ValueError:
        return None


def _exact_ticks(texts: pa.Array, factor: int) -> pa.Array:
    if not pc.any(pc.match_substring(texts, ".")).as_py():
        return pc.multiply_checked(Number(pa.int64()).parse(texts).values, factor)
    exact = texts.cast(pa.decimal256(40, 18))
    return pc.multiply(exact, pa.scalar(factor).cast(pa.decimal256(19, 0))).cast(pa.int64())
