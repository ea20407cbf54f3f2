"""Object columns: strings, and one object that stands for a missing one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames.parts import PIECE_ROWS
from fstore.frames.refused_dtypes import no_unicode

_BETTER = {
    "boolean": (".astype('boolean')",),
    "integer": (".astype('Int64')",),
    "floating": (".astype('float64')",),
    "mixed-integer-float": (".astype('float64')",),
    "decimal": (".astype('float64') or a pd.ArrowDtype of decimals",),
    "datetime": ("pd.to_datetime",),
    "datetime64": ("pd.to_datetime",),
    "date": ("pd.to_datetime or .astype('category')",),
    "timedelta": ("pd.to_timedelta",),
    "period": (".astype('period')",),
}


def object_strings(values: npt.NDArray[np.object_], column: str) -> pa.Array:
    """Convert Python strings, or raise ``UnhashableInput`` for anything else in the column."""
    try:
        return pa.array(values, type=pa.large_string(), from_pandas=True)
    except UnicodeEncodeError as exc:
        raise no_unicode(column) from exc
    except (pa.ArrowException, TypeError, ValueError) as exc:
        raise not_strings(column, "found other objects") from exc


def missing_marker(values: npt.NDArray[np.object_], column: str) -> str:
    """Tell which object stands for a missing value ("None", "nan" or "NA").

    Checks that all others are strings.
    """
    markers: set[str] = set()
    for start in range(0, len(values), PIECE_ROWS):
        block = values[start : start + PIECE_ROWS]
        found = pd.api.types.infer_dtype(block, skipna=True)
        if found not in ("string", "empty"):
            raise not_strings(column, f"found {found}", *_BETTER.get(found, ()))
        if (kind := subclass_of_text(block)) is not None:
            raise not_strings(column, f"found texts of the class {kind}", ".astype('str')")
        markers.update(map(_marker, block[pd.isna(block)]))
    if len(markers) > 1 or "other" in markers:
        raise not_strings(column, "missing values are of several kinds")
    return markers.pop() if markers else "None"


def subclass_of_text(values: Iterable[object]) -> str | None:
    """Name a class of texts among the values that Arrow would make plain ones.

    Members of an enumeration are such.
    """
    kinds = set(map(type, values))
    return next((kind.__qualname__ for kind in kinds if issubclass(kind, str) and kind is not str), None)


def _marker(missing: object) -> str:
    if missing is None:
        return "None"
    if isinstance(missing, float):
        return "nan"
    return "NA" if missing is pd.NA else "other"


def not_strings(
    column: str, detail: str, advice: str = ".astype('str'), 'category' or a pd.ArrowDtype"
) -> UnhashableInput:
    """Build the refusal of an object column."""
    return UnhashableInput(
        column,
        f"an object column may hold only str, and one of None, NaN or NA for missing values ({detail}); "
        f"convert it with {advice}",
    )
