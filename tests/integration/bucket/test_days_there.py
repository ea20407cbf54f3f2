"""Features with partitions, of an ingested file in a bucket: what is new is known by its footer, and days are read, not files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.errors import SourceChanged
from fstore.ingest import ingest
from tests import partitioned_features as features
from tests.conftest import House
from tests.faults.harness.http_proxy import HttpProxy
from tests.integration.increments.test_segments import whole
from tests.object_servers import Bucket
from tests.unit.increments import partition_world as world

CONFIG = {"window": 4}
ROWS = 9_000  # a day: more than share a row group
RAW = world.quotes(
    pd.DatetimeIndex(
        np.add.outer(pd.date_range("2024-01-01", periods=12).to_numpy("M8[s]"), np.arange(ROWS) * 9).ravel(),
        name="time",
    )
    .as_unit("us")
    .tz_localize("UTC"),
    np.random.default_rng(5),
)


def put(raw: Bucket, folder: Path, frame: pd.DataFrame, **how: Any) -> fstore.ParquetSource:
    file = folder / "made.parquet"
    file.unlink(missing_ok=True)
    ingest(frame, file, partition="day", **how)
    raw.put("ticks/es.parquet", file.read_bytes())
    return fstore.ParquetSource(f"s3://{raw.name}/ticks/es.parquet")


def ask(reader: House, source: fstore.ParquetSource, raw: pd.DataFrame) -> None:
    found = reader.store.get_or_compute("ES", source, CONFIG, features.spread, timeout=60)
    pd.testing.assert_frame_equal(found, whole(features.spread, raw, CONFIG), check_exact=True)


def read(proxy: HttpProxy, since: int) -> int:
    """Return the bytes that were asked for."""
    total = 0
    for one in proxy.requests[since:]:
        first, last = (one.header("range") or "bytes=0-").removeprefix("bytes=").split("-")
        total += int(last) if not first else int(last) - int(first) + 1
    return total


def test_an_appended_day_is_read_by_its_row_groups(
    reader: House, raw: Bucket, proxy: HttpProxy, tmp_path: Path
) -> None:
    """A trainer asks for the end of the file, a worker for that and for the days that the windows touch; a hit for the end."""
    yesterday = RAW.iloc[:-ROWS]
    reader.start()
    ask(reader, put(raw, tmp_path, yesterday), yesterday)
    source = put(raw, tmp_path, RAW)
    size, before = (tmp_path / "made.parquet").stat().st_size, len(proxy.requests)
    ask(reader, source, RAW)
    assert read(proxy, before) < 3 * size / 12 + 4 * 65_536, "a day, the one it looks back into, and footers"

    before = len(proxy.requests)
    ask(reader, source, RAW)
    assert [one.header("range") for one in proxy.requests[before:]] == ["bytes=-65536"]
    assert list((tmp_path / "scratch").glob("*/s-*")) == []


def test_days_of_an_object_have_the_keys_of_a_frame(reader: House, raw: Bucket, tmp_path: Path) -> None:
    """With categories of which a day shows a part, and whatever file it is."""
    source, config = put(raw, tmp_path, RAW), {"window": 3}
    explained = reader.store.explain("ES", RAW, config, features.spread)
    assert reader.store.explain("ES", source, config, features.spread).key == explained.key
    RAW.to_parquet(tmp_path / "foreign.parquet")
    raw.put("ticks/foreign.parquet", (tmp_path / "foreign.parquet").read_bytes())
    foreign = fstore.ParquetSource(f"s3://{raw.name}/ticks/foreign.parquet")
    assert reader.store.explain("ES", foreign, config, features.spread).key == explained.key


def test_an_object_that_was_written_anew_is_another(reader: House, raw: Bucket, tmp_path: Path) -> None:
    """Of a version that is gone nothing is computed, and nothing of the next one in its place."""
    source = put(raw, tmp_path, RAW)
    version = raw.client.head_object(Bucket=raw.name, Key="ticks/es.parquet")["VersionId"]
    ticket = reader.store.submit("ES", source, CONFIG, features.spread)
    changed = RAW.assign(bid=RAW["bid"] + 1)
    put(raw, tmp_path, changed)
    raw.client.delete_object(Bucket=raw.name, Key="ticks/es.parquet", VersionId=version)
    reader.start()
    with pytest.raises(SourceChanged):
        ticket.result(timeout=60)
    ask(reader, source, changed)
