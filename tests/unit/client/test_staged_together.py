"""Small raw data of many requests are staged as one file; what is asked for again, alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore.client import enqueue
from fstore.client.enqueue import Enqueuer
from fstore.client.request import KeyedRequest
from fstore.errors import StorageFull
from fstore.features.keys import key_of
from fstore.features.registry import resolve_feature
from fstore.fingerprint.identification import identify
from fstore.fingerprint.sources import FrameInput
from fstore.model import KeyParts
from fstore.storage.folder.staging import FolderStaging
from fstore.storage.layout import raw_part_at
from tests import sample_features


def request(number: int, *, rows: int = 20, config: str = "{}") -> KeyedRequest:
    """Ask for the feature of a frame of its own."""
    raw = FrameInput(pd.DataFrame({"price": np.arange(rows) + float(number)}))
    feature, taken = resolve_feature(sample_features.scaled), identify(raw, threshold_bytes=1 << 20).fingerprint
    parts = KeyParts("AAPL", feature.name, feature.version, config, str(taken))
    return KeyedRequest(key_of(parts), parts, feature, raw, taken)


class Calls:
    """An enqueuer over a folder, with servers that agree to everything and note what they were told."""

    def __init__(self, folder: Path) -> None:
        self.staging = FolderStaging(folder)
        self.rows: list[dict[str, Any]] = []
        nothing: Any = SimpleNamespace(
            take_many=lambda wanted: {key: key for key in wanted},
            holding=lambda *_, **__: nullcontext(),
            enqueue=self._enqueue,
            send_compute=lambda _: None,
            send_compute_many=lambda _: None,
            expected_seconds=lambda _: 0.0,
            other_source=lambda *_: None,
            took=lambda *_: None,
        )
        self.enqueuer = Enqueuer(
            locks=nothing, staging=self.staging, jobs=nothing, broker=nothing, manifest=nothing, recorder=nothing
        )

    def paths(self, requests: Sequence[KeyedRequest]) -> list[str]:
        """Enqueue, and return where each message says that its raw data lie."""
        self.rows.clear()
        self.enqueuer.enqueue(requests)
        (row,) = self.rows
        return [row[one.key]["raw_data"]["path"] for one in requests]

    def _enqueue(self, rows: dict[str, Any]) -> set[str]:
        self.rows.append(rows)
        return set(rows)


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


def files_of(paths: Sequence[str]) -> set[str]:
    """Return the shared files among them."""
    return {part.path for path in paths if (part := raw_part_at(path)) is not None}


def test_as_many_as_a_chunk_takes_lie_in_one_file(calls: Calls) -> None:
    """Each with its own bytes."""
    requests = [request(number) for number in range(enqueue.TOGETHER + 3)]
    paths = calls.paths(requests)
    assert all(map(raw_part_at, paths))
    assert len(files_of(paths)) == 2
    for one, path in zip(requests, paths, strict=True):
        assert calls.staging.read(path).column(0).to_pylist() == one.raw_data.frame["price"].tolist()  # type: ignore[attr-defined]


def test_what_is_asked_for_again_is_staged_alone(calls: Calls) -> None:
    """A worker may have found the file gone, or of a form that it does not know: the next try is one it cannot fail by."""
    requests = [request(number) for number in range(4)]
    assert len(files_of(calls.paths(requests))) == 1
    again = calls.paths(requests[:3])
    assert files_of(again) == set()
    assert all(map(calls.staging.exists, again))


def test_the_same_data_under_other_configs_are_staged_once(calls: Calls) -> None:
    """In one call and its next waves."""
    first = calls.paths([request(number) for number in range(3)])
    other = calls.paths([request(number, config='{"factor":2}') for number in range(3)])
    assert other == first
    calls.enqueuer._together = {name: (reference, -1e9) for name, (reference, _) in calls.enqueuer._together.items()}
    late = calls.paths([request(number, config='{"factor":3}') for number in range(3)])
    assert files_of(late).isdisjoint(files_of(first))


def test_large_and_single_data_have_files_of_their_own(calls: Calls) -> None:
    """Which several calls share, by their digest."""
    large = request(1, rows=enqueue.SMALL_CELLS + 1)
    paths = calls.paths([large, request(2)])
    assert files_of(paths) == set()
    assert calls.staging.reserve(large.fingerprint.digest) == paths[0]
    assert len(files_of(calls.paths([request(3), request(4), request(5, rows=enqueue.SMALL_CELLS + 1)]))) == 1


def test_a_full_disk_is_told_to_each(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others of the call go on."""

    def full(*_: object) -> None:
        raise StorageFull("/store", "no room")

    requests = [request(1), request(2), request(3, rows=enqueue.SMALL_CELLS + 1)]
    monkeypatch.setattr(enqueue, "stage_raw_together", full)
    outcome = calls.enqueuer.enqueue(requests)
    assert set(outcome.unstaged) == {one.key for one in requests[:2]}
    assert outcome.made == {requests[2].key}
