"""How the one who leads gets a computation going: dedup lock, staged raw data, job row, message; many at once as one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fstore.broker import UNKNOWN_S, Broker, ComputeRequest, RawReference, in_chunks
from fstore.client.request import KeyedRequest, OnSourceChange, warn_if_source_changed
from fstore.compute import stage_raw
from fstore.coordination import DedupLocks
from fstore.errors import BrokerUnavailable, StorageUnavailable
from fstore.postgres import Jobs, Manifest
from fstore.runtime.counters import Recorder
from fstore.settings import DataRoot
from fstore.storage import StagingArea

EXPECTED_FOR_S = 2.0  # how long the expected time of a feature is believed
MOST_LANES = 8  # messages that the segments of one request travel in at least, if they are so many
QUICK_TO_STAGE_CELLS = 500_000  # written well within the lock's time


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What came of an attempt to lead.

    ``made`` are the keys whose jobs this call made, ``unstaged`` says why the raw data
    of others could not be staged. With ``unsent`` Redis was away, before any job was
    made or after: no worker hears of them now.
    """

    made: frozenset[str] = frozenset()
    unstaged: Mapping[str, StorageUnavailable] = field(default_factory=dict)
    unsent: BrokerUnavailable | None = None


class Enqueuer:
    """Registers the computations of one call."""

    def __init__(
        self,
        *,
        locks: DedupLocks,
        staging: StagingArea,
        jobs: Jobs,
        broker: Broker,
        manifest: Manifest,
        recorder: Recorder,
        on_source_change: OnSourceChange = "refuse",
        data_roots: Sequence[DataRoot] = (),
    ) -> None:
        self._locks, self._staging, self._jobs, self._broker = locks, staging, jobs, broker
        self._manifest, self._recorder = manifest, recorder
        self._on_source_change, self._data_roots = on_source_change, data_roots
        self._expected: dict[str, tuple[float, float]] = {}

    def enqueue(
        self, requests: Sequence[KeyedRequest], *, on_made: Callable[[frozenset[str]], None] = lambda made: None
    ) -> Enqueued:
        """Register those requests that nobody else is registering now; the dedup lock of each lets one of many through.

        ``on_made`` is told the keys whose jobs were made before any worker is. Raises
        ``ManifestUnavailable``.
        """
        made: frozenset[str] = frozenset()
        unstaged: dict[str, StorageUnavailable] = {}
        try:
            taken = self._locks.take_many({request.key: str(request.fingerprint) for request in requests})
            if not taken:
                return Enqueued()
            locked_at = time.monotonic()
            first = [request for request in requests if request.key in taken]
            with self._locks.holding(list(taken.values()), renewed=not all(map(is_quick_to_stage, first))):
                messages, unstaged = self._staged(first)
                made = frozenset(self._jobs.enqueue({key: message.wire() for key, message in messages.items()}))
                on_made(made)
                self._send([message for key, message in messages.items() if key in made])
            self._recorder.took("dedup_hold_seconds", time.monotonic() - locked_at)
        except BrokerUnavailable as error:
            return Enqueued(made, unstaged, error)
        return Enqueued(made, unstaged)

    def _staged(
        self, requests: Sequence[KeyedRequest]
    ) -> tuple[dict[str, ComputeRequest], dict[str, StorageUnavailable]]:
        references: dict[str, RawReference] = {}
        messages: dict[str, ComputeRequest] = {}
        unstaged: dict[str, StorageUnavailable] = {}
        for request in requests:
            warn_if_source_changed(self._manifest, request.feature)
            raw = request.raw_data
            # By path as well: equal data in two places may be gone from one of them when a worker looks.
            name = f"{request.fingerprint}:{raw.path or ''}"
            try:
                if name not in references:
                    references[name] = stage_raw(self._staging, raw, request.fingerprint, roots=self._data_roots)
            except StorageUnavailable as error:
                unstaged[request.key] = error
                continue
            messages[request.key] = request.message(references[name], on_source_change=self._on_source_change)
        return messages, unstaged

    def _send(self, messages: Sequence[ComputeRequest]) -> None:
        if len(messages) == 1:
            self._broker.send_compute(messages[0])
            return
        for feature in {message.feature: None for message in messages}:
            alike = [message for message in messages if message.feature == feature]
            if alike[0].time_limit_s is not None:  # a limit is a message's: each computation has its own
                for message in alike:
                    self._broker.send_compute(message)
                continue
            for lane in _lanes(alike):
                for chunk in in_chunks(lane, per_item_s=self._expected_s(feature)):
                    self._broker.send_compute_many(chunk)

    def _expected_s(self, feature: str) -> float:
        seconds, known_at = self._expected.get(feature, (UNKNOWN_S, -EXPECTED_FOR_S))
        if time.monotonic() - known_at >= EXPECTED_FOR_S:
            found = self._manifest.expected_seconds(feature)
            seconds = UNKNOWN_S if found is None else found
            self._expected[feature] = seconds, time.monotonic()
        return seconds


def _lanes(messages: Sequence[ComputeRequest]) -> Iterator[list[ComputeRequest]]:
    """Part the segments of one request, so that all workers share them, whatever one is expected to take.

    What is expected is what the last ones took, in which a day was computed perhaps and
    all others copied.
    """
    seen: Counter[tuple[str, str | None]] = Counter()
    lanes: dict[int, list[ComputeRequest]] = {}
    for message in messages:
        series = message.symbol, message.canonical_config
        lanes.setdefault(seen[series] % MOST_LANES if message.segment is not None else 0, []).append(message)
        seen[series] += 1
    yield from lanes.values()


def is_quick_to_stage(request: KeyedRequest) -> bool:
    """Tell whether staging ends well within the lock's time, so that it need not be renewed; a source needs none."""
    cells = request.raw_data.cells
    return cells is not None and cells <= QUICK_TO_STAGE_CELLS
