"""Features that tests ask workers for."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore import FeatureStoreError, feature
from tests import awkward_frames, sample_frames


@feature(version="1")
def scaled(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Multiply every number."""
    return raw.select_dtypes("number") * config.get("factor", 2)


@feature(version="1")
def spread(raw: pd.DataFrame, config: Mapping[str, Any]) -> Any:
    """Return a Series, named unless told otherwise."""
    series = (raw["x"] * 1.5).rename(None if config.get("nameless") else "spread")
    series.attrs = {"unit": "bp"}
    return series


@feature(version="1")
def slow(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take as long as told, and leave a mark of each start."""
    mark_start(config)
    time.sleep(config.get("seconds", 1.0))
    return raw.head(config.get("rows", 3))


@feature(version="1")
def after_another(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Wait until another computation has left its mark: two rows if it did within 40 s, three if not."""
    mark_start(config)
    given_up = time.monotonic() + 40
    while not (is_there := Path(config["after"]).exists()) and time.monotonic() < given_up:
        time.sleep(0.02)
    return raw.head(2 if is_there else 3)


@feature(version="1")
def slow_at_first(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take a minute at the first ``early`` starts, and no time at the next; leave a mark of each."""
    mark_start(config)
    time.sleep(60 if is_early(config) else 0)
    return raw.head(3)


@feature(version="1")
def noise(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return random numbers that do not compress, eight bytes a row."""
    return pd.DataFrame({"x": np.random.default_rng(config["seed"]).random(config["rows"])})


@feature(version="1")
def frozen_objects(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return how many objects of the process that runs it are kept out of garbage collections."""
    return pd.DataFrame({"frozen": [gc.get_freeze_count()]})


@feature(version="1")
def failing(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Raise after a moment."""
    mark_start(config)
    time.sleep(config.get("seconds", 0.0))
    raise ValueError("no price in row 17")


@feature(version="1")
def poison(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Kill the process that runs it, as running out of memory does."""
    mark_start(config)
    os.kill(os.getpid(), signal.SIGKILL)
    return raw


@feature(version="1")
def hungry(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Take more and more memory at the first starts (see ``is_early``), and none later."""
    mark_start(config)
    if is_early(config):
        held = []
        while len(held) < config["megabytes"]:
            held.append(bytearray(os.urandom(1 << 20)))
            time.sleep(0.001)
    return raw.head(3)


@feature(version="1")
def hanging(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Hang in C with every signal masked at the first starts, and return at once later."""
    mark_start(config)
    if is_early(config):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        ctypes.CDLL(None).sleep(600)
    return raw.head(3)


@feature(version="1")
def no_frame(raw: pd.DataFrame, config: Mapping[str, Any]) -> Any:
    """Return something that is no frame."""
    return 42


@feature(version="1")
def doubled_columns(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame with a column name twice."""
    return pd.concat([raw, raw], axis=1)


@feature(version="1", input="arrow")
def first_rows(raw: pa.Table, config: Mapping[str, Any]) -> pa.Table:
    """Work on an Arrow table."""
    return raw.slice(0, config.get("rows", 5))


@feature(version="1", input="dataset")
def total_while_replaced(dataset: Any, config: Mapping[str, Any]) -> pd.DataFrame:
    """Add up a source that is replaced before it is read."""
    (path,) = dataset.files
    Path(config["new"]).rename(path)
    return pd.DataFrame({"total": [dataset.to_table()["x"].to_pandas().sum()]})


@feature(version="1", input="dataset")
def row_count(raw: Any, config: Mapping[str, Any]) -> pd.DataFrame:
    """Stream a dataset in batches."""
    return pd.DataFrame({"rows": [sum(batch.num_rows for batch in raw.to_batches())]})


@feature(version="1")
def sample(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame of a certain kind."""
    mark_start(config)
    return {**sample_frames.KINDS, **awkward_frames.FRAMES}[config["kind"]]()


@feature(version="1")
def unstorable(raw: pd.DataFrame, config: Mapping[str, Any]) -> Any:
    """Return what no file brings back."""
    from tests.awkward_tables import REFUSED  # loads polars, which other features do without

    make, _ = REFUSED[config["kind"]]
    return make()


@feature(version="1")
def unspeakable(raw: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Raise an error that is hard to write down."""
    mark_start(config)
    match config["kind"]:
        case "surrogate":
            raise ValueError("half a character \ud800 and a zero \0")
        case "no text":
            raise _Speechless
        case "arguments":
            raise FeatureStoreError(object(), "\ud800\0")
        case _:
            raise KeyError("x" * 1_000_000)


class _Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("an error without a text")


def is_early(config: Mapping[str, Any]) -> bool:
    """Tell whether this is one of the first ``early`` (default 1) starts, by the marks left so far."""
    return len(list(Path(config["marks"]).iterdir())) <= config.get("early", 1)


def mark_start(config: Mapping[str, Any]) -> None:
    """Leave a file for every start, named by process and time, so that a test can count them."""
    if folder := config.get("marks"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{os.getpid()}-{time.monotonic_ns()}").touch()
