"""How the one who leads gets a computation going: dedup lock, staged raw data, job row, message; many at once as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from fstore.broker.chunks import UNKNOWN_S, in_chunks
from fstore.broker.messages import ComputeRequest, RawReference
from fstore.client.request import Question, warn_if_source_changed
from fstore.compute.raw_data import stage_raw
from fstore.errors import StorageUnavailable
from fstore.resources import Resources

EXPECTED_FOR_S = 2.0  # how long the expected time of a feature is believed
QUICK_TO_STAGE_CELLS = 500_000  # written well within the lock's time


class Registrar:
    """Registers the computations of one call."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._expected: dict[str, tuple[float, float]] = {}

    def register(
        self, questions: Sequence[Question], *, on_made: Callable[[set[str]], None] = lambda made: None
    ) -> tuple[set[str], Mapping[str, StorageUnavailable]]:
        """Register those questions that nobody else is registering now; the dedup lock of each lets one of many through.

        Returns the keys whose jobs this call made, of which ``on_made`` is told before
        any worker is, and why the raw data of others could not be staged. Raises
        ``BrokerUnavailable`` and ``ManifestUnavailable``.
        """
        coordination = self._resources.coordination
        leads = coordination.lead_many({asked.key: str(asked.taken) for asked in questions})
        if not leads:
            return set(), {}
        led_at = time.monotonic()
        first = [asked for asked in questions if asked.key in leads]
        with coordination.holding(list(leads.values()), renewed=not all(map(is_quick_to_stage, first))):
            requests, failures = self._staged(first)
            made = self._resources.jobs.enqueue({key: request.wire() for key, request in requests.items()})
            on_made(made)
            self._send([request for key, request in requests.items() if key in made])
        self._resources.recorder.took("dedup_hold_seconds", time.monotonic() - led_at)
        return made, failures

    def _staged(self, questions: Sequence[Question]) -> tuple[dict[str, ComputeRequest], dict[str, StorageUnavailable]]:
        references: dict[str, RawReference] = {}
        requests: dict[str, ComputeRequest] = {}
        failures: dict[str, StorageUnavailable] = {}
        for asked in questions:
            warn_if_source_changed(self._resources, asked)
            # By path as well: equal data in two places may be gone from one of them when a worker looks.
            name = f"{asked.taken}:{asked.raw.path or ''}"
            try:
                if name not in references:
                    references[name] = stage_raw(self._resources.files, asked.raw, asked.taken)
            except StorageUnavailable as error:
                failures[asked.key] = error
                continue
            requests[asked.key] = asked.request(
                references[name], on_source_change=self._resources.settings.on_source_change
            )
        return requests, failures

    def _send(self, requests: Sequence[ComputeRequest]) -> None:
        if len(requests) == 1:
            self._resources.broker.send_compute(requests[0])
            return
        for feature in {request.feature: None for request in requests}:
            alike = [request for request in requests if request.feature == feature]
            for chunk in in_chunks(alike, per_item_s=self._expected_s(feature)):
                self._resources.broker.send_compute_many(chunk)

    def _expected_s(self, feature: str) -> float:
        seconds, known_at = self._expected.get(feature, (UNKNOWN_S, -EXPECTED_FOR_S))
        if time.monotonic() - known_at >= EXPECTED_FOR_S:
            found = self._resources.manifest.expected_seconds(feature)
            seconds = UNKNOWN_S if found is None else found
            self._expected[feature] = seconds, time.monotonic()
        return seconds


def is_quick_to_stage(asked: Question) -> bool:
    """Tell whether staging ends well within the lock's time, so that it need not be renewed; a source needs none."""
    return asked.raw.cells is not None and asked.raw.cells <= QUICK_TO_STAGE_CELLS
