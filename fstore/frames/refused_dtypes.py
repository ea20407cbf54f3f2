"""Why a dtype has no digest, and what its owner does about it, in words of their own frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames.parts import Level, Part

_FAULTS = (pa.ArrowException, TypeError, ValueError, NotImplementedError)
_NO_UNICODE = "holds text that is no Unicode (a lone surrogate); clean it, as with .str.replace(r'[\\ud800-\\udfff]', '?', regex=True)"


def refused_part(parts: list[Part | Level], fault: Exception) -> UnhashableInput:
    """Find the part of a frame that Arrow does not take, and say why and what to do."""
    for part in parts:
        try:
            pa.array(part.array(0, 0))
        except _FAULTS:
            return UnhashableInput(part.name, _reason(part.dtype))
    if isinstance(fault, UnicodeEncodeError):
        return no_unicode("the name of the index or of the columns")
    return UnhashableInput("frame", f"it cannot be converted to an Arrow table ({fault}); convert its columns first")


def no_unicode(where: str) -> UnhashableInput:
    """Build the refusal of a text that cannot be written as UTF-8."""
    return UnhashableInput(where, _NO_UNICODE)


def _reason(dtype: Any) -> str:
    if isinstance(dtype, pd.SparseDtype):
        return f"{dtype} values have no digest; use .sparse.to_dense()"
    if isinstance(dtype, pd.CategoricalDtype):
        return "its categories are of several kinds, or of one that has no digest; convert them to strings"
    if isinstance(dtype, np.dtype) and dtype.kind == "c":
        return f"{dtype} values have no digest; make two columns of them, of .real and .imag"
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf" and not dtype.isnative:
        return f"its bytes are in the other order ({dtype.str}); use .astype({dtype.newbyteorder('=').name!r})"
    return f"{dtype} values have no digest; convert them, as with .astype('float64') or .astype('str')"


def check_attrs(attrs: Mapping[Any, Any]) -> None:
    """Raise ``UnhashableInput`` for what JSON would change without a word.

    Other classes of text and number, deep nesting.
    """
    waiting: list[tuple[Any, int]] = [(dict(attrs), 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _MOST_LEVELS:
            raise UnhashableInput(
                "attrs", f"they nest more than {_MOST_LEVELS} levels; clear them with frame.attrs = {{}}"
            )
        if type(value) is dict:
            waiting += [(part, depth + 1) for item in value.items() for part in item]
        elif type(value) is list:
            waiting += [(part, depth + 1) for part in value]
        elif isinstance(value, str | int | float | dict | list) and type(value) not in _OF_JSON:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise UnhashableInput("attrs", f"{value!r:.60} of {kind} would come back as a plain value; make it one")


_MOST_LEVELS = 100
_OF_JSON = (str, int, float, bool)


def refuse_objects(stream: object) -> None:
    """Raise ``UnhashableInput`` for a column of Python objects in a frame of polars.

    It would hand their addresses in memory on, as bytes.
    """
    schema = getattr(stream, "schema", None) if type(stream).__module__.startswith("polars.") else None
    for name, dtype in schema.items() if isinstance(schema, Mapping) else ():
        if str(dtype) == "Object":
            raise UnhashableInput(repr(name), "it holds Python objects, which polars hands on as addresses; cast it")
