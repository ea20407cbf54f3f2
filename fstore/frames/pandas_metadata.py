"""pandas' own metadata of a schema, written anew in one way: what other writers put there varies, and functions see it."""

from __future__ import annotations

import json
import warnings

import pandas as pd
import pyarrow as pa

from fstore.frames.parts import level_at


def metadata_of(empty: pd.DataFrame, fields: list[str], levels: int) -> bytes:
    """Describe a frame without rows whose columns and index levels are the fields of these names; a range is left out.

    The names of the libraries that wrote them are left out as well.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = json.loads(pa.Table.from_pandas(empty).schema.metadata[b"pandas"])
    dtypes = [*empty.dtypes, *(level_at(empty.index, i).dtype for i in range(levels))]
    for entry, field, dtype in zip(said["columns"], fields, dtypes, strict=True):
        entry["field_name"] = field
        if isinstance(dtype, pd.ArrowDtype):
            # pandas cannot parse the names of nested types; the note "arrow" brings these dtypes back instead.
            entry["numpy_type"] = "object"
    said["index_columns"] = fields[len(fields) - levels :] if levels else []
    said.pop("creator", None)
    said.pop("pandas_version", None)
    return json.dumps(said).encode()
