"""A frame as a list of parts: its columns and the levels of its index, each sliced without copying.

Of an everyday frame of numbers a *mark* says what labels, index and dtypes show besides values, in a form that can be
looked up: frames of equal marks and labels show the same. What one cannot be sure of in little time has none.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames.zones import is_plain

PIECE_ROWS = 131_072  # converted at a time, which bounds the memory that this takes
_SMALL_CELLS = 50_000
WIDEST_PLAIN = 2_000  # columns; beyond, remembering costs more memory than finding out again costs time
_KINDS = "iuf"
_NAT = np.iinfo(np.int64).min

Numbers = npt.NDArray[Any] | list[npt.NDArray[Any]]


@dataclass(slots=True)  # frozen ones take twice as long to make, and every fingerprint makes one a column
class Part:
    """A column or an index level; ``values`` can be sliced into arrays without copying."""

    name: str
    dtype: Any
    values: Any

    def array(self, start: int, stop: int) -> Any:
        part = self.values[start:stop]
        return part.array if isinstance(part, pd.Index) else part


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a MultiIndex, which exists only as codes until a block of it is asked for."""

    name: str
    dtype: Any
    index: pd.MultiIndex
    position: int

    def array(self, start: int, stop: int) -> Any:
        return level_at(self.index[start:stop], self.position).array


def level_at(index: pd.Index, position: int) -> pd.Index:
    """Return the values of a level by its position.

    pandas takes a number for the name of a level that is called so.
    """
    if not isinstance(index, pd.MultiIndex):
        return index
    if position not in index.names:
        return index.get_level_values(position)
    return index.set_names([None] * index.nlevels).get_level_values(position).rename(index.names[position])


def dtypes_of(frame: pd.DataFrame) -> list[Any]:
    """List the dtypes of the columns.

    Those of ``frame.dtypes``, without the series that pandas makes of them.
    """
    # pandas' own word, and what ``DataFrame.dtypes`` asks; a fingerprint spends a fifth of its time on that series.
    ask = getattr(getattr(frame, "_mgr", None), "get_dtypes", None)
    found: list[Any] = (frame.dtypes if ask is None else ask()).tolist()
    return found


def parts_of(frame: pd.DataFrame) -> tuple[list[Part | Level], bool]:
    """List the columns, then the index levels; a RangeIndex is no part, being three numbers.

    Tells as well whether the parts hold a copy of the frame's values, as those of small frames may.
    """
    columns, is_copy = _columns(frame)
    parts: list[Part | Level] = [*columns]
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        for i, name in enumerate(index.names):
            if _is_plain_integer(index.levels[i].dtype) and (np.asarray(index.codes[i]) < 0).any():
                raise UnhashableInput(
                    f"index level {name!r}",
                    "missing values among integers or booleans change its dtype; fill them first",
                )
            parts.append(Level(f"index level {name!r}", index.levels[i].dtype, index, i))
    elif not isinstance(index, pd.RangeIndex):
        parts.append(Part(f"index {index.name!r}", index.dtype, index))
    return parts, is_copy


def _columns(frame: pd.DataFrame) -> tuple[list[Part], bool]:
    names = frame.columns.tolist()
    dtypes = dtypes_of(frame)
    values, is_copy = _block_of(frame, dtypes)
    if values is not None:  # at once, and no series for each column: that takes longer than many a frame's values
        return [Part(repr(name), dtypes[0], values[:, position]) for position, name in enumerate(names)], is_copy
    # Under plain numbers as labels: pandas looks each label of an index of strings up at a high price.
    numbered = frame.set_axis(range(len(names)), axis=1)
    columns = (column for _, column in numbered.items())
    return [Part(repr(name), column.dtype, column.array) for name, column in zip(names, columns, strict=True)], False


def _block_of(frame: pd.DataFrame, dtypes: list[Any]) -> tuple[Any, bool]:
    """Return the values of numbers of one dtype as one array, or None.

    With it whether it is a copy, as of small frames it may be.
    """
    if not frame.size or not _is_plain_number(dtypes[0]) or dtypes.count(dtypes[0]) < len(dtypes):
        return None, False
    block = only_block_of(frame)
    if block is not None:
        return block.T, False
    if frame.size <= _SMALL_CELLS and not _is_single_block(frame):
        return frame.to_numpy(), True
    return None, False


def only_block_of(frame: pd.DataFrame) -> npt.NDArray[Any] | None:
    """Return the one array whose rows are a frame's columns, in their order.

    None where it is not that simple. pandas lets other libraries make a block that holds the columns in another
    order (``create_dataframe_from_blocks``), and ``to_numpy`` then gives them as they lie.
    """
    # pandas' own words, and no more than hints: without them columns are taken one by one. Asking in public
    # (``np.asarray(frame, copy=False)``) takes longer than all the rest.
    if not _is_single_block(frame):
        return None
    block = frame._mgr.blocks[0]
    values, places = block.values, block.mgr_locs.indexer
    if type(values) is not np.ndarray or type(places) is not slice or places != slice(0, len(values), 1):
        return None
    return values


def _is_single_block(frame: pd.DataFrame) -> bool:
    return getattr(getattr(frame, "_mgr", None), "is_single_block", False)


def _is_plain_number(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "iuf"


def _is_plain_integer(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "iub"


def text_labels(labels: pd.Index) -> tuple[pa.ChunkedArray, Hashable] | None:
    """Return labels as they lie in memory, and their mark; None for labels that are not plain texts."""
    dtype = labels.dtype
    if type(labels) is not pd.Index or type(dtype) is not pd.StringDtype or dtype.storage != "pyarrow":
        return None  # others may hold objects that only write themselves like texts
    if not 0 < len(labels) <= WIDEST_PLAIN or not is_text_or_none(labels.name):
        return None
    return labels.array.__arrow_array__(), (dtype.na_value is pd.NA, labels.name)


def plain_index(index: pd.Index) -> tuple[Hashable, npt.NDArray[np.int64] | None] | None:
    """Return the mark of an index, and its times if it has any; None for one that is not plain.

    A frequency is no part of the mark.
    """
    if not is_text_or_none(index.name):
        return None
    if type(index) is pd.RangeIndex:
        return (index.start, index.step, index.name), None
    if type(index) is not pd.DatetimeIndex or not is_plain(index.dtype):
        return None
    times = np.ascontiguousarray(index.asi8)
    # Of a zone the object counts, and no name: two may call themselves alike.
    return None if times.min() == _NAT else ((index.unit, index.tz, type(index.tz), index.name), times)


def plain_numbers(frame: pd.DataFrame) -> tuple[Numbers, Hashable] | None:
    """Return the values of columns of plain numbers, and the mark of their dtypes.

    They are one array whose rows are the columns, or an array for each; as they lie in memory.
    """
    # pandas' own words, and no more than hints: without them a frame goes the long way.
    if (block := only_block_of(frame)) is not None:
        dtype = block.dtype
        if dtype.kind not in _KINDS or not dtype.isnative or block.shape != frame.shape[::-1]:
            return None
        return block, dtype.str
    each = getattr(frame, "_iter_column_arrays", None)
    arrays: list[Any] = [] if each is None else list(each())
    rows, width = frame.shape
    if len(arrays) != width:
        return None
    for array in arrays:
        if type(array) is not np.ndarray or array.dtype.kind not in _KINDS or not array.dtype.isnative:
            return None
        if array.ndim != 1 or len(array) != rows:
            return None
    return arrays, tuple([array.dtype.str for array in arrays])


def is_text_or_none(name: object) -> bool:
    """Tell a name that is a text and nothing but a text, or none."""
    return name is None or type(name) is str
