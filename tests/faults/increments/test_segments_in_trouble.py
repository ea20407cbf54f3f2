"""Rows 76 to 80: what happens to segments, to what they copy from and to what they are computed from, while they are made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.model import Entry
from tests import partitioned_features as features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import SHORT, Site
from tests.faults.rows import row
from tests.integration.increments.test_segments import history, whole
from tests.waiting import eventually

MODULES = "tests.sample_features,tests.partitioned_features"
DAYS = 20
RAW = history(DAYS, rows=6)
YESTERDAY = RAW.iloc[:-6]
LAST = str(RAW.index[-1].date())


def ask(site: Site, raw: Any, config: dict[str, Any], feature: Any = features.slow, **more: Any) -> pd.DataFrame:
    """Ask, and hold the answer against the definition."""
    found = site.store.get_or_compute("ROW", raw, config, feature, timeout=60, **more)
    right(found, pd.read_parquet(raw.path) if isinstance(raw, fstore.ParquetSource) else raw, feature)
    return found


def right(found: pd.DataFrame, raw: pd.DataFrame, feature: Any = features.slow) -> None:
    pd.testing.assert_frame_equal(found, whole(feature, raw, {"window": 3}), check_exact=True)


def relative(site: Site) -> Entry:
    (entry,) = site.store.resources.manifest.list_entries(symbol="ROW")
    return entry


@row(
    76,
    fault="a worker is killed between copying days from a relative and publishing the segment",
    promise="started again, the segment is published once, with the right days",
    seconds=30,
)
def test_row_76_killed_between_copy_and_publish(make_site: Callable[..., Site]) -> None:
    """The new day's computation kills its process once; the other days were copied by then."""
    site = make_site(**SHORT, feature_modules=MODULES)
    site.worker()
    marks = site.folder / "days"
    config = {"window": 3, "day": LAST, "until": str(site.folder / "killed"), "marks": str(marks)}
    ask(site, YESTERDAY, config)
    assert len(features.marks(marks)) == DAYS - 1

    ask(site, RAW, config)

    assert features.marks(marks)[DAYS - 1 :] == [LAST, LAST]
    assert len(site.store.resources.manifest.list_entries(symbol="ROW")) == 2
    check_invariants(site)


def _condemned(site: Site, entry: Entry) -> None:
    assert site.store.invalidate(key=entry.key) == 1


def _quarantined(site: Site, entry: Entry) -> None:
    assert site.store.resources.manifest.quarantine(entry.key, entry.path)


@pytest.mark.parametrize("hide", [_condemned, _quarantined])
@row(
    77,
    fault="what days are copied from is condemned, quarantined, flipped or gone while they are copied",
    promise="nothing of it is published: all days are computed",
    seconds=25,
)
def test_row_77_a_relative_is_hidden_while_it_is_copied(
    make_site: Callable[..., Site], hide: Callable[[Site, Entry], None]
) -> None:
    """The new day is being computed when the relative is hidden: somebody does not want its numbers any more."""
    site = make_site(**SHORT, feature_modules=MODULES)
    site.worker()
    marks = site.folder / "days"
    config = {"window": 3, "marks": str(marks), "seconds": 0.0}
    ask(site, YESTERDAY, config)
    entry = relative(site)
    slow = {**config, "seconds": 2.0}
    site.sql(f"UPDATE segments SET series = '\\x{_series(site, slow)}'")  # as if the slow one had made it

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(site.store.get_or_compute, "ROW", RAW, slow, features.slow, timeout=90)
        eventually(lambda: len(features.marks(marks)) == DAYS, seconds=30, what="the new day to begin")
        hide(site, entry)
        right(answer.result(), RAW)

    assert len(features.marks(marks)) == DAYS + DAYS
    check_invariants(site)


