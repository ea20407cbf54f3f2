"""Features that look at everything a function can see of its raw data, one step named by the config at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
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


class _Bars(pd.DataFrame):
    """A frame of somebody's own class."""

    @property
    def _constructor(self) -> type[_Bars]:
        return _Bars


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
    "pivot": lambda raw: raw.assign(row=range(len(raw))).pivot(index="row", columns=raw.columns[0]),
    "resampled": lambda raw: raw.select_dtypes("number").resample("7min").agg(["first", "max"]),
    "rolling": lambda raw: raw.select_dtypes("number").rolling(3, min_periods=1).mean(),
    "as of": lambda raw: pd.merge_asof(
        *[raw.reset_index().iloc[:, [0, 1]].sort_values(raw.reset_index().columns[0])] * 2
    ),
    "quantiles": lambda raw: pd.DataFrame({"bin": pd.qcut(np.arange(len(raw)) ** 1.5, 2)}),
    "bins of times": lambda raw: raw.groupby(pd.cut(raw.index.to_series(), 2), observed=False).size().to_frame("n"),
    "counted": lambda raw: raw.iloc[:, 0].value_counts(dropna=False).to_frame(),
    "named": lambda raw: raw.groupby(raw.columns[0]).agg(
        n=(raw.columns[-1], "count"), first=(raw.columns[-1], "first")
    ),
    "all described": lambda raw: raw.describe(include="all"),
    "stacked": lambda raw: raw.stack().to_frame("v"),
    "unstacked": lambda raw: raw.set_index(raw.columns[0], append=True).iloc[:, :1].unstack(),
    "periods": lambda raw: raw.tz_localize(None).to_period("D"),
    "elsewhere": lambda raw: raw.tz_convert("Asia/Tokyo"),
    "another unit": lambda raw: raw.set_axis(raw.index.as_unit("s")),
    "lists": lambda raw: pd.DataFrame({"cells": [[at, at / 2] for at in range(len(raw))]}, index=raw.index),
    "dicts": lambda raw: pd.DataFrame(
        {"cells": pd.Series([{"a": at} if at % 2 else {} for at in range(len(raw))], dtype=object)}
    ),
    "tuples": lambda raw: pd.DataFrame({"cells": [(at, "x", None) for at in range(len(raw))]}),
    "decimals": lambda raw: pd.DataFrame({"cells": [Decimal(at).scaleb(-(at % 3)) for at in range(len(raw))]}),
    "rows": lambda raw: pd.DataFrame({"cells": pd.Series([tuple(row) for row in raw.itertuples()], dtype=object)}),
    "by column": lambda raw: pd.concat({"a": raw, "b": raw}, axis=1),
    "by row": lambda raw: pd.concat({"a": raw, "b": raw}),
    "melted": lambda raw: raw.melt(),
    "transposed whole": lambda raw: raw.head(3).T,
    "own class": _Bars,
    "better dtypes": lambda raw: raw.convert_dtypes(),
    "Arrow's dtypes": lambda raw: raw.convert_dtypes(dtype_backend="pyarrow"),
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
