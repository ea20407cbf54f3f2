"""Prometheus metrics of the whole store, read at each scrape from counters, manifest and queues.

One exporter a store, not one a process: a team's trainers come and go, and what
they did is in the counters. Label values are bounded: no symbols, no keys, and of
features and degraded modes only the largest and the known ones.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar, get_args

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from fstore.broker import QUEUES, compute_queue
from fstore.errors import FeatureStoreError
from fstore.features import own_queues
from fstore.model import EntryState, JobState
from fstore.postgres import Kind
from fstore.reporting.stats import read_counters
from fstore.resources import Resources
from fstore.runtime.counters import (
    COUNTERS,
    DEGRADED,
    MODES,
    OBJECT_KINDS,
    OBJECT_REQUESTS,
    kind_counter,
    mode_counter,
)
from fstore.runtime.timings import TIMINGS, histogram, timing_of
from fstore.runtime.versions import library_versions

log = logging.getLogger("fstore.metrics")

T = TypeVar("T")

OTHER = "other"
MOST_FEATURES = 50
SLOW_EVERY_S = 60.0  # how old totals over the whole manifest may be


class StoreCollector(Collector):
    """Collects at each scrape; a server that is away makes ``fstore_up`` zero and leaves its metrics out."""

    def __init__(self, resources: Resources, *, slow_every_s: float = SLOW_EVERY_S) -> None:
        self._resources = resources
        self._slow_every_s = slow_every_s
        self._slow: dict[str, tuple[float, object]] = {}
        self._highest: dict[str, int] = {}
        self._guard = threading.Lock()
        self.is_healthy = False

    def describe(self) -> Iterable[Metric]:
        """Name nothing: registering the collector must not connect to anything."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read everything once; scrapes at the same time take turns."""
        began = time.monotonic()
        with self._guard:
            families: list[Metric] = []
            up = GaugeMetricFamily("fstore_up", "whether the server answers", labels=["server"])
            up.add_metric(["postgres"], self._gather(families, self._manifest, self._jobs, self._upkeep))
            up.add_metric(["redis"], self._gather(families, self._queues))
            self.is_healthy = self._gather(families, self._counted) == 1.0
            self._gather(families, self._folder)
        yield up
        yield from families
        yield InfoMetricFamily("fstore_build", "versions of the exporter", value=dict(library_versions()))
        yield _gauge("fstore_collect_seconds", "how long this scrape took", time.monotonic() - began)

    def _gather(self, families: list[Metric], *parts: Callable[[], Iterable[Metric]]) -> float:
        try:
            for part in parts:
                families.extend(list(part()))
        except (FeatureStoreError, OSError) as error:
            log.warning("cannot collect: %s", error)
            return 0.0
        return 1.0

    def _counted(self) -> Iterator[Metric]:
        counters = self._never_less(read_counters(self._resources.usage, self._resources.usage_buffer))
        for name, meaning in COUNTERS.items():
            if name not in (DEGRADED, OBJECT_REQUESTS):
                yield CounterMetricFamily(f"fstore_{name}", meaning, value=counters.get(name, 0))
        degraded = CounterMetricFamily(f"fstore_{DEGRADED}", COUNTERS[DEGRADED], labels=["mode"])
        by_mode = {mode: counters.get(mode_counter(mode), 0) for mode in MODES}
        for mode, n in {**by_mode, OTHER: max(0, counters.get(DEGRADED, 0) - sum(by_mode.values()))}.items():
            degraded.add_metric([mode], n)
        yield degraded
        requests = CounterMetricFamily(f"fstore_{OBJECT_REQUESTS}", COUNTERS[OBJECT_REQUESTS], labels=["kind"])
        by_kind = {kind: counters.get(kind_counter(kind), 0) for kind in OBJECT_KINDS}
        for kind, n in {**by_kind, OTHER: max(0, counters.get(OBJECT_REQUESTS, 0) - sum(by_kind.values()))}.items():
            requests.add_metric([kind], n)
        yield requests
        for name, meaning in TIMINGS.items():
            found = histogram(name, counters)
            buckets = [("+Inf" if bound == float("inf") else f"{bound:g}", float(n)) for bound, n in found.buckets]
            yield HistogramMetricFamily(f"fstore_{name}", meaning, buckets=buckets, sum_value=found.sum_s)

    def _never_less(self, counters: Mapping[str, int]) -> Mapping[str, int]:
        """Hold a counter that fell, as when Redis lost its memory.

        Prometheus would take it for a new start and count all again.
        """
        known = [*COUNTERS, *map(mode_counter, MODES), *map(kind_counter, OBJECT_KINDS), *filter(timing_of, counters)]
        for name in known:
            self._highest[name] = max(self._highest.get(name, 0), counters.get(name, 0))
        return dict(self._highest)

    def _manifest(self) -> Iterator[Metric]:
        by_state = self._seldom("states", self._resources.manifest.count_by_state)
        entries = GaugeMetricFamily("fstore_entries", "entries in the manifest", labels=["state"])
        sizes = GaugeMetricFamily("fstore_entry_bytes", "bytes of the entries' files", labels=["state"])
        for state in EntryState:
            n, size = by_state.get(state, (0, 0))
            entries.add_metric([str(state)], n)
            sizes.add_metric([str(state)], size)
        yield entries
        yield sizes
        yield from _features(self._seldom("features", lambda: self._resources.manifest.totals_by("feature")))
        age = self._seldom("unused", self._resources.usage.longest_unused_s)
        yield _gauge("fstore_longest_unused_seconds", "time since the last use of the least recently used entry", age)

    def _jobs(self) -> Iterator[Metric]:
        rows = self._resources.figures.jobs_by_state()
        jobs = GaugeMetricFamily("fstore_jobs", "computations by state", labels=["state"])
        oldest = GaugeMetricFamily(
            "fstore_oldest_job_seconds", "age of the oldest computation by state", labels=["state"]
        )
        for state in JobState:
            n, age = rows.get(str(state), (0, 0.0))
            jobs.add_metric([str(state)], n)
            oldest.add_metric([str(state)], age)
        yield jobs
        yield oldest

    def _upkeep(self) -> Iterator[Metric]:
        ages, took, failed = (
            GaugeMetricFamily(f"fstore_upkeep_last_{name}", meaning, labels=["kind"])
            for name, meaning in (
                ("age_seconds", "time since the last run ended"),
                ("duration_seconds", "how long the last run took"),
                ("failed", "whether the last run ended with an error"),
            )
        )
        runs = {kind: run for kind, run in self._resources.figures.last_runs().items() if kind in get_args(Kind)}
        for kind, (age, seconds, error, *_) in runs.items():
            ages.add_metric([kind], age)
            took.add_metric([kind], seconds)
            failed.add_metric([kind], float(bool(error)))
        yield from (ages, took, failed)
        nothing = (0.0, 0.0, False, 0, 0, 0, 0, 0, 0)
        _, _, _, files, freed, condemned, *_ = runs.get("gc", nothing)
        yield _gauge("fstore_gc_last_files_deleted", "files that the last collection deleted", files)
        yield _gauge("fstore_gc_last_bytes_freed", "bytes that the last collection freed", freed)
        yield _gauge("fstore_gc_last_entries_condemned", "entries that the last collection condemned", condemned)
        *_, checked, size, quarantined = runs.get("sweep", nothing)
        yield _gauge("fstore_sweep_last_checked", "entries that the last sweep read", checked)
        yield _gauge("fstore_sweep_last_bytes_read", "bytes that the last sweep read", size)
        yield _gauge("fstore_sweep_last_quarantined", "entries that the last sweep quarantined", quarantined)

    def _queues(self) -> Iterator[Metric]:
        lengths = GaugeMetricFamily("fstore_queue_length", "messages that wait in a queue", labels=["queue"])
        for queue in (*QUEUES, *map(compute_queue, own_queues())):
            lengths.add_metric([queue], self._resources.redis_server.queue_length(queue))
        yield lengths

    def _folder(self) -> Iterator[Metric]:
        if (space := self._resources.entries.space()) is not None:
            yield _gauge("fstore_folder_free_bytes", "free space of the store folder's disk", space.free_bytes)
            yield _gauge("fstore_folder_size_bytes", "size of the store folder's disk", space.total_bytes)

    def _seldom(self, name: str, read: Callable[[], T]) -> T:
        """Read what costs a pass over the manifest once a minute, not once a scrape."""
        at, value = self._slow.get(name, (float("-inf"), None))
        if time.monotonic() - at >= self._slow_every_s:
            value = read()
            self._slow[name] = (time.monotonic(), value)
        return value  # type: ignore[return-value]


def _features(totals: Mapping[str, tuple[int, int]]) -> Iterator[Metric]:
    entries = GaugeMetricFamily("fstore_feature_entries", "live entries by feature", labels=["feature"])
    sizes = GaugeMetricFamily("fstore_feature_bytes", "bytes of live entries by feature", labels=["feature"])
    largest = list(totals.items())[:MOST_FEATURES]
    rest = list(totals.values())[MOST_FEATURES:]
    if rest:
        largest.append((OTHER, (sum(n for n, _ in rest), sum(size for _, size in rest))))
    for feature, (n, size) in largest:
        entries.add_metric([feature], n)
        sizes.add_metric([feature], size)
    yield entries
    yield sizes


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
