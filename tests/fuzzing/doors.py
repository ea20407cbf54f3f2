"""The doors of a store, each asked for one step on one frame, and how an answer is judged."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

import fstore
from fstore.fingerprint.identification import to_dataset, to_table
from fstore.results.codec import decode_result
from tests.fuzzing import frames, functions
from tests.fuzzing.comparison import difference
from tests.fuzzing.other_process import OtherProcess

# What may refuse, in fstore's own words; anything else that is raised is a failure of fstore's.
REFUSALS = (fstore.UnhashableInput,)
REFUSED_RESULT = "UnstorableResult"
Door = Callable[[fstore.FeatureStore, pd.DataFrame, str, Path], Any]


@dataclass
class Tally:
    """How a run went: what was right, what was refused and why, and what was wrong."""

    right: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def _worker(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    return store.get_or_compute("fuzz", frame, {"step": step}, functions.worker_probe)


def _local(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    local = fstore.local(functions.probe, version="1", name="fuzz")
    return store.get_or_compute("fuzz", frame, {"step": step}, local)


def _batch(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    requests = [fstore.Request(symbol, frame, {"step": step}, functions.worker_probe) for symbol in ("a", "b")]
    answers = dict[str, Any]()
    for request, answer in store.get_or_compute_many(requests):
        answers[request.symbol] = answer
    assert difference(answers["a"], answers["b"]) is None
    return answers["a"]


def _ingested(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    source = store.ingest(frame, folder / f"{len(list(folder.iterdir()))}.parquet")
    return store.get_or_compute("fuzz", source, {"step": step}, functions.worker_probe)


def _arrow(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    return store.get_or_compute("fuzz", frame, {"step": step}, functions.arrow_probe)


def _dataset(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    return store.get_or_compute("fuzz", frame, {"step": step}, functions.dataset_probe)


def _submitted(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    return store.submit("fuzz", frame, {"step": step}, functions.worker_probe).result(timeout=60)


def _as_table(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    table = store.get_or_compute("fuzz", frame, {"step": step}, functions.worker_probe, returns="arrow")
    return decode_result(table)


def _of_table(store: fstore.FeatureStore, frame: pd.DataFrame, step: str, folder: Path) -> Any:
    return store.get_or_compute("fuzz", frames.other_table(to_table(frame)), {"step": step}, functions.worker_probe)


def elsewhere(process: OtherProcess) -> Door:
    """Ask from another process, whatever store it has open."""
    return lambda store, frame, step, folder: process.ask(frame, step)


FRAME_DOORS: Mapping[str, Door] = {
    "worker": _worker,
    "local": _local,
    "batch": _batch,
    "ingested": _ingested,
    "submitted": _submitted,
    "as a table": _as_table,
    "of a table": _of_table,
}
ARROW_DOORS: Mapping[str, Door] = {"arrow": _arrow, "dataset": _dataset}


def judge(tally: Tally, place: str, wanted: Any, ask: Callable[[], Any]) -> None:
    """Ask, and note whether the answer is what a direct call gives, a typed refusal, or wrong."""
    try:
        with warnings.catch_warnings():  # the suite's own filters would make errors of them, in this process alone
            warnings.simplefilter("ignore")
            answer = ask()
    except REFUSALS as error:
        tally.refused[f"{type(error).__name__}: {error.reason[:90]}"] += 1
        return
    except fstore.ComputeFailed as error:
        if error.error_type.rpartition(".")[2] == REFUSED_RESULT:
            tally.refused[f"{REFUSED_RESULT}: {error.detail[:60]}"] += 1
        elif isinstance(wanted, Exception) and error.error_type.rpartition(".")[2] == type(wanted).__name__:
            tally.right += 1
        else:
            tally.wrong.append(f"{place}: {error.error_type}: {error.detail[:200]} instead of {_shown(wanted)}")
        return
    except Exception as error:
        tally.wrong.append(f"{place}: raw {type(error).__name__}: {error!s:.200} instead of {_shown(wanted)}")
        return
    if isinstance(wanted, Exception):
        tally.wrong.append(f"{place}: an answer instead of {wanted!r:.200}")
    elif fault := difference(answer, wanted):
        tally.wrong.append(f"{place}: {fault}")
    else:
        tally.right += 1


def direct(frame: pd.DataFrame, step: str) -> Any:
    """Call the function as its author would, with the frame in the form in which features see it."""
    own = as_seen(frame.copy(deep=True))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = functions.probe(own, {"step": step})
    except Exception as error:
        return error
    return made if type(made) is pd.DataFrame else pd.DataFrame(made)  # the class is not kept


def direct_arrow(frame: pd.DataFrame, door: str) -> Any:
    """Look at the table or the dataset that stands for a frame."""
    try:
        return functions.arrow_look(to_table(frame) if door == "arrow" else to_dataset(frame).to_table())
    except (fstore.UnhashableInput, pa.ArrowException) as error:
        return error


def as_seen(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame without what is no part of raw data: an index ``freq``, and labels that are a range."""
    if isinstance(frame.index, pd.DatetimeIndex | pd.TimedeltaIndex):
        frame.index = frame.index._with_freq(None)
    if isinstance(frame.columns, pd.RangeIndex):
        frame.columns = pd.Index(list(frame.columns), dtype="int64", name=frame.columns.name)
    return frame


def _shown(wanted: Any) -> str:
    return f"{wanted!r:.100}".replace("\n", " ")
