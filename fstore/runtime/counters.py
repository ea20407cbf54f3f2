"""Collects usage and counters in the process and hands them to Redis in batches, off the hit path."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from fstore.errors import BrokerUnavailable
from fstore.runtime import deadline
from fstore.runtime.fork_safety import forget_in_children
from fstore.runtime.timings import counters_of

log = logging.getLogger("fstore.recorder")

DEGRADED, OBJECT_REQUESTS = "degraded", "object_requests"
# Every counter of a store, with its meaning: what is counted is declared here, and statistics and Prometheus follow.
COUNTERS: Mapping[str, str] = {
    "cache_hits": "requests answered by an entry",
    "cache_misses": "requests that found no entry",
    "coalesced": "misses that were answered by somebody else's computation",
    "computed": "results computed and published",
    "failed": "computations that ended with an error",
    "dead": "computations given up after they killed their workers",
    "corrupt_detected": "entries quarantined because their file was wrong",
    "takeovers": "computations started again because their worker died, froze or stopped",
    "messages_rejected": "messages that workers dropped unread: malformed, not signed, or too old",
    "notes_set_aside": "notes of usage and counters in Redis that were no numbers, or not to be counted",
    "results_refused": "results that trainers computed of workers' features and workers did not publish",
    "processes_ended": "processes that features started and left behind, ended with their worker's child",
    "partitions_computed": "partitions of segments that were computed",
    "partitions_copied": "partitions of segments that were copied from what was computed before",
    "segments_covered": "segments answered by another that holds all of their partitions",
    "hash_optimizations": "fingerprints that needed no scan of the data",
    "footer_hash_optimizations": "fingerprints taken by the footer method",
    "gc_runs": "runs of garbage collection",
    "files_cleaned": "files that garbage collection deleted",
    "bytes_freed": "bytes that garbage collection freed",
    OBJECT_REQUESTS: "requests to the object store",
    "object_retries": "requests to the object store that were sent again",
    "object_slowdowns": "answers of the object store that asked for less",
    "object_breaker_opened": "times that the object store was left alone after failures in a row",
    "object_bytes_sent": "bytes sent to the object store",
    "object_bytes_received": "bytes of objects received",
    DEGRADED: "requests served in a degraded mode",
}
# What is asked of an object store, each also under a counter of its own: kinds are priced differently.
OBJECT_KINDS = ("get", "head", "put", "part", "abort", "copy", "delete", "list", "bucket")
# The modes that ``degraded`` counts, each also under a counter of its own.
MODES: Mapping[str, str] = {
    "redis": "computed by the caller: Redis was away",
    "postgres": "computed by the caller and not stored: Postgres was away",
    "store folder": "computed by the caller and not stored: the folder could not be read or written",
    "not stored": "computed by the caller and not stored, for what its process or its role forbids",
    "publish queue": "computed and published by the caller: no worker published it in time",
}
FLUSH_EVERY_S = 0.5
HAND_OVER_S = 10.0  # longer than Redis' own timeouts and a retry
KEEP_AT_MOST = 100_000  # keys remembered while Redis is away; usage beyond that is not worth the memory
WARN_EVERY_S = 60.0


def mode_counter(mode: str) -> str:
    """Return the counter of one degraded mode."""
    return f"{DEGRADED}:{mode}"


def kind_counter(kind: str) -> str:
    """Return the counter of one kind of request to the object store."""
    return f"{OBJECT_REQUESTS}:{kind}"


def mode_of(counter: str) -> str | None:
    """Return the degraded mode that a counter is about; None for other counters."""
    name, colon, mode = counter.partition(":")
    return mode if colon and name == DEGRADED else None


# Takes hits by key and counters by name; raises BrokerUnavailable when it cannot.
Sink = Callable[[Mapping[str, int], Mapping[str, int]], None]


class Recorder:
    """Best effort by design: a killed process loses at most the last half second of its notes.

    Nothing that was noted is forgotten while the process lives, so notes that Redis took without
    its answer arriving in time are handed over, and counted, once more.
    """

    def __init__(self, sink: Sink, *, timed: bool = True) -> None:
        self._sink = sink
        self._timed = timed
        self._warned: dict[str, float] = {}
        self.forget_after_fork()
        forget_in_children(self)
        atexit.register(self.flush)

    def forget_after_fork(self) -> None:
        """Begin with no notes and no thread: a child notes for itself, the parent still has what it noted."""
        self._guard, self._handing_over = threading.Lock(), threading.Lock()
        self._pending, self._closed = threading.Event(), threading.Event()
        self._hits: Counter[str] = Counter()
        self._counters: Counter[str] = Counter()
        self._thread: threading.Thread | None = None

    def used(self, key: str) -> None:
        """Note that an entry was read."""
        with self._guard:
            if len(self._hits) < KEEP_AT_MOST or key in self._hits:
                self._hits[key] += 1
        self._wake()

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter."""
        with self._guard:
            self._counters[name] += n
        self._wake()

    def took(self, what: str, seconds: float) -> None:
        """Add a duration to one of ``timings.TIMINGS``.

        About a microsecond, nothing when timings are switched off.
        """
        if not self._timed:
            return
        (bucket, one), (total, microseconds) = counters_of(what, seconds)
        with self._guard:
            self._counters[bucket] += one
            self._counters[total] += microseconds
        self._wake()

    def degraded(self, mode: str, reason: str) -> None:
        """Count a request served in a degraded mode, and log it at most once a minute for each mode."""
        self.count(DEGRADED)
        self.count(mode_counter(mode))
        now = time.monotonic()
        with self._guard:
            due = now - self._warned.get(mode, -WARN_EVERY_S) >= WARN_EVERY_S
            if due:
                self._warned[mode] = now
        if due:
            log.warning("degraded: %s: %s", mode, reason)

    def pending(self) -> Mapping[str, int]:
        """Return the counters that Redis does not have yet."""
        with self._guard:
            return dict(self._counters)

    def flush(self) -> bool:
        """Hand over what was noted, and return whether Redis took it; what it did not take is kept.

        What another thread is handing over just now is waited for: afterwards Redis has it, or it is pending.
        """
        if not self._handing_over.acquire(timeout=deadline.remaining(HAND_OVER_S)):
            return False
        try:
            with self._guard:
                hits, counters = self._hits, self._counters
                self._hits, self._counters = Counter(), Counter()
            if not hits and not counters:
                return True
            try:
                self._sink(hits, counters)
            except BrokerUnavailable:
                with self._guard:
                    self._hits.update(hits)
                    self._counters.update(counters)
                return False
            return True
        finally:
            self._handing_over.release()

    def close(self) -> None:
        """Hand over what is left and stop."""
        atexit.unregister(self.flush)
        self.flush()
        self._closed.set()
        self._pending.set()

    def _wake(self) -> None:
        if self._thread is None:
            with self._guard:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="fstore-recorder", daemon=True)
                    self._thread.start()
        self._pending.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._pending.wait()
            self._pending.clear()
            self._closed.wait(FLUSH_EVERY_S)
            if not self.flush():
                self._closed.wait(5 * FLUSH_EVERY_S)
                self._pending.set()
