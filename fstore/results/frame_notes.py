"""Frames again from the tables that stand for them, by the notes of ``fstore.results.stored_frames``.

Nothing here looks at the options or the history of the process: what a file decodes to
is in the file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.frames import level_at, to_frame
from fstore.results.frequencies import frequency_from_json, with_frequency
from fstore.results.object_cells import cells_of_arrow
from fstore.results.python_values import from_json

FRAME_KEY = b"fstore.frame"
FREQUENCY_KEY = b"fstore.index_freq"

_REMEMBERED_BYTES = 8 << 10

Notes = dict[str, Any]


def table_to_frame(table: pa.Table) -> pd.DataFrame:
    """Make the frame again that ``stored_frames.frame_to_table`` was given.

    Or what a table without notes stands for.
    """
    metadata = table.schema.metadata or {}
    notes = _notes_in(metadata)
    if "fields" in notes and notes["fields"] != table.schema.names:
        notes = {}  # somebody took columns of a table that stood for another frame
    frame = to_frame(_without_cells(table, notes))
    return _noted(frame, table, metadata, notes) if notes or FREQUENCY_KEY in metadata else frame


def with_simple_notes(frame: pd.DataFrame, table: pa.Table) -> pd.DataFrame:
    """Give a frame over the table's own memory what ``has_simple_notes`` let through."""
    metadata = table.schema.metadata or {}
    return _noted(frame, table, metadata, _notes_in(metadata))


def has_simple_notes(table: pa.Table) -> bool:
    """Tell whether the notes, if any, speak of labels that are a range and of nothing else."""
    return _notes_in(table.schema.metadata or {}).keys() <= {"range"}


def _noted(frame: pd.DataFrame, table: pa.Table, metadata: dict[bytes, bytes], notes: Notes) -> pd.DataFrame:
    if notes:
        frame = _apply(frame, table, notes)
    if name := metadata.get(FREQUENCY_KEY):
        frame.index = with_frequency(frame.index, name.decode())
    elif "freq" in notes:
        frame.index = with_frequency(frame.index, frequency_from_json(notes["freq"]))
    return frame


def _notes_in(metadata: dict[bytes, bytes]) -> Notes:
    text = metadata.get(FRAME_KEY)
    if text is None:
        return {}
    return _remembered(text) if len(text) <= _REMEMBERED_BYTES else _remembered.__wrapped__(text)


@lru_cache(maxsize=256)
def _remembered(text: bytes) -> Notes:
    found: Notes = json.loads(text)  # read by everybody, changed by nobody
    return found


def _apply(frame: pd.DataFrame, table: pa.Table, notes: Notes) -> pd.DataFrame:
    for position, note in notes.get("columns", {}).items():
        at = int(position)
        values = _restored(frame.iloc[:, at].array, note, table, at)
        column: Any = pd.Series(values, index=frame.index, dtype=values.dtype, copy=False)
        frame.isetitem(at, column)
    if "index" in notes or "names" in notes or notes.get("is_multi"):
        frame.index = _index_again(frame, table, notes)
    if "range" in notes:
        start, stop, step, name = notes["range"]
        frame.columns = pd.RangeIndex(start, stop, step, name=from_json(name))
    if "labels" in notes:
        frame.columns = unpacked_index(notes["labels"])
    if "attrs" in notes:
        frame.attrs = from_json(notes["attrs"])
    if notes.get("unique_labels"):
        frame = frame.set_flags(allows_duplicate_labels=False)
    return frame


def _index_again(frame: pd.DataFrame, table: pa.Table, notes: Notes) -> pd.Index:
    index = frame.index
    names: list[Hashable] = from_json(notes["names"]) if "names" in notes else list(index.names)
    restored = {
        int(level): _restored(level_at(index, int(level)).array, note, table, frame.shape[1] + int(level))
        for level, note in notes.get("index", {}).items()
    }
    if isinstance(index, pd.MultiIndex) or notes.get("is_multi"):
        levels: list[Any] = [restored.get(i, level_at(index, i)) for i in range(index.nlevels)]
        return pd.MultiIndex.from_arrays([_as_index(values) for values in levels], names=names)
    index = _as_index(restored[0]) if restored else index
    return index.rename(names[0])


def _as_index(values: Any) -> pd.Index:
    return values if isinstance(values, pd.Index) else pd.Index(values, dtype=values.dtype)


def _restored(values: Any, note: Notes, table: pa.Table, at: int) -> Any:
    if "categories" not in note:
        return cells_of_arrow(table.column(at), note)
    return pd.Categorical.from_codes(
        np.array(values.codes), unpacked_index(note["categories"]), ordered=note["ordered"]
    )


def _without_cells(table: pa.Table, notes: Notes) -> pa.Table:
    """Leave out what is converted by notes; Arrow might not even be able to."""
    if not ("columns" in notes or "index" in notes):
        return table
    width = table.num_columns - _level_count(table)
    positions = [int(at) for at, note in notes.get("columns", {}).items() if "missing" in note]
    positions += [width + int(at) for at, note in notes.get("index", {}).items() if "missing" in note]
    for at in positions:
        field = pa.field(table.schema.field(at).name, pa.large_string())
        table = table.set_column(at, field, pa.nulls(table.num_rows, pa.large_string()))
    return table


def _level_count(table: pa.Table) -> int:
    described = table.schema.pandas_metadata or {}
    return sum(isinstance(name, str) for name in described.get("index_columns", ()))


def unpacked_index(said: Notes) -> pd.Index:
    """Make the index again that was noted, be it labels or categories."""
    if "levels" in said:
        return pd.MultiIndex.from_arrays(list(map(unpacked_index, said["levels"])), names=from_json(said["names"]))
    if "closed" in said:
        left, right = unpacked_index(said["left"]), unpacked_index(said["right"])
        return pd.IntervalIndex.from_arrays(left, right, closed=said["closed"], name=from_json(said["name"]))
    if "objects" in said:
        cells = np.empty(len(said["objects"]), dtype=object)
        for at, value in enumerate(from_json(said["objects"])):  # at once, tuples would make a table of it
            cells[at] = value
        return pd.Index(cells, dtype=object, name=from_json(said["name"]), tupleize_cols=False)
    with pa.ipc.open_stream(pa.py_buffer(base64.b64decode(said["table"]))) as stream:
        batch = stream.read_next_batch()
    return table_to_frame(pa.Table.from_batches([batch])).index
