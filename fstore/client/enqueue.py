"""How the one who leads gets a computation going; many at once as one.

Dedup lock, staged raw data, job row, message.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fstore.broker import UNKNOWN_S, Broker, ComputeRequest, RawReference, in_chunks
from fstore.client.request import KeyedRequest, OnSourceChange, warn_if_source_changed
from fstore.compute import stage_raw, stage_raw_together
from fstore.coordination import DedupLocks
from fstore.errors import BrokerUnavailable, StorageUnavailable
from fstore.postgres import Jobs, Manifest
from fstore.runtime.counters import Recorder
from fstore.settings import DataRoot
from fstore.storage import StagingArea

EXPECTED_FOR_S = 2.0  # how long the expected time of a feature is believed
MOST_LANES = 8  # messages that the segments of one request travel in at least, if they are so many
QUICK_TO_STAGE_CELLS = 500_000  # written well within the lock's time
SMALL_CELLS = 32_768  # of raw data that share a file: a chunk reads the whole of it
TOGETHER = 64  # as many as a chunk computes at most
STAGED_FOR_S = 60.0  # how long this call relies on what it has staged; upkeep leaves it alone for longer


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
        self._together: dict[str, tuple[RawReference, float]] = {}
        self._asked: set[str] = set()

    def enqueue(
        self, requests: Sequence[KeyedRequest], *, on_made: Callable[[frozenset[str]], None] = lambda made: None
    ) -> Enqueued:
        """Register those requests that nobody else is registering now.

        The dedup lock of each lets one of many through. ``on_made`` is told the keys whose jobs were made before
        any worker is. Raises ``ManifestUnavailable``.
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
        references, unstaged = self._staged_together(requests)
        messages: dict[str, ComputeRequest] = {}
        for request in requests:
            if request.key in unstaged:
                continue
            warn_if_source_changed(self._manifest, request.feature)
            raw = request.raw_data
            name = _name_of(request)
            try:
                if name not in references:
                    references[name] = stage_raw(self._staging, raw, request.fingerprint, roots=self._data_roots)
            except StorageUnavailable as error:
                unstaged[request.key] = error
                continue
            messages[request.key] = request.message(references[name], on_source_change=self._on_source_change)
        return messages, unstaged

    def _staged_together(
        self, requests: Sequence[KeyedRequest]
    ) -> tuple[dict[str, RawReference], dict[str, StorageUnavailable]]:
        """Stage small raw data of many requests in few files.

        Returns where they lie, by name, and which keys' could not be staged. Alone are staged those of a request
        that is asked for again: a worker may have found the file gone, damaged, or of a form that it does not know.
        """
        again = {request.key for request in requests if request.key in self._asked}
        self._asked.update(request.key for request in requests)
        wanted = {_name_of(one): one for one in requests if one.key not in again and _may_share_a_file(one)}
        now = time.monotonic()
        known = {
            name: reference
            for name in wanted
            for reference, staged_at in [self._together.get(name, (None, 0.0))]
            if reference is not None and now - staged_at < STAGED_FOR_S
        }
        todo = [(name, one) for name, one in wanted.items() if name not in known]
        if len(todo) < 2:
            return known, {}
        unstaged: dict[str, StorageUnavailable] = {}
        for at in range(0, len(todo), TOGETHER):
            some = todo[at : at + TOGETHER]
            try:
                found = stage_raw_together(self._staging, [(one.raw_data, one.fingerprint) for _, one in some])
            except StorageUnavailable as error:
                names = {name for name, _ in some}
                unstaged |= {one.key: error for one in requests if one.key not in again and _name_of(one) in names}
                continue
            known |= {name: reference for (name, _), reference in zip(some, found, strict=True)}
        self._together = {name: (reference, now) for name, reference in known.items()}
        return known, unstaged

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


def _name_of(request: KeyedRequest) -> str:
    # By path as well: equal data in two places may be gone from one of them when a worker looks.
    return f"{request.fingerprint}:{request.raw_data.path or ''}"


def _may_share_a_file(request: KeyedRequest) -> bool:
    raw = request.raw_data
    return request.task is None and raw.path is None and raw.cells is not None and raw.cells <= SMALL_CELLS


def is_quick_to_stage(request: KeyedRequest) -> bool:
    """Tell whether staging ends well within the lock's time, so that it need not be renewed.

    A source needs none.
    """
    cells = request.raw_data.cells
    return cells is not None and cells <= QUICK_TO_STAGE_CELLS
