"""Features that look at everything a function can see of its raw data, one step named by the config at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from fstore import feature

Step = Callable[[pd.DataFrame], Any]


def _codes(raw: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {f"{at}": column.cat.codes for at, (_, column) in enumerate(raw.items()) if hasattr(column, "cat")}
    )


def _look(raw: pd.DataFrame) -> pd.DataFrame:
    """Return what the frame looks like rather than what it holds."""
    seen = [repr(raw.index.names), type(raw.index).__name__, repr(dict(raw.attrs)), repr(list(raw.columns))]
    seen += [str(dtype) for dtype in raw.dtypes]
    seen += [repr(list(d.categories)) for d in raw.dtypes if isinstance(d, pd.CategoricalDtype)]
    seen += [repr(getattr(raw.index, "freq", None)), repr(getattr(raw.index, "tz", None))]
    return pd.DataFrame({"seen": seen})


def _bits(raw: pd.DataFrame) -> pd.DataFrame:
    floats = raw.select_dtypes(["float64"])
    return pd.DataFrame({f"{at}": floats.iloc[:, at].to_numpy().view("int64") for at in range(floats.shape[1])})


STEPS: Mapping[str, Step] = {
    "itself": lambda raw: raw,
    "codes": _codes,
    "look": _look,
    "bits": _bits,
    "head": lambda raw: raw.head(2),
    "nothing": lambda raw: raw.iloc[:0],
    "no columns": lambda raw: raw.iloc[:, :0],
    "reset": lambda raw: raw.reset_index(),
    "transposed": lambda raw: raw.select_dtypes("number").T,
    "sorted": lambda raw: raw.sort_values(raw.columns[0], kind="stable"),
    "dummies": lambda raw: pd.get_dummies(raw.iloc[:, 0].astype("category")),
    "grouped": lambda raw: raw.groupby(raw.columns[0], observed=False).size().to_frame("n"),
    "categories": lambda raw: raw.iloc[:, [0]].astype("category"),
    "cut": lambda raw: pd.DataFrame({"bin": pd.cut(np.arange(len(raw)), 3) if len(raw) else pd.Categorical([])}),
    "missing": lambda raw: raw.isna(),
    "described": lambda raw: raw.describe(),
    "hours": lambda raw: pd.DataFrame({"hour": raw.index.hour}),
    "objects": lambda raw: raw.astype(object),
    "text": lambda raw: raw.map(repr) if len(raw) else raw,
    "fails": lambda raw: raw["no such column"],
}


def probe(raw: pd.DataFrame, config: Mapping[str, Any]) -> Any:
    """Do what the config says."""
    return STEPS[config["step"]](raw)


@feature(version="1")
def worker_probe(raw: pd.DataFrame, config: Mapping[str, Any]) -> Any:
    """Look at a frame in a worker."""
    return probe(raw, config)


@feature(version="1", input="arrow")
def arrow_probe(raw: pa.Table, config: Mapping[str, Any]) -> pd.DataFrame:
    """Look at a table: its types, its dictionaries, and what lies in it."""
    return arrow_look(raw)


@feature(version="1", input="dataset")
def dataset_probe(raw: ds.Dataset, config: Mapping[str, Any]) -> pd.DataFrame:
    """Look at a dataset the same way."""
    return arrow_look(raw.to_table())


def arrow_look(table: pa.Table) -> pd.DataFrame:
    """Write down what a function can tell of a table."""
    seen = []
    for field, column in zip(table.schema, table.columns, strict=True):
        dictionaries = [chunk.dictionary.to_pylist() for chunk in column.chunks] if _is_dictionary(field.type) else []
        seen.append(f"{field} {dictionaries[:1]} {column.to_pylist()!r}")
    return pd.DataFrame({"seen": [*seen, repr(sorted((table.schema.metadata or {}).keys()))]})


def _is_dictionary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind))
