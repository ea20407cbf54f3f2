"""Random tables of every supported type, single edits of them, and other layouts of the same content."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

NAN_PAYLOAD = struct.unpack("<d", bytes.fromhex("010000000000f87f"))[0]


@dataclass(frozen=True)
class Column:
    """A column as plain values, from which arrays of several layouts can be built."""

    name: str
    kind: pa.DataType
    values: tuple[Any, ...]

    def array(self) -> pa.Array:
        if pa.types.is_dictionary(self.kind):
            encoded = pa.array(list(self.values), self.kind.value_type).dictionary_encode()
            codes = encoded.indices.cast(self.kind.index_type)
            return pa.DictionaryArray.from_arrays(codes, encoded.dictionary, ordered=self.kind.ordered)
        if pa.types.is_float64(self.kind):
            present = np.array([0.0 if v is None else v for v in self.values], dtype=np.float64)
            return pa.array(present, mask=np.array([v is None for v in self.values], dtype=bool), from_pandas=False)
        return pa.array(list(self.values), self.kind)


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("abcXYZ09é€") for _ in range(rng.randint(0, 9)))


def _integers(bits: int, *, signed: bool) -> Callable[[random.Random], int]:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return lambda rng: rng.choice([0, 1, low, high, rng.randint(low, high), rng.randint(0, 9)])


def _float(rng: random.Random) -> float:
    return rng.choice([0.0, -0.0, 1.5, float("nan"), float("inf"), rng.gauss(100, 10), 5e-324])


def _listed(make: Callable[[random.Random], Any], size: int | None = None) -> Callable[[random.Random], list[Any]]:
    return lambda rng: [
        None if rng.random() < 0.1 else make(rng) for _ in range(rng.randint(0, 4) if size is None else size)
    ]


def _record(rng: random.Random) -> dict[str, Any]:
    return {"p": rng.choice([None, rng.randint(0, 99)]), "q": rng.choice([None, _word(rng)])}


_int64 = _integers(62, signed=True)
_ticks = _integers(40, signed=True)
_small = _integers(8, signed=True)
KINDS: list[tuple[pa.DataType, Callable[[random.Random], Any]]] = [
    (pa.bool_(), lambda rng: rng.random() < 0.5),
    *[(getattr(pa, f"int{bits}")(), _integers(bits, signed=True)) for bits in (8, 16, 32, 64)],
    *[(getattr(pa, f"uint{bits}")(), _integers(bits, signed=False)) for bits in (8, 16, 32, 64)],
    (pa.float16(), lambda rng: np.float16(rng.choice([0.0, 1.0, -2.5, rng.randint(0, 9)]))),
    (pa.float32(), lambda rng: float(np.float32(rng.gauss(0, 9)))),
    (pa.float64(), _float),
    (pa.date32(), _integers(15, signed=True)),
    (pa.date64(), lambda rng: 86_400_000 * rng.randint(-999, 9999)),
    (pa.time32("s"), lambda rng: rng.randint(0, 86_399)),
    (pa.time32("ms"), lambda rng: rng.randint(0, 86_399_999)),
    (pa.time64("us"), lambda rng: rng.randint(0, 86_399_999_999)),
    (pa.time64("ns"), lambda rng: rng.randint(0, 86_399_999_999_999)),
    *[(pa.timestamp(unit), _ticks) for unit in ("s", "ms", "us", "ns")],
    (pa.timestamp("ns", tz="America/New_York"), _ticks),
    (pa.timestamp("us", tz="UTC"), _ticks),
    *[(pa.duration(unit), _ticks) for unit in ("s", "ns")],
    (pa.decimal32(7, 2), lambda rng: Decimal(rng.randint(-9999, 9999)) / 100),
    (pa.decimal64(12, 3), lambda rng: Decimal(rng.randint(-9999, 9999)) / 1000),
    (pa.decimal128(20, 4), lambda rng: Decimal(rng.randint(-9999, 9999)) / 10000),
    (pa.decimal256(50, 2), lambda rng: Decimal(rng.randint(-9999, 9999)) / 100),
    (pa.string(), _word),
    (pa.large_string(), _word),
    (pa.string_view(), _word),
    (pa.binary(), lambda rng: rng.randbytes(rng.randint(0, 5))),
    (pa.large_binary(), lambda rng: rng.randbytes(rng.randint(0, 5))),
    (pa.binary_view(), lambda rng: rng.randbytes(rng.randint(0, 20))),
    (pa.binary(3), lambda rng: rng.randbytes(3)),
    (pa.dictionary(pa.int8(), pa.string()), lambda rng: rng.choice(["buy", "sell", "hold", "Buy"])),
    (pa.dictionary(pa.int32(), pa.large_string()), _word),
    (pa.dictionary(pa.int16(), pa.int64()), lambda rng: rng.randint(0, 5)),
    (pa.list_(pa.int32()), _listed(_integers(32, signed=True))),
    (pa.list_(pa.string()), _listed(_word)),
    (pa.large_list(pa.float64()), _listed(lambda rng: rng.gauss(0, 1))),
    (pa.list_(pa.list_(pa.int8())), _listed(_listed(_small))),
    (pa.list_(pa.int16(), 2), _listed(_integers(16, signed=True), 2)),
    (pa.struct([("p", pa.int64()), ("q", pa.string())]), _record),
    (pa.list_(pa.struct([("p", pa.int64()), ("q", pa.string())])), _listed(_record)),
    (pa.map_(pa.string(), pa.int64()), lambda rng: [(_word(rng), _int64(rng)) for _ in range(rng.randint(0, 3))]),
]


def random_column(rng: random.Random, name: str, rows: int) -> Column:
    kind, make = rng.choice(KINDS)
    nulls = rng.choice([0.0, 0.0, 0.2, 0.7])
    return Column(name, kind, tuple(None if rng.random() < nulls else make(rng) for _ in range(rows)))


def random_columns(rng: random.Random) -> list[Column]:
    rows = rng.choice([1, 2, 3, 7, 8, 9, 16, 17, 40])
    return [random_column(rng, name, rows) for name in ("price", "size", "side", "note")[: rng.randint(1, 4)]]


def table(columns: list[Column]) -> pa.Table:
    return pa.table({column.name: column.array() for column in columns})


def same(left: Any, right: Any) -> bool:
    """Are two values the same to the bit."""
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    return type(left) is type(right) and bool(left == right) and repr(left) == repr(right)


def _with_values(column: Column, values: list[Any]) -> Column:
    return replace(column, values=tuple(values))


def _edit_cell(rng: random.Random, column: Column) -> Column | None:
    make = next(make for kind, make in KINDS if kind == column.kind)
    at = rng.randrange(len(column.values))
    for _ in range(20):
        value = make(rng)
        if not same(value, column.values[at]):
            return _with_values(column, [*column.values[:at], value, *column.values[at + 1 :]])
    return None


def _edit_null(rng: random.Random, column: Column) -> Column | None:
    present = [i for i, value in enumerate(column.values) if value is not None]
    if not present:
        return None
    at = rng.choice(present)
    return _with_values(column, [*column.values[:at], None, *column.values[at + 1 :]])


def _edit_null_to_nan(rng: random.Random, column: Column) -> Column | None:
    missing = [i for i, value in enumerate(column.values) if value is None]
    if not missing or not pa.types.is_floating(column.kind):
        return None
    at = rng.choice(missing)
    nan = np.float16("nan") if pa.types.is_float16(column.kind) else float("nan")
    return _with_values(column, [*column.values[:at], nan, *column.values[at + 1 :]])


def _edit_swap_cells(rng: random.Random, column: Column) -> Column | None:
    values = list(column.values)
    pairs = [(i, j) for i in range(len(values)) for j in range(i) if not same(values[i], values[j])]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    values[i], values[j] = values[j], values[i]
    return _with_values(column, values)


def _edit_case(rng: random.Random, column: Column) -> Column | None:
    cased = [i for i, v in enumerate(column.values) if isinstance(v, str) and v != v.swapcase()]
    if not cased:
        return None
    at = rng.choice(cased)
    return _with_values(column, [*column.values[:at], column.values[at].swapcase(), *column.values[at + 1 :]])


def _edit_bits(rng: random.Random, column: Column) -> Column | None:
    """Flip the sign of a zero, or give a NaN another payload."""
    if not pa.types.is_float64(column.kind):
        return None
    odd = [i for i, v in enumerate(column.values) if v is not None and (v == 0 or math.isnan(v))]
    if not odd:
        return None
    at = rng.choice(odd)
    value = -column.values[at] if column.values[at] == 0 else NAN_PAYLOAD
    return _with_values(column, [*column.values[:at], value, *column.values[at + 1 :]])


_RECASTS = {
    "int8": pa.int16(), "int16": pa.int32(), "int32": pa.int64(), "uint8": pa.int16(), "uint16": pa.uint32(),
    "uint32": pa.uint64(), "float": pa.float64(), "timestamp[s]": pa.timestamp("ms"), "timestamp[ms]": pa.timestamp("us"),
    "timestamp[us]": pa.timestamp("us", tz="UTC"), "timestamp[ns]": pa.timestamp("ns", tz="Asia/Tokyo"),
    "timestamp[us, tz=UTC]": pa.timestamp("us", tz="Europe/Paris"), "timestamp[ns, tz=America/New_York]": pa.timestamp("ns"),
    "string": pa.binary(), "large_string": pa.large_binary(), "date32[day]": pa.int32(), "duration[ns]": pa.int64(),
    "time64[ns]": pa.int64(), "duration[s]": pa.duration("ns"), "decimal128(20, 4)": pa.decimal128(21, 4),
    "list<item: int32>": pa.list_(pa.int64()), "time32[ms]": pa.time64("us"),
}  # fmt: skip


def _edit_recast(_: random.Random, column: Column) -> Column | None:
    """Same stored numbers under another type, time zone or unit."""
    wanted = _RECASTS.get(str(column.kind))
    if wanted is None:
        if pa.types.is_dictionary(column.kind):
            kind = column.kind
            return replace(column, kind=pa.dictionary(kind.index_type, kind.value_type, ordered=not kind.ordered))
        return None
    values = [v.encode() if isinstance(v, str) else v for v in column.values]
    return replace(_with_values(column, values), kind=wanted)


_CELL_EDITS = [
    _edit_cell, _edit_cell, _edit_cell, _edit_null, _edit_null_to_nan, _edit_swap_cells, _edit_case, _edit_bits, _edit_recast,
]  # fmt: skip


def random_edit(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column]]:
    """Make one random edit that changes the content, and name it."""
    while True:
        if rng.random() < 0.3:
            name, changed = rng.choice(_TABLE_EDITS)(rng, columns)
            if changed is not None:
                return name, changed
            continue
        edit = rng.choice(_CELL_EDITS)
        for at in rng.sample(range(len(columns)), len(columns)):
            edited = edit(rng, columns[at])
            if edited is not None:
                return f"{edit.__name__} in {columns[at].kind}", [*columns[:at], edited, *columns[at + 1 :]]


def _rename(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column] | None]:
    at = rng.randrange(len(columns))
    name = rng.choice([columns[at].name.upper(), columns[at].name + " ", "other"])
    return "rename", [*columns[:at], replace(columns[at], name=name), *columns[at + 1 :]]


def _move(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column] | None]:
    at = rng.randrange(len(columns))
    return "move", ([*columns[at:], *columns[:at]] if at else None)


def _drop_column(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column] | None]:
    at = rng.randrange(len(columns))
    return "drop column", ([*columns[:at], *columns[at + 1 :]] if len(columns) > 1 else None)


def _exchange_names(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column] | None]:
    if len(columns) < 2 or columns[0].array().equals(columns[1].array()):
        return "exchange names", None
    first, second = columns[:2]
    return "exchange names", [replace(first, name=second.name), replace(second, name=first.name), *columns[2:]]


def _drop_row(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column] | None]:
    at = rng.randrange(len(columns[0].values))
    return "drop row", [_with_values(c, [*c.values[:at], *c.values[at + 1 :]]) for c in columns]


def _add_row(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column] | None]:
    at = rng.randrange(len(columns[0].values))
    return "add row", [_with_values(c, [*c.values[:at], c.values[at], *c.values[at:]]) for c in columns]


def _swap_rows(rng: random.Random, columns: list[Column]) -> tuple[str, list[Column] | None]:
    rows = list(zip(*(column.values for column in columns), strict=True))
    pairs = [(i, j) for i in range(len(rows)) for j in range(i) if not all(map(same, rows[i], rows[j]))]
    if not pairs:
        return "swap rows", None
    i, j = rng.choice(pairs)
    rows[i], rows[j] = rows[j], rows[i]
    return "swap rows", [_with_values(c, list(v)) for c, v in zip(columns, zip(*rows, strict=True), strict=True)]


_TABLE_EDITS = [_rename, _move, _drop_column, _exchange_names, _drop_row, _add_row, _swap_rows]
