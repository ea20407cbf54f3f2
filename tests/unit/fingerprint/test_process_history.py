"""What a process did before, and how pandas is set in it, changes neither digests nor what functions see."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.fingerprint.identification import content_digest, to_table
from fstore.results.codec import encode_result

STR = pd.StringDtype("pyarrow", na_value=np.nan)
PYTHON = pd.StringDtype("python", na_value=np.nan)
DTYPES: dict[str, Any] = {
    "str": STR, "python": PYTHON, "string": pd.StringDtype("pyarrow"), "python string": pd.StringDtype("python"),
    "object": object, "arrow": pd.ArrowDtype(pa.string()), "category": pd.CategoricalDtype(pd.Index(["b", "a"], dtype=STR)),
    "category of objects": pd.CategoricalDtype(pd.Index(["b", "a"], dtype=object)),
    "category of python text": pd.CategoricalDtype(pd.Index(["b", "a"], dtype=PYTHON)),
}  # fmt: skip

LOOK = """
import json, pickle, sys
from pathlib import Path
import pandas as pd
folder, setting, value, when = sys.argv[1:]
import warnings; warnings.simplefilter("ignore")
if when == "before" and setting != "-": pd.set_option(setting, eval(value))
import fstore
if when == "after" and setting != "-": pd.set_option(setting, eval(value))
from fstore.results.codec import decode_result, encode_result
from fstore.fingerprint.identification import content_digest, to_table
from fstore.frames.convert import to_frame
from fstore.model import ParquetSource
import pyarrow as pa, pyarrow.parquet as pq

def dtype(found):
    inner = dtype(found.categories.dtype) if isinstance(found, pd.CategoricalDtype) else None
    return [str(found), getattr(found, "storage", None), repr(getattr(found, "na_value", None)), inner]

def level(index): return [dtype(index.dtype), repr(index.tolist()), str(index.name)]

def look(frame):
    axes = [[level(axis.get_level_values(i)) for i in range(axis.nlevels)] for axis in (frame.index, frame.columns)]
    cells = [[type(value).__name__ for value in frame.iloc[:, i]] for i in range(frame.shape[1])]
    return [[dtype(found) for found in frame.dtypes], axes, cells]

said = {}
frames = Path(folder) / "frames.pickle"
for name in sorted(Path(folder).glob("*.parquet")):
    source = ParquetSource(name)
    said["file " + name.stem] = [content_digest(source), look(to_frame(to_table(source)))]
    said["result " + name.stem] = look(decode_result(pq.read_table(name)))
for name in sorted(Path(folder).glob("*.arrow")):
    table = pa.ipc.open_file(pa.OSFile(str(name))).read_all()
    said["staged " + name.stem] = [content_digest(table), look(to_frame(table)), look(to_frame(table.slice(0, 0)))]
if frames.exists():
    for name, frame in pickle.loads(frames.read_bytes()).items():
        said["frame " + name] = [content_digest(frame), look(to_frame(to_table(frame)))]
print(json.dumps(said))
"""


def looked_at(folder: Path, setting: str = "-", value: str = "-", when: str = "-") -> dict[str, Any]:
    """Look at everything in a folder in a process that has done nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(folder), setting, value, when],
        check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, timeout=120,
    )  # fmt: skip
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def text_frames() -> dict[str, pd.DataFrame]:
    """Make frames of text of every dtype in columns, indexes, levels and labels."""
    words = ["a", None, "b"]
    found: dict[str, pd.DataFrame] = {}
    for name, dtype in DTYPES.items():
        for labels in ("str", "python", "object"):
            one = pd.Index(["x"], dtype=DTYPES[labels], name="n")
            index = pd.Index(words, dtype=dtype, name="i")
            numbers = np.arange(3.0)
            found[f"{name} under {labels}"] = pd.DataFrame({0: pd.Series(words, dtype=dtype)}).set_axis(one, axis=1)
            found[f"{name} index under {labels}"] = pd.DataFrame(numbers, index=index, columns=one)
            found[f"{name} level under {labels}"] = pd.DataFrame(
                numbers,
                index=pd.MultiIndex.from_arrays([index, [1, 2, 3]]),
                columns=pd.MultiIndex.from_arrays([one, pd.Index([1])]),
            )
    found["Float64"] = pd.DataFrame({0: pd.array([1.5, None], dtype="Float64")}).set_axis(
        pd.Index(["x"], dtype=STR), axis=1
    )
    return found


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write frames of text as pickle, as foreign Parquet, and tables that say nothing about pandas."""
    folder = tmp_path_factory.mktemp("texts")
    frames = text_frames()
    (folder / "frames.pickle").write_bytes(pickle.dumps(frames))
    for at, frame in enumerate(frames.values()):
        frame.to_parquet(folder / f"{at}.parquet")
    bare = pa.table({"x": ["a", None], "d": pa.array(["q", "r"]).dictionary_encode(), "n": pa.nulls(2)})
    pq.write_table(bare, folder / "bare.parquet")
    return folder


@pytest.fixture(scope="module")
def usual(texts: Path) -> dict[str, Any]:
    """Look at them where no option was set."""
    return looked_at(texts)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("future.infer_string", "False"),
        ("mode.string_storage", "'python'"),
        ("future.distinguish_nan_and_na", "True"),
    ],
)
def test_options_of_pandas_change_nothing(
    texts: Path, usual: dict[str, Any], setting: str, value: str, when: str
) -> None:
    """Set before fstore is imported or after: every digest, dtype, label and missing value is the same."""
    assert looked_at(texts, setting, value, when) == usual


@pytest.mark.parametrize("place", ["column", "index", "level"])
@pytest.mark.parametrize("kind", ["period", "interval"])
def test_a_fresh_process_knows_the_types_of_pandas(kind: str, place: str, tmp_path: Path) -> None:
    """Raw data and results, staged or stored: nobody needs to have made a period or an interval before."""
    values: Any = (
        pd.period_range("2024-01", periods=2, freq="M") if kind == "period" else pd.interval_range(0.5, periods=2)
    )
    index = {"column": None, "index": values, "level": pd.MultiIndex.from_arrays([values, [1, 2]])}[place]
    frame = pd.DataFrame({"x": values if place == "column" else [1.0, 2.0]}, index=index)
    with pa.OSFile(str(tmp_path / "raw.arrow"), "wb") as sink, pa.ipc.new_file(sink, to_table(frame).schema) as writer:
        writer.write_table(to_table(frame))
    pq.write_table(encode_result(frame), tmp_path / "result.parquet")

    said = looked_at(tmp_path)

    dtype = str(values.dtype)
    digest, look, _ = said["staged raw"]
    assert digest == said["file result"][0] == content_digest(frame)
    assert dtype in json.dumps(look[:2])
    assert look == said["file result"][1] == said["result result"]


def test_a_table_read_before_fstore_was_imported_is_known_as_well(tmp_path: Path) -> None:
    """Arrow then left the name of the type beside plain numbers."""
    frame = pd.DataFrame({"x": pd.period_range("2024-01", periods=2, freq="M")})
    frame.to_parquet(tmp_path / "x.parquet")
    script = (
        "import sys, pyarrow.parquet as pq; table = pq.read_table(sys.argv[1]); import fstore.fingerprint.identification as f;"
        "from fstore.frames.convert import to_frame;"
        "print(table.schema.field(0).type, f.content_digest(table), to_frame(f.to_table(table)).dtypes.iloc[0])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "x.parquet")],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, timeout=120,
    )  # fmt: skip

    assert done.stdout.split() == ["int64", content_digest(frame), "period[M]"]
