"""What a store answers after any edit is, bit for bit, what computing all of it gives; and a product that is broken is noticed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.broker import Broker, ComputeRequest, parse_compute
from fstore.client import read_through
from fstore.client.partitions import pieces
from fstore.client.partitions import segments as answering
from fstore.compute import execute, segments
from fstore.entries import read_relative
from fstore.errors import FeatureStoreError
from fstore.features import Declaration, resolve_feature
from fstore.increments import data, naming
from fstore.increments.assigned import due_rows
from fstore.increments.execution import whole_result
from fstore.results.codec import decode_result
from fstore.results.likeness import frame_difference
from tests import partitioned_features as features
from tests.conftest import House
from tests.integration.increments.test_segments import history
from tests.unit.increments import partition_world as world
from tests.unit.increments.test_partitions_incremental import ZONES

RAISED = "raised"
FIRST_SEED = int(os.environ.get("FSTORE_FUZZ_SEED", "100"))


@pytest.fixture
def inline(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A store whose messages are answered on the spot, as a worker would, in this process."""

    def send(_: Broker, request: ComputeRequest) -> None:
        try:
            execute(house.store.resources, parse_compute(request.wire()), phase=lambda phase: None)
        except FeatureStoreError:
            return  # its note is on the job

    monkeypatch.setattr(Broker, "send_compute", send)
    monkeypatch.setattr(Broker, "send_compute_many", lambda self, many: [send(self, request) for request in many])
    return house


def wrong_answers(house: House, edits: int, seed: int, *, only: tuple[str, ...] = tuple(features.WORLD)) -> list[str]:
    """Edit data again and again, ask the store after each edit, and list the answers that are not those of a whole compute."""
    random_, rng = random.Random(seed), np.random.default_rng(seed)
    faults: list[str] = []
    for at in range(edits):
        if at % 12 == 0:
            name, zone = only[(at // 12 + seed) % len(only)], ZONES[(at // 12 + seed) % len(ZONES)]
            raw, symbol = world.ticks(random_.randrange(3, 10), zone, rng), uuid4().hex
        function, config = features.WORLD[name], {"window": random_.choice([3, 5])}
        found = resolve_feature(function)
        assert found.partitioning is not None
        declared = found.partitioning.evaluated(config)
        given = as_given(house, raw, random_, declared)
        kept = random_.choice([None, None, _some_days(raw, random_)])
        expected = decode_result(whole_result(found.func, raw, lambda config=config: dict(config), declared))  # type: ignore[misc]
        try:
            answer = house.store.get_or_compute(symbol, given, config, function, between=kept, timeout=120)
        except FeatureStoreError as error:
            faults.append(f"edit {at} of {name}: {RAISED} {type(error).__name__} {error}")
        else:
            if kept is not None:
                expected = expected.loc[(expected.index >= kept[0]) & (expected.index < kept[1])]
            if fault := frame_difference(expected, answer):
                faults.append(f"edit {at} of {name}: {fault}")
        raw = world.edited(raw, random_, rng)
        raw = raw.iloc[-40:] if len(raw) > 60 else raw
    return faults


def as_given(house: House, raw: pd.DataFrame, random_: random.Random, declared: Declaration) -> Any:
    """Give data from memory, or as a file in row groups of some size, as an ingested one, or as a folder of daily files."""
    kind, path = random_.randrange(6), house.folder / f"{uuid4().hex}.parquet"
    if kind == 3:
        raw.to_parquet(path, row_group_size=random_.randrange(1, 9))
        return fstore.ParquetSource(path)
    if kind == 4:
        return house.store.ingest(raw, path, partition=declared.cut)
    if kind == 5:
        path.mkdir()
        for number, (_, day) in enumerate(raw.groupby(raw.index.normalize())):
            day.to_parquet(path / f"{number:04}.parquet")
        return fstore.ParquetSource(path)
    return world.as_given(raw, random_)


def _some_days(raw: Any, random_: random.Random) -> tuple[Any, Any]:
    low, high = sorted(random_.sample(range(len(raw)), 2)) if len(raw) > 1 else (0, 0)
    return raw.index[low], raw.index[high]


@pytest.mark.parametrize("seed", range(3))
def test_incremental_equals_full_whatever_was_edited(inline: House, seed: int) -> None:
    """Appended, corrected, late, missing, tied rows; moved starts and ends; zones; categories; parts of time."""
    assert wrong_answers(inline, 36, seed) == []
    counters = inline.store.get_cache_stats()
    assert counters["partitions_copied"] > 10 and counters["partitions_computed"] > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 10))
def test_ten_thousand_random_edits_of_a_real_store(inline: House, seed: int) -> None:
    """As above, at length."""
    assert wrong_answers(inline, 1000, seed) == []


