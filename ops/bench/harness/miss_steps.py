"""Where the processor time of a miss goes, step by step: trainer and worker in one process, one after the other.

The raw data are 390 x 10, new for each miss, and the feature does nothing. Celery's own share is left out: the message goes
from hand to hand. Each step is what it takes without the steps below it, other threads of the process
included.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any

from fstore import FeatureStore
from fstore.stack import temporary_servers
from harness.features import day, unchanged
from harness.stand import cpu_seconds, stands

# Where a step's function is looked up, and what the step is called; in the order in which they are taken.
STEPS: dict[str, tuple[str, str]] = {
    "trainer: fingerprint": ("fstore.client.request", "identify"),
    "trainer: key and all else of the request": ("fstore.client.request", "prepare"),
    "trainer: is there an entry": ("fstore.postgres.manifest:Manifest", "find_live"),
    "trainer: take the lock": ("fstore.coordination.locks:DedupLocks", "take_many"),
    "trainer: stage raw data": ("fstore.client.enqueue", "stage_raw"),
    "trainer: register the job": ("fstore.postgres.jobs:Jobs", "enqueue"),
    "trainer: write and read the message": ("fstore.client.request:KeyedRequest", "message"),
    "trainer: release the lock": ("fstore.coordination.locks:DedupLocks", "release_many"),
    "worker: judge the request": ("fstore.compute.executor", "plan"),
    "worker: claim": ("fstore.postgres.jobs:Jobs", "claim"),
    "worker: read raw data and digest them": ("fstore.compute.executor", "read_raw"),
    "worker: call the function": ("fstore.calling", "call_feature"),
    "worker: result as a table": ("fstore.compute.publishing", "encode_result"),
    "worker: write Parquet": ("fstore.storage.folder.entries", "write_result"),
    "worker: flush the file": ("fstore.storage.folder.entries", "seal"),
    "worker: decode what was written": ("fstore.storage.folder.entries", "check_written"),
    "worker: compare it with the result": ("fstore.compute.publishing", "check_faithful"),
    "worker: flush the folder": ("fstore.storage.folder.entries", "sync_folder"),
    "worker: all else of the file": ("fstore.storage.folder.entries:FolderEntries", "publish"),
    "worker: versions to record": ("fstore.compute.planning", "versions_of"),
    "worker: publish the row": ("fstore.postgres.manifest:Manifest", "publish"),
    "worker: tell who waits": ("fstore.coordination.notifications:Notifier", "announce"),
    "worker: lease and all else": ("fstore.compute.executor", "execute"),
    "trainer: look again": ("fstore.postgres.jobs:Jobs", "look"),
    "trainer: read and verify the file": ("fstore.entries", "read_entry"),
    "trainer: result as a frame": ("fstore.entries", "in_form"),
}


def measure_steps(rounds: int) -> dict[str, dict[str, float]]:
    """Take misses one after the other, and return the average processor time of each step, and of each server, in milliseconds.

    Replaces functions of the library by measured ones: for a process that does nothing else.
    """
    meter = Meter()
    with temporary_servers() as servers, stands(servers, 1) as (place,), place.trainer() as store:
        asked = {"Postgres": servers.postgres.pid, "Redis": servers.redis.pid}
        for label, (home, name) in STEPS.items():
            meter.watch(home, name, label)
        for number in range(rounds // 5):
            miss(store, number)
        meter.spent.clear()
        before = {name: cpu_seconds(pid) for name, pid in asked.items()}
        for number in range(rounds):
            miss(store, number + 1000)
        taken = {name: cpu_seconds(pid) - before[name] for name, pid in asked.items()}
    return {
        "steps": {label: round(meter.spent[label] / rounds * 1000, 3) for label in STEPS},
        "servers": {name: round(seconds / rounds * 1000, 3) for name, seconds in taken.items()},
    }


def miss(store: FeatureStore, number: int) -> None:
    """Miss once: what the trainer does, what a worker does, what the trainer does with it."""
    request_module, enqueue = import_module("fstore.client.request"), import_module("fstore.client.misses")
    executor, entries = import_module("fstore.compute.executor"), import_module("fstore.entries")
    resources = store.resources
    request = request_module.prepare(resources, "BENCH", day(number), {}, unchanged)
    resources.manifest.find_live(request.key)
    sent: list[Any] = []
    resources.broker.send_compute = sent.append  # type: ignore[method-assign]
    enqueue.enqueuer_of(resources).enqueue([request])
    outcome = executor.execute(resources, sent[0], phase=lambda _: None)
    resources.jobs.look([request.key])
    entries.in_form(entries.read_entry(resources, outcome.locator), "pandas")


class Meter:
    """Processor time by step: of each watched function without the watched ones that it calls."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def watch(self, home: str, name: str, label: str) -> None:
        """Replace a function, or a method of ``module:Class``, by one that is measured."""
        module, _, owner = home.partition(":")
        place = getattr(import_module(module), owner) if owner else import_module(module)
        setattr(place, name, self._watched(getattr(place, name), label))

    def _watched(self, act: Callable[..., Any], label: str) -> Callable[..., Any]:
        @functools.wraps(act)
        def measured(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            began = time.process_time()
            try:
                return act(*arguments, **named)
            finally:
                took = time.process_time() - began
                self.spent[label] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        return measured
