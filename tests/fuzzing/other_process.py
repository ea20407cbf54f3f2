"""A trainer in a process of its own: another history, other pandas options, the same store."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pandas as pd

import fstore

OPTIONS = {"future.infer_string": False, "mode.string_storage": "python", "mode.nan_is_na": False}


class OtherProcess:
    """Asks for one step on one frame at a time, over a pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def ask(self, frame: pd.DataFrame, step: str) -> Any:
        """Return what ``get_or_compute`` returns there, or raise what it raises."""
        self._pipe.send((frame, step))
        kind, answer = self._pipe.recv()
        if kind == "error":
            raise answer
        return answer


@contextmanager
def other_process(root: str, settings: dict[str, Any]) -> Iterator[OtherProcess]:
    """Start a trainer elsewhere, and end it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, root, settings), daemon=True)
    process.start()
    try:
        yield OtherProcess(here)
    finally:
        here.close()
        process.join(timeout=10)
        process.kill()


def _serve(pipe: Connection, root: str, settings: dict[str, Any]) -> None:
    for name, value in OPTIONS.items():
        try:
            pd.set_option(name, value)
        except KeyError:  # of another pandas
            continue
    from tests.fuzzing import functions

    with fstore.FeatureStore(root, **settings) as store:
        while True:
            try:
                frame, step = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                pipe.send(("answer", store.get_or_compute("fuzz", frame, {"step": step}, functions.worker_probe)))
            except Exception as error:
                pipe.send(("error", error))
