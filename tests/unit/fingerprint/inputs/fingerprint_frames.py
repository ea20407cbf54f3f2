"""Random pandas frames of every supported dtype and index, single edits of them, and other layouts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """A column or an index level as plain values."""

    name: Any
    dtype: Any
    values: tuple[Any, ...]

    def array(self) -> Any:
        if isinstance(self.dtype, pd.CategoricalDtype):
            return pd.Categorical(list(self.values), dtype=self.dtype)
        if self.dtype == "object":
            return pd.Series(list(self.values), dtype=object)  # an array of objects would become str
        return pd.array(list(self.values), dtype=self.dtype)


@dataclass(frozen=True)
class Spec:
    """A frame as plain values; ``index`` is a RangeIndex (start, step, name) or a list of levels."""

    columns: tuple[Part, ...]
    index: tuple[Part, ...] | pd.RangeIndex

    @property
    def rows(self) -> int:
        return len(self.columns[0].values)

    def frame(self) -> pd.DataFrame:
        made = pd.DataFrame({i: part.array() for i, part in enumerate(self.columns)})
        made.columns = pd.Index([part.name for part in self.columns])
        if isinstance(self.index, pd.RangeIndex):
            return made.set_axis(self.index)
        levels = [pd.Index(part.array(), dtype=part.dtype, name=part.name) for part in self.index]
        if len(levels) == 1:
            return made.set_axis(levels[0])
        return made.set_axis(pd.MultiIndex.from_arrays(levels, names=[part.name for part in self.index]))


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("abcXYZ09é€") for _ in range(rng.randint(1, 9)))


def _or(missing: Any, make: Callable[[random.Random], Any]) -> Callable[[random.Random], Any]:
    return lambda rng: missing if rng.random() < 0.2 else make(rng)


def _number(rng: random.Random) -> int:
    return rng.randint(-100, 100)


def _float(rng: random.Random) -> float:
    return rng.choice([0.0, -0.0, float("nan"), rng.gauss(100, 1)])


def _time(zone: str | None = None) -> Callable[[random.Random], Any]:
    return lambda rng: pd.Timestamp(rng.randint(0, 2_000_000_000), unit="s", tz=zone)


def _span(rng: random.Random) -> Any:
    return pd.Timedelta(rng.randint(-99_999, 99_999), unit="s")


_SIDES = ["buy", "sell", "hold"]
DTYPES: list[tuple[Any, Callable[[random.Random], Any]]] = [
    ("bool", lambda rng: rng.random() < 0.5),
    *[(kind, _number) for kind in ("int8", "int16", "int32", "int64")],
    *[(kind, lambda rng: rng.randint(0, 200)) for kind in ("uint8", "uint16", "uint32", "uint64")],
    ("float16", lambda rng: float(rng.randint(0, 50))),
    ("float32", lambda rng: float(rng.randint(0, 500)) / 4),
    ("float64", _float),
    ("float64", _float),
    ("str", _or(None, _word)),
    ("object", _or(None, _word)),
    ("string[python]", _or(pd.NA, _word)),
    ("string[pyarrow]", _or(pd.NA, _word)),
    (pd.StringDtype("python", na_value=np.nan), _or(np.nan, _word)),
    ("Int8", _or(pd.NA, _number)),
    ("Int64", _or(pd.NA, _number)),
    ("UInt16", _or(pd.NA, lambda rng: rng.randint(0, 200))),
    ("Float64", _or(pd.NA, lambda rng: rng.gauss(0, 1))),
    ("boolean", _or(pd.NA, lambda rng: rng.random() < 0.5)),
    (pd.CategoricalDtype(_SIDES), _or(None, lambda rng: rng.choice(_SIDES))),
    (pd.CategoricalDtype(_SIDES, ordered=True), _or(None, lambda rng: rng.choice(_SIDES))),
    (pd.CategoricalDtype([1, 2, 3]), _or(None, lambda rng: rng.randint(1, 3))),
    *[(f"datetime64[{unit}]", _or(pd.NaT, _time())) for unit in ("s", "ms", "us", "ns")],
    ("datetime64[ns, UTC]", _or(pd.NaT, _time("UTC"))),
    ("datetime64[us, America/New_York]", _or(pd.NaT, _time("America/New_York"))),
    *[(f"timedelta64[{unit}]", _or(pd.NaT, _span)) for unit in ("s", "us", "ns")],
    ("period[D]", lambda rng: pd.Period(ordinal=rng.randint(0, 9999), freq="D")),
    ("interval[int64, left]", lambda rng: pd.Interval(rng.randint(0, 9), rng.randint(10, 20), closed="left")),
    (pd.ArrowDtype(pa.int64()), _or(None, _number)),
    (pd.ArrowDtype(pa.string()), _or(None, _word)),
    (pd.ArrowDtype(pa.float64()), _or(None, lambda rng: rng.gauss(0, 1))),
    (pd.ArrowDtype(pa.list_(pa.int32())), _or(None, lambda rng: [_number(rng) for _ in range(rng.randint(0, 3))])),
]
_INDEX_DTYPES = (
    "int64",
    "float64",
    "str",
    "datetime64[ns, UTC]",
    "datetime64[us]",
    "period[D]",
    "timedelta64[ns]",
    "bool",
)
# A MultiIndex itself takes -0.0 for 0.0, so neither stands in an index here.
_INDEXES = [
    (dtype, make if dtype != "float64" else lambda rng: rng.gauss(0, 1))
    for dtype, make in DTYPES
    if dtype in _INDEX_DTYPES
]
_RECASTS = {
    "int8": "int16", "int32": "int64", "int64": "Int64", "float32": "float64", "float64": "Float64", "bool": "boolean",
    "str": "object", "string[python]": "string[pyarrow]", "Int8": "Int64", "datetime64[ns]": "datetime64[us]",
    "timedelta64[ns]": "timedelta64[us]", "UInt16": "UInt32",
}  # fmt: skip


def make_for(dtype: Any) -> Callable[[random.Random], Any]:
    return next(
        make for known, make in DTYPES if type(known) is type(dtype) and str(known) == str(dtype) and known == dtype
    )


def random_spec(rng: random.Random) -> Spec:
    rows = rng.choice([1, 2, 3, 8, 9, 17, 40])
    columns = []
    for name in ("bid", "ask", "size", "note")[: rng.randint(1, 4)]:
        dtype, make = rng.choice(DTYPES)
        columns.append(Part(name, dtype, tuple(make(rng) for _ in range(rows))))
    style = rng.randrange(4)
    if style < 2:
        start, step = (0, 1) if style == 0 else (rng.randint(0, 9), rng.randint(1, 3))
        return Spec(tuple(columns), pd.RangeIndex(start, start + rows * step, step, name=rng.choice([None, "row"])))
    levels = []
    for i in range(style - 1):
        dtype, make = rng.choice(_INDEXES)
        values = [make(rng) for _ in range(rows)]
        levels.append(Part(rng.choice([None, f"level{i}"]), dtype, tuple(_present(dtype, value) for value in values)))
    return Spec(tuple(columns), tuple(levels))


def _present(dtype: Any, value: Any) -> Any:
    """Fill what is missing in an index: levels of integers cannot hold it."""
    if not pd.isna(value):
        return value
    if "date" in str(dtype):
        return pd.Timestamp(0, tz="UTC" if "UTC" in str(dtype) else None)
    if "delta" in str(dtype):
        return pd.Timedelta(0)
    return 0.5 if dtype == "float64" else "none"


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    return repr(left) == repr(right)


def _cell(rng: random.Random, part: Part) -> Part | None:
    make = make_for(part.dtype)
    at = rng.randrange(len(part.values))
    for _ in range(20):
        value = make(rng)
        if not same(value, part.values[at]):
            return replace(part, values=(*part.values[:at], value, *part.values[at + 1 :]))
    return None


def _swap(rng: random.Random, part: Part) -> Part | None:
    values = list(part.values)
    pairs = [(i, j) for i in range(len(values)) for j in range(i) if not same(values[i], values[j])]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    values[i], values[j] = values[j], values[i]
    return replace(part, values=tuple(values))


def _case(rng: random.Random, part: Part) -> Part | None:
    cased = [i for i, v in enumerate(part.values) if isinstance(v, str) and v != v.swapcase()]
    if not cased or isinstance(part.dtype, pd.CategoricalDtype):
        return None
    at = rng.choice(cased)
    return replace(part, values=(*part.values[:at], part.values[at].swapcase(), *part.values[at + 1 :]))


def _recast(rng: random.Random, part: Part) -> Part | None:
    if isinstance(part.dtype, pd.CategoricalDtype):
        known = part.dtype
        wider = [*known.categories, 9 if known.categories.dtype == "int64" else "other"]
        choice = [
            pd.CategoricalDtype(known.categories, ordered=not known.ordered),
            pd.CategoricalDtype(wider, known.ordered),
        ]
        return replace(part, dtype=rng.choice(choice))
    if str(part.dtype) == "datetime64[ns, UTC]":
        moved = [pd.NaT if pd.isna(v) else v.tz_convert("Asia/Tokyo") for v in part.values]
        return replace(part, dtype="datetime64[ns, Asia/Tokyo]", values=tuple(moved))
    wanted = _RECASTS.get(part.dtype) if isinstance(part.dtype, str) else None
    return replace(part, dtype=wanted) if wanted else None


_PART_EDITS = [_cell, _cell, _cell, _swap, _case, _recast]


def random_edit(rng: random.Random, spec: Spec) -> tuple[str, Spec]:
    """Make one random edit that changes the content, and name it."""
    while True:
        if rng.random() < 0.4:
            name, changed = rng.choice(_FRAME_EDITS)(rng, spec)
            if changed is not None:
                return name, changed
            continue
        edit = rng.choice(_PART_EDITS)
        for at in rng.sample(range(len(spec.columns)), len(spec.columns)):
            edited = edit(rng, spec.columns[at])
            if edited is not None:
                columns = (*spec.columns[:at], edited, *spec.columns[at + 1 :])
                return f"{edit.__name__} in {spec.columns[at].dtype}", replace(spec, columns=columns)


def _rename(rng: random.Random, spec: Spec) -> tuple[str, Spec | None]:
    at = rng.randrange(len(spec.columns))
    renamed = replace(spec.columns[at], name=rng.choice(["other", spec.columns[at].name.upper()]))
    return "rename", replace(spec, columns=(*spec.columns[:at], renamed, *spec.columns[at + 1 :]))


def _move(rng: random.Random, spec: Spec) -> tuple[str, Spec | None]:
    at = rng.randrange(len(spec.columns))
    return "move", (replace(spec, columns=(*spec.columns[at:], *spec.columns[:at])) if at else None)


def _rows(rng: random.Random, spec: Spec) -> tuple[str, Spec | None]:
    at = rng.randrange(spec.rows)
    add = rng.random() < 0.5

    def changed(part: Part) -> Part:
        kept, rest = (
            part.values[: at + 1] if add else part.values[:at],
            part.values[at:] if add else part.values[at + 1 :],
        )
        return replace(part, values=(*kept, *rest))

    index: Any = spec.index
    if isinstance(index, pd.RangeIndex):
        rows = spec.rows + (1 if add else -1)
        index = pd.RangeIndex(index.start, index.start + rows * index.step, index.step, name=index.name)
    else:
        index = tuple(map(changed, index))
    return "row added" if add else "row dropped", Spec(tuple(map(changed, spec.columns)), index)


def _index(rng: random.Random, spec: Spec) -> tuple[str, Spec | None]:
    if isinstance(spec.index, pd.RangeIndex):
        old = spec.index
        moved = pd.RangeIndex(old.start + 1, old.start + 1 + spec.rows * old.step, old.step, name=old.name)
        stretched = pd.RangeIndex(old.start, old.start + spec.rows * (old.step + 1), old.step + 1, name=old.name)
        listed = (Part(old.name, "int64", tuple(old)),)
        return "range", replace(spec, index=rng.choice([moved, stretched, listed, old.rename("other")]))
    at = rng.randrange(len(spec.index))
    level = spec.index[at]
    edited = rng.choice([replace(level, name="other"), _swap(rng, level), _case(rng, level)])
    if edited is None:
        return "index", None
    return "index", replace(spec, index=(*spec.index[:at], edited, *spec.index[at + 1 :]))


def _no_index(rng: random.Random, spec: Spec) -> tuple[str, Spec | None]:
    plain = pd.RangeIndex(spec.rows)
    if isinstance(spec.index, pd.RangeIndex) and spec.index.equals(plain) and spec.index.name is None:
        return "no index", None
    return "no index", replace(spec, index=plain)


_FRAME_EDITS = [_rename, _move, _rows, _index, _no_index]


def layouts(rng: random.Random, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Build equal frames in other memory layouts, each named."""
    yield "copied", frame.copy(deep=True)
    wide = pd.concat([frame, frame])
    if wide.dtypes.equals(frame.dtypes):
        yield "sliced", wide.iloc[len(frame) :].set_axis(frame.index)
    if len({str(dtype) for dtype in frame.dtypes}) == 1 and frame.dtypes.iloc[0] == np.float64:
        rows = np.ascontiguousarray(frame.to_numpy())
        yield "row-major", pd.DataFrame(rows, index=frame.index, columns=frame.columns, copy=False)
    pieces = [frame.iloc[:, [i]] for i in range(frame.shape[1])]
    yield "unconsolidated", pd.concat(pieces, axis=1)
    order = rng.sample(range(frame.shape[1]), frame.shape[1])
    yield "blocks in another order", frame.iloc[:, order].copy()[list(frame.columns)]
