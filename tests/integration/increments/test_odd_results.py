"""Results that are empty, of some days or of all, that look ahead into days which come later, and that do not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fstore import feature, local
from fstore.errors import ComputeFailed
from tests import partitioned_features as features
from tests.conftest import House
from tests.integration.increments.test_random_edits import inline
from tests.integration.increments.test_segments import history, whole

__all__ = ["inline"]

RAW = history(5)


@feature(version="1", partition="day", lookahead=3)
def ahead(raw: pd.DataFrame, config: Any) -> pd.DataFrame:
    """A label that looks three rows ahead, into the next day if there is one."""
    return pd.DataFrame({"label": raw["bid"].shift(-3), "rows": raw["bid"].rolling(len(raw), min_periods=1).count()})


@feature(version="1", partition="day")
def rare(raw: pd.DataFrame, config: Any) -> pd.DataFrame:
    """Rows of some days alone, or of none."""
    return raw.loc[raw.index.day.isin(config["days"]), ["bid", "side"]]


@feature(version="1", partition="day")
def coded(raw: pd.DataFrame, config: Any) -> pd.DataFrame:
    """Categories as they come, which differ by day."""
    return raw["bid"].round(0).astype(int).astype(str).astype("category").to_frame("code")


@local(version="1", name="own-rare", partition="day")
def own_rare(raw: pd.DataFrame, config: Any) -> pd.DataFrame:
    """The same, computed by its caller."""
    return raw.loc[raw.index.day.isin(config["days"]), ["bid", "side"]]


def same(house: House, what: Any, raw: pd.DataFrame, config: dict[str, Any], **part: Any) -> None:
    found = house.store.get_or_compute("S", raw, config, what, timeout=30, **part)
    expected = whole(what, raw, config)
    if "between" in part:
        start, end = (pd.Timestamp(each, tz="UTC") for each in part["between"])
        expected = expected[(expected.index >= start) & (expected.index < end)]
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_day_that_comes_later_computes_the_one_before_again(inline: House) -> None:
    """What looked ahead to the end of the data sees more of them now; a day in the middle that is gone or filled in likewise."""
    same(inline, ahead, RAW.iloc[:36], {})
    same(inline, ahead, RAW.iloc[:48], {})
    same(inline, ahead, RAW, {})
    missing = RAW[RAW.index.day != 3]
    same(inline, ahead, missing, {})
    same(inline, ahead, RAW, {})
    same(inline, ahead, RAW.iloc[:37], {})  # a day of one row
    same(inline, ahead, RAW.iloc[12:], {})
    explained = inline.store.explain("S", pd.concat([RAW, history(1, start="2024-01-06")]), {}, ahead).partitions
    assert explained is not None
    assert [(each.part.label, each.why.value) for each in explained.missing] == [
        ("2024-01-05", "lookahead"),
        ("2024-01-06", "new"),
    ]


@pytest.mark.parametrize("what", [rare, own_rare], ids=["worker", "local"])
def test_days_without_results_are_days(inline: House, what: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them, one in the middle, all; types are kept where no row shows them."""
    monkeypatch.setattr("fstore.client.local_publish.PUBLISHED_WITHIN_S", 0.1)
    for days in ([], [3], [1, 2, 3, 4, 5], [9]):
        config = {"days": days}
        same(inline, what, RAW.iloc[:36], config)
        same(inline, what, RAW, config)
        same(inline, what, RAW, config, between=("2024-01-02", "2024-01-03"))
        same(inline, what, RAW, config, between=("2025-01-02", "2025-01-03"))


def test_categories_that_differ_by_day_are_refused_whichever_day_comes_first(inline: House) -> None:
    """From a first compute, and from an appended day that does not fit what is copied."""
    with pytest.raises(ComputeFailed, match="do not fit together"):
        inline.store.get_or_compute("S", RAW, {}, coded, timeout=30)
    inline.store.get_or_compute("S", RAW.iloc[:12], {}, coded, timeout=30)
    with pytest.raises(ComputeFailed, match="do not fit together"):
        inline.store.get_or_compute("S", RAW.iloc[:24], {}, coded, timeout=30)
    february = history(1, start="2024-02-01", seed=8)
    with pytest.raises(ComputeFailed, match="do not fit together"):
        inline.store.get_or_compute("S", pd.concat([RAW.iloc[:12], february]), {}, coded, timeout=30)


def test_when_a_day_that_raised_is_mended_its_segment_alone_is_computed(inline: House, tmp_path: Path) -> None:
    """The days of the other month are not called again, and those of its own once more."""
    raw, marks = history(50), tmp_path / "marks"
    config = {"day": "2024-02-03", "until": str(tmp_path / "mended"), "marks": str(marks)}
    with inline.open(failure_memory_s=0) as store:
        with pytest.raises(ComputeFailed, match="partition 2024-02-03 of 2024-02"):
            store.get_or_compute("S", raw, config, features.failing)
        before = features.marks(marks)
        (tmp_path / "mended").touch()

        found = store.get_or_compute("S", raw, config, features.failing)

    pd.testing.assert_frame_equal(found, raw[["bid"]], check_exact=True, check_freq=False)
    after = features.marks(marks)
    for day in before:
        after.remove(day)
    assert after == [f"2024-02-{day:02}" for day in range(1, 20)]
