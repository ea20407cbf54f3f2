"""When each step of a miss is done, trainer and worker being processes of their own that wait for each other.

Both note moments by the machine's one monotonic clock: the trainer is the process that measures, a worker
loads this module by ``-I`` and leaves what it noted in the folder that ``BENCH_TIMELINE`` names. What
lies between two moments is work, a wait for a server's answer, or a message on its way.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.features import day, unchanged
from harness.stand import TASKS, stand

FOLDER = "BENCH_TIMELINE"
WARM_UP = 20

# Where a function is looked up, and what is done when it returns.
OF_TRAINERS: dict[str, tuple[str, str]] = {
    "trainer: request has its key": ("fstore.store", "prepare"),
    "trainer: knows that there is no entry": ("fstore.postgres.manifest:Manifest", "find_live"),
    "trainer: has the lock": ("fstore.coordination.locks:DedupLocks", "take_many"),
    "trainer: raw data are staged": ("fstore.client.enqueue", "stage_raw"),
    "trainer: job is registered": ("fstore.postgres.jobs:Jobs", "enqueue"),
    "trainer: message is sent": ("fstore.coordination.outbox:Outbox", "push"),
    "trainer: gave the lock back": ("fstore.coordination.locks:DedupLocks", "release_many"),
    "trainer: was told": ("fstore.coordination.notifications:Subscription", "wait"),
    "trainer: looked again": ("fstore.postgres.jobs:Jobs", "look"),
    "trainer: file is read and verified": ("fstore.client.read_through", "read_wanted"),
    "trainer: has the frame": ("fstore.store:FeatureStore", "get_or_compute"),
}
OF_WORKERS: dict[str, tuple[str, str]] = {
    "worker: child has the message": ("workers.tasks", "parse_compute"),
    "worker: claimed": ("fstore.postgres.jobs:Jobs", "claim"),
    "worker: raw data are read": ("fstore.compute.executor", "read_raw"),
    "worker: computed": ("fstore.calling", "call_feature"),
    "worker: file is durable": ("fstore.storage.folder.entries:FolderEntries", "publish"),
    "worker: row is committed": ("fstore.postgres.manifest:Manifest", "publish"),
    "worker: told": ("fstore.coordination.notifications:Notifier", "announce"),
}


class Moments:
    """What a process noted, in its order."""

    def __init__(self) -> None:
        self.noted: list[tuple[float, str]] = []

    def watch(self, functions: dict[str, tuple[str, str]]) -> None:
        """Replace functions, or methods of ``module:Class``, by ones whose ends are noted."""
        for label, (home, name) in functions.items():
            module, _, owner = home.partition(":")
            place = getattr(import_module(module), owner) if owner else import_module(module)
            setattr(place, name, self._noting(getattr(place, name), label))

    def _noting(self, act: Callable[..., Any], label: str) -> Callable[..., Any]:
        @functools.wraps(act)
        def noting(*arguments: Any, **named: Any) -> Any:
            try:
                return act(*arguments, **named)
            finally:
                self.noted.append((time.monotonic(), label))

        return noting


def measure_timeline(rounds: int) -> dict[str, float]:
    """Return when each step was done, in milliseconds after the request, medians of misses one after the other.

    Replaces functions of the library: for a process that does nothing else.
    """
    moments, begins = Moments(), list[float]()
    frames = [day(number) for number in range(rounds + WARM_UP)]
    with stand() as place, place.trainer(tier=True) as store:
        folder = place.folder / "timeline"
        folder.mkdir()
        environment = {FOLDER: str(folder)}
        place.start_worker("-I", TASKS, "-I", __name__, "--loglevel", "WARNING", concurrency=1, **environment)
        moments.watch(OF_TRAINERS)
        for frame in frames:
            begins.append(time.monotonic())
            store.get_or_compute("BENCH", frame, {}, unchanged)
        noted = moments.noted + [tuple(each) for file in folder.iterdir() for each in _read(file)]
    return medians(noted, begins)


def medians(noted: list[Any], begins: list[float]) -> dict[str, float]:
    """Sort moments to the requests that they belong to, the last of a label in each, and return their medians in order."""
    after: defaultdict[str, list[float]] = defaultdict(list)
    for begin, end in zip(begins[WARM_UP:], [*begins[WARM_UP + 1 :], float("inf")], strict=True):
        last = {label: at for at, label in sorted(noted) if begin <= at < end}
        for label, at in last.items():
            after[label].append((at - begin) * 1000)
    found = {label: round(statistics.median(times), 3) for label, times in after.items()}
    return dict(sorted(found.items(), key=lambda each: each[1]))


def _read(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _be_watched(folder: Path) -> None:
    """Note moments in this worker, and leave them in the folder after each task."""
    from celery.signals import task_postrun, task_prerun  # noqa: PLC0415 a trainer knows no Celery

    moments = Moments()

    def watch(**_: Any) -> None:
        if not moments.noted:
            moments.watch(OF_WORKERS)
            task_prerun.disconnect(watch)

    def leave(**_: Any) -> None:
        with (folder / str(os.getpid())).open("a") as file:
            file.writelines(json.dumps(each) + "\n" for each in moments.noted)
        moments.noted.clear()

    task_prerun.connect(watch, weak=False)
    task_postrun.connect(leave, weak=False)


if FOLDER in os.environ:
    _be_watched(Path(os.environ[FOLDER]))
