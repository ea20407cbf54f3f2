"""Small inputs whose digests are frozen in ``golden_fingerprints.json``.

``python -m tests.unit.fingerprint.inputs.fingerprint_golden_inputs`` prints that file anew: only to be
used together with a new ``Fingerprint.FORMAT``, for it gives every entry a new key.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.identification import content_digest, identify

NAN = float("nan")


def _typed_arrays() -> dict[str, pa.Array]:
    seconds = [1_704_187_800, None, 0]
    word_pair = pa.struct([("p", pa.int64()), ("q", pa.string())])
    return {
        "null": pa.nulls(3),
        "bool": pa.array([True, None, False]),
        **{f"int{bits}": pa.array([1, None, -5], getattr(pa, f"int{bits}")()) for bits in (8, 16, 32, 64)},
        **{f"uint{bits}": pa.array([1, None, 200], getattr(pa, f"uint{bits}")()) for bits in (8, 16, 32, 64)},
        "float16": pa.array(np.array([1, -0.0, 2], dtype=np.float16)),
        "float32": pa.array([1.5, None, -0.0], pa.float32()),
        "float64": pa.array([1.5, None, -0.0, 0.0, float("inf")]),
        "float64 NaN": pa.array(np.array([NAN, 1.0])),
        "date32": pa.array([19_000, None], pa.date32()),
        "date64": pa.array([86_400_000, None], pa.date64()),
        "time32[s]": pa.array([1, None], pa.time32("s")),
        "time64[ns]": pa.array([1, None], pa.time64("ns")),
        **{f"timestamp[{unit}]": pa.array(seconds, pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
        "timestamp UTC": pa.array(seconds, pa.timestamp("us", tz="UTC")),
        "timestamp New York": pa.array(seconds, pa.timestamp("ns", tz="America/New_York")),
        "duration": pa.array([1, None], pa.duration("ms")),
        **{
            f"decimal{bits}": pa.array([Decimal("1.25"), None], getattr(pa, f"decimal{bits}")(7, 2))
            for bits in (32, 64, 128, 256)
        },
        "string": pa.array(["a", None, "", "é€"]),
        "long string": pa.array(["x" * 300, "y"]),
        "binary": pa.array([b"a", None, b"\x00"]),
        "fixed binary": pa.array([b"abc", None], pa.binary(3)),
        "dictionary": pa.array(["buy", None, "sell"]).dictionary_encode(),
        "ordered dictionary": pa.DictionaryArray.from_arrays([1, 0], ["low", "high"], ordered=True),
        "dictionary of integers": pa.array([5, None, 3]).dictionary_encode(),
        "list": pa.array([[1, None], None, []], pa.list_(pa.int32())),
        "list of lists": pa.array([[["a"], None], []], pa.list_(pa.list_(pa.string()))),
        "fixed-size list": pa.array([[1, 2], None], pa.list_(pa.int16(), 2)),
        "struct": pa.array([{"p": 1, "q": None}, None], word_pair),
        "list of structs": pa.array([[{"p": 1, "q": "a"}], None], pa.list_(word_pair)),
        "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    }


def _frames() -> dict[str, pd.DataFrame]:
    numbers = [1, 2]
    days = pd.date_range("2024-01-02", periods=2)
    columns: dict[str, Any] = {
        "int64": numbers,
        "Int64": pd.array([1, None], dtype="Int64"),
        "Float64": pd.array([1.5, None], dtype="Float64"),
        "boolean": pd.array([True, None], dtype="boolean"),
        "bool": [True, False],
        "str": ["a", None],
        "object": pd.Series(["a", None], dtype=object),
        "object NaN": pd.Series(["a", NAN], dtype=object),
        "string": pd.array(["a", None], dtype="string"),
        "string[python]": pd.array(["a", None], dtype="string[python]"),
        "category": pd.Categorical(["b", None], ["b", "a"]),
        "ordered category": pd.Categorical(["b", None], ["b", "a"], ordered=True),
        "datetime": pd.array(["2024-01-02", None], dtype="datetime64[ns]"),
        "datetime UTC": pd.array(["2024-01-02", None], dtype="datetime64[us, UTC]"),
        "timedelta": pd.array([5, None], dtype="timedelta64[s]"),
        "period": pd.period_range("2024-01", periods=2, freq="M"),
        "interval": pd.interval_range(0, 2),
        "arrow": pd.array([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    }
    indexes: dict[str, Any] = {
        "range": pd.RangeIndex(5, 9, 2, name="row"),
        "integers": pd.Index([0, 1]),
        "times": days.tz_localize("America/New_York").rename("time"),
        "names": pd.Index(["a", "b"], name="symbol"),
        "levels": pd.MultiIndex.from_arrays([days, ["a", "b"]], names=["time", None]),
    }
    return {
        **{f"column {name}": pd.DataFrame({"x": values}) for name, values in columns.items()},
        **{f"index {name}": pd.DataFrame({"x": numbers}, index=index) for name, index in indexes.items()},
        "labels of integers": pd.DataFrame([[1.0, 2.0]]),
        "labels of tuples": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        "no rows": pd.DataFrame({"x": pd.Series([], dtype="float64")}),
        "no columns": pd.DataFrame(index=pd.RangeIndex(3)),
        "three blocks": pd.DataFrame({"x": np.arange(2 * BLOCK_ROWS + 1, dtype=np.int32)}),
    }


def digests() -> dict[str, str]:
    """Digest every input; the tail of one stands for the method."""
    tables = {f"table {name}": pa.table({"x": values}) for name, values in _typed_arrays().items()}
    found = {name: content_digest(raw) for name, raw in {**tables, **_frames()}.items()}
    long = pd.DataFrame({"x": np.arange(1500)})
    return {**found, "tail": identify(long, threshold_bytes=0, policy="tail").fingerprint.digest}


if __name__ == "__main__":
    print(json.dumps(digests(), indent=1))
