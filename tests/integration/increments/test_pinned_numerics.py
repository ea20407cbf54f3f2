"""Keys that also name libraries, BLAS and processor: what others computed is neither answered with nor copied from."""

from __future__ import annotations

import json
from typing import Any

import pytest

import fstore
from fstore.compute import provenance
from fstore.entries import read_relative
from fstore.increments import contents_of, numeric_environment
from tests import partitioned_features as features
from tests.conftest import House
from tests.integration.increments.test_random_edits import inline
from tests.integration.increments.test_segments import CONFIG, history, whole
from tests.support.commands import fstore as command

__all__ = ["inline"]

RAW = history(8)
MODULES = "tests.partitioned_features,tests.sample_features"


def keys(house: House, **settings: Any) -> tuple[str, ...]:
    """The keys of the segments of one request."""
    with house.open(**settings) as store:
        return tuple(each.key for each in store._prepare("S", RAW, CONFIG, features.spread).segments)


def counted(house: House) -> tuple[int, int]:
    """Partitions that were computed and copied."""
    counters = house.store.get_cache_stats()  # whose process answers messages here
    return counters["partitions_computed"], counters["partitions_copied"]


def elsewhere(monkeypatch: pytest.MonkeyPatch, **others: str) -> None:
    """From here on this process is one of other libraries."""
    said = {**json.loads(numeric_environment()), **others}
    monkeypatch.setattr(provenance, "numeric_environment", lambda: json.dumps(said))


def test_keys_name_what_computes_only_where_that_is_wanted(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off, as it is by default, keys are those of ever, wherever they are made."""
    usual, pinned = keys(inline), keys(inline, pin_numerics=True)
    assert set(usual).isdisjoint(pinned)
    elsewhere(monkeypatch, processor="x86_64 X86_V3")
    assert keys(inline) == usual
    assert set(keys(inline, pin_numerics=True)).isdisjoint({*usual, *pinned})


def test_what_another_processor_computed_is_computed_again(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not answered with, not copied from, and ``explain`` says why."""
    with inline.open(pin_numerics=True) as store:
        store.get_or_compute("S", RAW.iloc[:-12], CONFIG, features.spread)
        assert counted(inline) == (7, 0)
        elsewhere(monkeypatch, processor="x86_64 X86_V3")
        told = str(store.explain("S", RAW, CONFIG, features.spread))
        assert (
            "2024-01-01 to 2024-01-07  7 partitions, of each: other libraries, or another processor, computed it"
            in told
        )
        assert "2024-01-08  it is new" in told
        answer = store.get_or_compute("S", RAW, CONFIG, features.spread)
        assert counted(inline) == (7 + 8, 0)
        assert answer.equals(whole(features.spread, RAW, dict(CONFIG)))


def test_a_worker_of_other_libraries_refuses(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would publish under a key that says what it is not."""
    with inline.open(pin_numerics=True) as store:
        monkeypatch.setattr("fstore.client.partitions.pieces.numerics_of", lambda _: '{"numpy":"1.0","talib":"0.4"}')
        with pytest.raises(fstore.InvalidRequest, match=r"PIN_NUMERICS .*numpy 1\.0 \(here .*talib 0\.4 \(here none"):
            store.get_or_compute("S", RAW, CONFIG, features.spread)
        monkeypatch.setattr("fstore.client.partitions.pieces.numerics_of", lambda _: "[1]")
        with pytest.raises(fstore.InvalidRequest, match="no JSON of names"):
            store.get_or_compute("S2", RAW, CONFIG, features.spread)


def test_days_of_several_machines_are_told(inline: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By ``show``, with what they differ in; not pinned, an appended day is computed and the others are copied."""
    store = inline.store
    store.get_or_compute("S", RAW.iloc[:-12], CONFIG, features.spread)
    elsewhere(monkeypatch, processor="another")
    store.get_or_compute("S", RAW, CONFIG, features.spread)
    (entry,) = [each for each in store.resources.manifest.list_entries(symbol="S") if each.rows == len(RAW)]
    contents = contents_of(read_relative(store.resources, entry.locator))
    assert contents is not None
    assert [json.loads(each.numerics)["processor"] == "another" for each in contents.records] == [False] * 7 + [True]
    shown = command(inline, "show", entry.key)
    assert "7 partitions: processor" in shown.out
    assert "1 partition: processor another" in shown.out
    assert [
        each["partitions"] for each in command(inline, "show", entry.key, "--json").json["segment"]["computed_by"]
    ] == [7, 1]