def _series(site: Site, config: dict[str, Any]) -> str:
    from fstore.increments import series_of

    request = site.store._prepare("ROW", RAW, config, features.slow)
    return series_of(request.parts, request.pieces.declared.text).hex()


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.chmod(0o640)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", [_flipped, Path.unlink])
@row(
    77,
    fault="what days are copied from is condemned, quarantined, flipped or gone while they are copied",
    promise="nothing of it is published: all days are computed",
    seconds=20,
)
def test_row_77_a_relative_is_wrong(make_site: Callable[..., Site], harm: Callable[[Path], None]) -> None:
    """One bit, or all of the file: it is found when it is read, and quarantined."""
    site = make_site(**SHORT, feature_modules=MODULES)
    site.worker()
    marks = site.folder / "days"
    config = {"window": 3, "marks": str(marks)}
    ask(site, YESTERDAY, config)
    entry = relative(site)
    harm(site.root / entry.path)

    ask(site, RAW, config)

    assert len(features.marks(marks)) == DAYS - 1 + DAYS
    assert site.sql(f"SELECT state FROM manifest WHERE key = '{entry.key}'") == [("quarantined",)]
    check_invariants(site)


@row(
    78,
    fault="a file of raw data changes between the moment its days are identified and the one they are read",
    promise="SourceChanged, nothing published; asked again, the present days are computed",
    seconds=20,
)
@pytest.mark.parametrize(
    "changed", [RAW.iloc[1:], RAW.assign(bid=RAW["bid"] + 1)], ids=["all rows move", "a correction"]
)
def test_row_78_the_source_changes_before_it_is_read(make_site: Callable[..., Site], changed: pd.DataFrame) -> None:
    """No worker is there before the file is another one: it would read what was asked for, and rightly answer."""
    site = make_site(**SHORT, feature_modules=MODULES)
    config = {"window": 3, "marks": str(site.folder / "days")}
    path = site.folder / "raw.parquet"
    RAW.to_parquet(path, row_group_size=6)
    ticket = site.store.submit("ROW", fstore.ParquetSource(path), config, features.slow)
    changed.to_parquet(path, row_group_size=6)
    site.worker()

    with pytest.raises(fstore.SourceChanged):
        ticket.result(timeout=60)

    assert site.store.resources.manifest.list_entries(symbol="ROW") == []
    ask(site, fstore.ParquetSource(path), config)
    assert len(site.store.resources.manifest.list_entries(symbol="ROW")) == 1
    check_invariants(site)


@row(
    79,
    fault="two workers compute histories that overlap, asked for at once with ends a day apart",
    promise="both get the right days; afterwards nothing is computed for either",
    seconds=25,
)
def test_row_79_overlapping_histories(make_site: Callable[..., Site]) -> None:
    """Each history has three months; the months before the last are the same, hence computed once."""
    site = make_site(**SHORT, feature_modules=MODULES)
    site.worker(concurrency=1)
    site.worker(concurrency=1)
    marks = site.folder / "days"
    config = {"window": 3, "marks": str(marks), "seconds": 0.01}
    raw = history(75, rows=6)
    with ThreadPoolExecutor() as pool:
        stores = [site.store_of_its_own() for _ in range(2)]
        asked = [raw, raw.iloc[:-6]]
        answers = [
            pool.submit(store.get_or_compute, "ROW", data, config, features.slow)
            for store, data in zip(stores, asked, strict=True)
        ]
        for answer, data in zip(answers, asked, strict=True):
            right(answer.result(), data)
    computed = features.marks(marks)
    assert len([day for day in computed if day < "2024-03"]) == 60, "the months that both have are computed once"
    assert len(computed) <= 75 + 14

    for data in asked:
        ask(site, data, config)
    assert features.marks(marks) == computed
    check_invariants(site)


@pytest.mark.parametrize("harm", [_flipped, Path.unlink])
@row(
    80,
    fault="the rows that were staged for a segment are damaged, or gone, before a worker reads them",
    promise="found by the names of their days; staged anew once, right answer",
    seconds=20,
)
def test_row_80_staged_rows_are_damaged(make_site: Callable[..., Site], harm: Callable[[Path], None]) -> None:
    """Whoever waits has the data, and offers them again."""
    site = make_site(**SHORT, feature_modules=MODULES)
    config = {"window": 3}
    ticket = site.store.submit("ROW", RAW, config, features.slow)
    (staged,) = (site.root / "staging" / "raw").rglob("*.arrow")
    harm(staged)
    site.worker()

    right(ticket.result(timeout=60), RAW)
    check_invariants(site)
