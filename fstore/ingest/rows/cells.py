"""Text cells as values of a type that was said, each exact or told to be none.

Nothing is guessed from other cells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc

from fstore.errors import InvalidRequest
from fstore.ingest.csv_cells import FALSE, MISSING, TRUE

_EXACT_DOUBLE = 1 << 53
_NAMES = {
    **{f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
}
_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)")


@dataclass(frozen=True, slots=True)
class Parsed:
    """Values, and which of the cells are none: those are null in ``values``."""

    values: pa.Array
    bad: pa.Array


class Kind(Protocol):
    """How the cells of a column are written."""

    @property
    def type(self) -> pa.DataType:
        """What they become."""

    @property
    def wants(self) -> str:
        """What a cell has to be, in words."""

    def bound(self, cell: str) -> Kind:
        """Return the kind for a file whose first cell this is: all others have to be written alike."""

    def parse(self, texts: pa.Array) -> Parsed:
        """Turn text into values; nulls stay nulls."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A kind of which there is one way of writing."""

    def bound(self, cell: str) -> Self:
        """All files are alike."""
        del cell
        return self


@dataclass(frozen=True, slots=True)
class Text(Settled):
    """Text as it is written."""

    type = pa.string()
    wants = "text"

    def parse(self, texts: pa.Array) -> Parsed:
        """Keep it."""
        return Parsed(texts, none_of(texts))


@dataclass(frozen=True, slots=True)
class Flag(Settled):
    """``true`` and ``false``, however they are capitalised."""

    type = pa.bool_()
    wants = "true or false"

    def parse(self, texts: pa.Array) -> Parsed:
        """Read the two words."""
        known = pc.is_in(texts, value_set=pa.array([*TRUE, *FALSE]))
        values = pc.if_else(known, pc.is_in(texts, value_set=pa.array(TRUE)), None)
        return Parsed(pc.if_else(texts.is_valid(), values, None), pc.and_(texts.is_valid(), pc.invert(known)))


@dataclass(frozen=True, slots=True)
class Number(Settled):
    """A number of a type that holds it; ``point`` is the decimal sign."""

    type: pa.DataType
    point: str = "."

    @property
    def wants(self) -> str:
        """The type tells the range."""
        return f"a number that {self.type} holds"

    def parse(self, texts: pa.Array) -> Parsed:
        """Read digits; hexadecimal, infinite and wider numbers are bad."""
        digits = r"[+-]?\d+"
        if not pa.types.is_integer(self.type):
            point = re.escape(self.point)
            digits = rf"[+-]?(\d+({point}\d*)?|{point}\d+)([eE][+-]?\d{{1,3}})?"
        well = pc.fill_null(pc.match_substring_regex(texts, f"^{digits}$"), False)
        plain = pc.replace_substring_regex(pc.if_else(well, texts, None), r"^\+", "")
        if self.point != ".":
            plain = pc.replace_substring(plain, self.point, ".")
        values = cast_each(plain, lambda cells: cells.cast(self.type))
        if pa.types.is_floating(self.type):
            values = pc.if_else(pc.is_finite(values), values, None)
        return Parsed(values, pc.and_(texts.is_valid(), values.is_null()))


@dataclass(frozen=True, slots=True)
class Scaled(Settled):
    """Prices as whole numbers of ``1 / parts``; ``void`` are the numbers that stand for no price."""

    parts: int
    void: tuple[int, ...] = ()
    type = pa.float64()

    @property
    def wants(self) -> str:
        """A price without a point."""
        return f"a whole number of 1/{self.parts}"

    def parse(self, texts: pa.Array) -> Parsed:
        """Divide, with the double nearest to the exact price."""
        whole = Number(pa.int64()).parse(texts)
        counts = whole.values
        if self.void:
            counts = pc.if_else(pc.is_in(counts, value_set=pa.array(self.void, pa.int64())), None, counts)
        small = pc.and_(pc.less(counts, _EXACT_DOUBLE), pc.greater(counts, -_EXACT_DOUBLE))
        if pc.all(small).as_py() is not False:
            return Parsed(pc.divide(counts.cast(pa.float64()), float(self.parts)), whole.bad)
        # Beyond that, one rounding to a double and one of the division may end next to the nearest.
        scale = pa.scalar(self.parts, pa.int64())
        rest = pc.subtract(counts, pc.multiply(pc.divide(counts, scale), scale))
        sign = pc.if_else(pc.less(counts, 0), "-", "")
        width = len(str(self.parts)) - 1
        fraction = pc.utf8_lpad(pc.abs(rest).cast(pa.string()), width, "0")
        wholes = pc.abs(pc.divide(counts, scale)).cast(pa.string())
        exact = pc.binary_join_element_wise(sign, wholes, ".", fraction, "")
        return Parsed(exact.cast(pa.float64()), whole.bad)


def kind_named(name: str, point: str = ".") -> Kind:
    """Return the kind for a type as users write it; raises ``InvalidRequest`` for one that is not known."""
    known = {"str": "string", "text": "string", "float": "float64", "int": "int64", "boolean": "bool"}.get(name, name)
    if (match := _DECIMAL.fullmatch(known)) and 1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1]):
        return Number(pa.decimal128(int(match[1]), int(match[2])), point)
    kind = _NAMES.get(known)
    if kind is None:
        raise InvalidRequest("dtype", f"{name!r} is none of {', '.join(_NAMES)}, decimal(18,9)")
    if pa.types.is_string(kind):
        return Text()
    return Flag() if pa.types.is_boolean(kind) else Number(kind, point)


def read_dtypes(written: Iterable[str]) -> dict[str, str]:
    """Read types written as ``column=type``."""
    dtypes: dict[str, str] = {}
    for each in written:
        column, sign, name = each.rpartition("=")
        if not sign or not column or column in dtypes:
            fault = "gives a column a second type" if column in dtypes else "is not column=type, like price=float64"
            raise InvalidRequest("dtype", f"{each!r} {fault}")
        kind_named(name)
        dtypes[column] = name
    return dtypes


def without_missing(texts: pa.Array) -> pa.Array:
    """Make nulls of empty cells and of the words for what is missing."""
    return pc.if_else(pc.is_in(texts, value_set=pa.array(["", *MISSING])), None, texts)


def none_of(cells: pa.Array) -> pa.Array:
    """Return as many falses as there are cells."""
    return pa.repeat(pa.scalar(False), len(cells))


def cast_each(cells: pa.Array, cast: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Cast all cells; those that cannot be become null.

    Halves are tried where the whole fails, so few faults cost little.
    """
    try:
        return cast(cells)
    except (pa.ArrowException, ValueError):
        if len(cells) == 1:
            return pa.nulls(1, cast(cells.slice(0, 0)).type)
    middle = len(cells) // 2
    return pa.concat_arrays([cast_each(cells[:middle], cast), cast_each(cells[middle:], cast)])
