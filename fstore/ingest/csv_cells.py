"""What the cells of a CSV column look like, and the type that holds all of them without loss.

A column is typed by the shapes of its cells in all files, wherever they stand:

- whole numbers that fit 64 bits: int64, or uint64 where one needs it and none is negative;
- numbers with a decimal point or a signed exponent, whole ones among them: float64;
- ``true``/``false`` in one way of writing: bool; ISO dates, times of day, timestamps
  (naive, or all with an offset: then UTC): those, timestamps in nanoseconds;
- anything else is text, exactly as written: so is a column with a number that begins with
  a zero (``000123``, ``007.50``), that is beyond 64 bits, or beyond 2^53 next to fractions,
  which a float would round.

``1E5``, ``12.5e3``, ``+5`` and ``inf`` count as numbers next to ones with a decimal point
only; by themselves they are names. Empty cells, and the words of ``MISSING``, are missing in every
column that is not text; in text they stay what is written, and words alone make text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from enum import Enum, auto

import pyarrow as pa
import pyarrow.compute as pc

MISSING = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "N/A", "NA", "NULL",
    "NaN", "n/a", "nan", "null",
)  # fmt: skip
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


class Shape(Enum):
    """What a cell looks like."""

    EMPTY = auto()
    WORD = auto()
    WHOLE = auto()
    NEGATIVE = auto()
    BEYOND_DOUBLE = auto()
    BEYOND_INT64 = auto()
    BEYOND_UINT64 = auto()
    DECIMAL = auto()
    LOOSE_NUMBER = auto()
    LOWER_BOOL = auto()
    TITLE_BOOL = auto()
    UPPER_BOOL = auto()
    DATE = auto()
    FAR_DATE = auto()
    CLOCK = auto()
    STAMP = auto()
    ZONED_STAMP = auto()
    TEXT = auto()


_WHOLE_SHAPES = {Shape.WHOLE, Shape.NEGATIVE, Shape.BEYOND_DOUBLE, Shape.BEYOND_INT64, Shape.BEYOND_UINT64}
_DAY, _TIME = r"\d{4}-\d\d-\d\d", r"\d\d(:\d\d(:\d\d(\.\d{1,9})?)?)?"
_PATTERNS = {
    Shape.WHOLE: r"(0|-?[1-9][0-9]*)",
    Shape.DECIMAL: (
        r"(-0|[+-]?(0|[1-9]\d*)?\.\d+|[+-]?(0|[1-9]\d*)\.|[+-]?\d(\.\d*)?[eE][+-]\d{1,3}|[+-]?\d\.\d+[eE]\d{1,3})"
    ),
    Shape.LOOSE_NUMBER: r"([+-]?(0|[1-9]\d*)(\.\d*)?[eE][+-]?\d{1,3}|\+(0|[1-9]\d*)|[+-]?(?i:inf|infinity))",
    Shape.LOWER_BOOL: "(true|false)",
    Shape.TITLE_BOOL: "(True|False)",
    Shape.UPPER_BOOL: "(TRUE|FALSE)",
    Shape.DATE: _DAY,
    Shape.CLOCK: r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?",
    Shape.STAMP: f"{_DAY}[ T]{_TIME}",
    Shape.ZONED_STAMP: rf"{_DAY}[ T]{_TIME}(Z|[+-]\d\d(:?\d\d)?)",
}
_NUMBERS = (Shape.WHOLE, Shape.DECIMAL, Shape.LOOSE_NUMBER)
_TYPES = {
    Shape.DATE: pa.date32(),
    Shape.CLOCK: pa.time32("s"),
    Shape.STAMP: pa.timestamp("ns"),
    Shape.ZONED_STAMP: pa.timestamp("ns", tz="UTC"),
}


class ColumnShapes:
    """Gathers the shapes of one column, block after block."""

    def __init__(self, *, decimal: str = ".", text: bool = False) -> None:
        self.seen: set[Shape] = {Shape.TEXT} if text else set()
        self._decimal = decimal
        self._order = [Shape.EMPTY, Shape.WORD, *_PATTERNS]

    def look(self, cells: pa.Array) -> None:
        """Add the shapes of a block of cells; once there is text, nothing else matters."""
        # A hash costs less than a pattern, and most columns repeat themselves.
        rest = cells if Shape.TEXT in self.seen else pc.unique(cells)
        for shape in self._order:
            if Shape.TEXT in self.seen or not len(rest):
                break
            matches = self._matches(rest, shape)
            found = rest.filter(matches)
            if len(found):
                self.seen.update(self._measured(shape, found))
                rest = rest.filter(pc.invert(matches))
        if len(rest):
            self.seen.add(Shape.TEXT)
        # What a column held before it most likely holds again.
        self._order.sort(key=lambda shape: shape not in self.seen)

    def _matches(self, cells: pa.Array, shape: Shape) -> pa.Array:
        if shape is Shape.EMPTY:
            return pc.equal(cells, "")
        if shape is Shape.WORD:
            return pc.is_in(cells, value_set=pa.array(MISSING))
        pattern = _PATTERNS[shape]
        if shape in _NUMBERS:
            point = re.escape(self._decimal)
            pattern = r"[ \t]*" + pattern.replace(r"\.", point) + r"[ \t]*"
        return pc.match_substring_regex(cells, f"^(?:{pattern})$")

    def _measured(self, shape: Shape, cells: pa.Array) -> Iterator[Shape]:
        """Tell what the pattern does not: whether the values exist and how large they are."""
        if shape is Shape.WHOLE:
            yield from _sizes(pc.ascii_trim(cells, " \t"))
        elif shape in (Shape.DECIMAL, Shape.LOOSE_NUMBER):
            numbers = pc.ascii_trim(cells, " \t")
            if self._decimal != ".":
                numbers = pc.replace_substring(numbers, self._decimal, ".")
            infinite = pc.is_inf(numbers.cast(pa.float64()))
            named = pc.match_substring_regex(numbers, "(?i)inf")
            yield shape if not pc.any(pc.and_not(infinite, named)).as_py() else Shape.TEXT
        elif shape in (Shape.DATE, Shape.STAMP, Shape.ZONED_STAMP):
            yield shape if _fits(cells, _TYPES[shape]) else Shape.TEXT
            if shape is Shape.DATE and not _fits(cells, pa.timestamp("ns")):
                yield Shape.FAR_DATE
        else:
            yield shape


def type_for(shapes: Collection[Shape]) -> pa.DataType:
    """Choose the type that holds cells of all these shapes without loss."""
    seen = set(shapes) - {Shape.EMPTY, Shape.WORD}
    if not seen:
        return pa.string() if Shape.WORD in shapes else pa.null()
    if seen <= {*_WHOLE_SHAPES, Shape.DECIMAL, Shape.LOOSE_NUMBER}:
        return _number_for(seen)
    if seen in ({Shape.LOWER_BOOL}, {Shape.TITLE_BOOL}, {Shape.UPPER_BOOL}):
        return pa.bool_()
    if {Shape.DATE, Shape.STAMP} <= seen:
        seen -= {Shape.DATE}  # a date is the midnight that begins it
    elif Shape.DATE in seen:
        seen -= {Shape.FAR_DATE}
    (some, *others) = seen
    return pa.string() if others else _TYPES.get(some, pa.string())


def _number_for(seen: set[Shape]) -> pa.DataType:
    if seen <= _WHOLE_SHAPES:
        if Shape.BEYOND_UINT64 in seen or {Shape.BEYOND_INT64, Shape.NEGATIVE} <= seen:
            return pa.string()
        return pa.uint64() if Shape.BEYOND_INT64 in seen else pa.int64()
    return pa.float64() if Shape.DECIMAL in seen and Shape.BEYOND_DOUBLE not in seen else pa.string()


def _sizes(cells: pa.Array) -> Iterator[Shape]:
    yield Shape.WHOLE
    if pc.any(pc.starts_with(cells, "-")).as_py():
        yield Shape.NEGATIVE
    if _fits(cells, pa.int64()):
        extremes = pc.min_max(cells.cast(pa.int64())).as_py()
        if extremes["min"] < -(1 << 53) or extremes["max"] > 1 << 53:
            yield Shape.BEYOND_DOUBLE
        return
    yield Shape.BEYOND_DOUBLE
    yield Shape.BEYOND_INT64
    # One at a time: a negative number fits no uint64, but is not too large for that reason.
    if not _fits(cells.filter(pc.invert(pc.starts_with(cells, "-"))), pa.uint64()):
        yield Shape.BEYOND_UINT64


def _fits(cells: pa.Array, kind: pa.DataType) -> bool:
    try:
        cells.cast(kind)
    except pa.ArrowException:
        return False
    return True
