"""Trainers in processes of their own, as many as a test wants, all asking at one moment."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from queue import Empty
from typing import Any

import fstore
from fstore import FeatureStore
from tests.waiting import awake_s

Act = Callable[[FeatureStore], Any]


@dataclass(frozen=True)
class Outcome:
    """What one caller got: a value or an error, and after how many seconds."""

    value: Any
    error: BaseException | None
    seconds: float


def context() -> ForkServerContext:
    """Return a way to start processes cheaply: the imports are done once, in a server without threads."""
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(["fstore", "fstore.broker", "tests.sample_features", "tests.trainers"])
    return chosen


def crowd(
    environment: Mapping[str, str], act: Act, *, processes: int, threads: int = 1, seconds: float = 120
) -> list[Outcome]:
    """Run ``act(store)`` in so many processes and threads at the same moment, and return every outcome."""
    start = context()
    gate, results = start.Barrier(processes), start.Queue()
    crew = [
        start.Process(target=_trainer, args=(dict(environment), act, threads, gate, results), daemon=True)
        for _ in range(processes)
    ]
    for process in crew:
        process.start()
    try:
        return [results.get(timeout=seconds) for _ in range(processes * threads)]
    except Empty:
        raise AssertionError(f"not all trainers answered within {seconds} s") from None
    finally:
        for process in crew:
            process.join(30)
            if process.is_alive():
                process.kill()
                process.join()


def lone(environment: Mapping[str, str], target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start one process that runs ``target(store, *arguments)``, to be killed by the test."""
    process = context().Process(target=_with_store, args=(dict(environment), target, arguments), daemon=True)
    process.start()
    return process


def _with_store(environment: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    with fstore.connect() as store:
        target(store, *arguments)


def _trainer(environment: dict[str, str], act: Act, threads: int, gate: Any, results: Any) -> None:
    os.environ.update(environment)
    store = fstore.connect()
    with suppress(fstore.FeatureStoreError):
        store.resources.manifest.find_live("0" * 64)  # connected before the race starts
    gate.wait(120)

    def call() -> None:
        began = awake_s()
        value, error = None, None
        try:
            value = act(store)
        except Exception as caught:
            error = caught
        results.put(Outcome(value, error, awake_s() - began))

    callers = [threading.Thread(target=call) for _ in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    store.close()
    results.close()
    results.join_thread()