def _without_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names commit to a partition's own rows alone."""
    _patch_everywhere(monkeypatch, _named_of(lambda window: replace(window, low=window.at, high=window.at)))


def _named_of(change: Callable[[Any], Any]) -> Callable[..., Any]:
    right = naming.named

    def wrong(table: Any, declared: Any, windows: Any, **how: Any) -> Any:
        windows = list(windows)
        parts = right(table, declared, [change(window) for window in windows], **how)
        return [replace(part, window=window) for part, window in zip(parts, windows, strict=True)]

    return wrong


def _without_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names commit to no evaluated reach, and so does the series."""
    monkeypatch.setattr(Declaration, "text", property(lambda self: self.cut.text))
    _without_neighbours(monkeypatch)


def _without_later_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names commit to what lies before a partition, and not to what its lookahead reaches."""
    _patch_everywhere(monkeypatch, _named_of(lambda window: replace(window, high=window.at)))


def _without_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names commit to bounds and declaration alone."""
    right = naming.named

    def wrong(table: Any, *given: Any, **how: Any) -> Any:
        bare = tuple(replace(each, digest=bytes(32)) for each in table.partitions)
        return right(replace(table, schema=bytes(32), partitions=bare), *given, **how)

    _patch_everywhere(monkeypatch, wrong)


def _without_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of two configs are relatives."""
    right = naming.series_of

    def wrong(parts: Any, declared: str) -> bytes:
        return right(replace(parts, config="{}"), declared)

    for module in (segments, answering):
        monkeypatch.setattr(module, "series_of", wrong)


def _copy_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy days from a relative by where they stand in the month, whatever their names are."""

    def wrong(resources: Any, parts: Any, feature: Any, task: Any) -> Any:
        series = segments.series_of(parts, task.declared.text)
        for relative in resources.manifest.find_segments([(series, task.assigned.period)]):
            table = read_relative(resources, relative.entry)
            contents = segments.contents_of(table)
            names = dict(enumerate(task.assigned.names))
            records = tuple(replace(each, name=names.get(at, each.name)) for at, each in enumerate(contents.records))
            return segments.Copies(segments.without_contents(table), records), relative.entry
        return None, None

    monkeypatch.setattr(segments, "_copied", wrong)


def _cover_by_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer a segment by any other of its period."""

    def wrong(resources: Any, requests: Any, wanted: Any) -> Any:
        for key, request in requests.items():
            series, period, _ = answering._place(request)
            for each in resources.manifest.find_segments([(series, period)])[:1]:
                table = read_relative(resources, each.entry)
                yield key, each, table if wanted is None else wanted.of(table)

    monkeypatch.setattr(read_through, "covered", wrong)


def _patch_everywhere(monkeypatch: pytest.MonkeyPatch, named: Callable[..., Any]) -> None:
    for module in (data, pieces):
        monkeypatch.setattr(module, "named", named)


@pytest.mark.parametrize(
    ("mutation", "only"),
    [
        (_without_neighbours, ("spread_mean", "forward", "previous_close")),
        (_without_reach, ("spread_std", "spread_mean")),
        (_without_later_neighbours, ("forward",)),
        (_without_digests, ("session_vwap",)),
        (_without_config, ("scaled",)),
        (_copy_by_time, ("spread_mean", "forward")),
        (_cover_by_period, ("spread_mean", "thinned")),
    ],
)
def test_the_property_notices_a_broken_product(
    inline: House,
    mutation: Callable[[pytest.MonkeyPatch], None],
    only: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The product is broken in one way at a time; the test above must see wrong values, and not that it raises."""
    mutation(monkeypatch)

    faults = wrong_answers(inline, 36, 1, only=only)
    assert [fault for fault in faults if f": {RAISED} " not in fault], faults[:1]


def test_rows_are_believed_by_their_names_alone(inline: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Were the names not compared, a file that changed after it was identified would be computed from."""
    path = inline.folder / "raw.parquet"
    raw = history(5)
    raw.to_parquet(path, row_group_size=12)
    request = inline.store._prepare("S", fstore.ParquetSource(path), {"window": 2}, features.spread)
    raw.assign(bid=raw["bid"] + 1).to_parquet(path, row_group_size=12)
    (asked,) = request.segments
    assert asked.task is not None
    assigned, declared = asked.task.assigned, asked.task.declared
    with pytest.raises(fstore.SourceChanged, match="5 of 5 partitions of 2024-01"):
        due_rows.read_due(assigned, declared, segments.rows_of(asked.raw_data), str(path), assigned.names)
    found = due_rows.read_due(assigned, declared, lambda first, stop: raw.iloc[first:stop], "x", assigned.names[2:3])
    assert [due.part.label for due in found.values()] == ["2024-01-03"]
    assert next(iter(found.values())).data.cut.rows == (0, 12, 24), "the day and the one it looks back into, no more"
