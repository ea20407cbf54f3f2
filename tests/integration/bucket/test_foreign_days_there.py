"""Features with partitions, of objects that nobody ingested and of prefixes: days are read by ranges, each pinned to what was seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fstore
from fstore.errors import SourceChanged
from fstore.ingest import ingest
from tests import partitioned_features as features
from tests.conftest import House
from tests.faults.harness.http_proxy import HttpProxy
from tests.integration.bucket.test_days_there import CONFIG, RAW, ROWS, ask
from tests.object_servers import Bucket

DAYS = 12
PLAIN = RAW[[name for name in RAW.columns if not isinstance(RAW[name].dtype, pd.CategoricalDtype)]]


def put(raw: Bucket, folder: Path, frame: pd.DataFrame, name: str, *, ingested: bool = False) -> int:
    """Put a file into the bucket as its writers do, in row groups of a few hours; return its size."""
    file = folder / "made.parquet"
    file.unlink(missing_ok=True)
    if ingested:
        ingest(frame, file, partition="day")
    else:
        frame.to_parquet(file, row_group_size=3_000)
    raw.put(f"ticks/{name}", file.read_bytes())
    return file.stat().st_size


def day(frame: pd.DataFrame, number: int) -> pd.DataFrame:
    return frame.iloc[number * ROWS : (number + 1) * ROWS]


def source_at(raw: Bucket, name: str) -> fstore.ParquetSource:
    return fstore.ParquetSource(f"s3://{raw.name}/ticks/{name}")


@pytest.mark.parametrize("ingested", [False, True], ids=["foreign", "ingested"])
def test_a_new_daily_object_costs_itself(
    reader: House, raw: Bucket, proxy: HttpProxy, tmp_path: Path, ingested: bool
) -> None:
    """Of a prefix that was seen before: a listing, the new object, and what its windows touch of the day before."""
    for number in range(DAYS - 1):
        put(raw, tmp_path, day(PLAIN, number), f"es/day-{number:02d}.parquet", ingested=ingested)
    reader.start()
    ask(reader, source_at(raw, "es"), PLAIN.iloc[:-ROWS])
    size = put(raw, tmp_path, day(PLAIN, DAYS - 1), f"es/day-{DAYS - 1:02d}.parquet", ingested=ingested)
    before = len(proxy.requests)
    ask(reader, source_at(raw, "es"), PLAIN)
    gets = [one for one in proxy.requests[before:] if one.header("range")]
    spent = sum(_bytes(one.header("range")) for one in gets)
    assert spent < 4 * size + 6 * 65_536, "itself, once by who asks, and the stretch that a worker reads"

    before = len(proxy.requests)
    ask(reader, source_at(raw, "es"), PLAIN)
    again = [one.header("range") for one in proxy.requests[before:] if "list-type" not in one.target]
    assert len(again) <= 2, "the address as that of an object, and the end of the first one"
    assert list((tmp_path / "scratch").glob("*/s-*")) == []


def _bytes(asked: str | None) -> int:
    first, last = (asked or "bytes=0-0").removeprefix("bytes=").split("-")
    return int(last) if not first else int(last) - int(first) + 1


def test_a_foreign_object_is_scanned_once_and_read_in_parts(
    reader: House, raw: Bucket, proxy: HttpProxy, tmp_path: Path
) -> None:
    """It is known again by its ETag; a worker takes no more of it than the row groups that are wanted."""
    size = put(raw, tmp_path, PLAIN, "all.parquet")
    source = source_at(raw, "all.parquet")
    explained = reader.store.explain("ES", PLAIN, CONFIG, features.spread)
    assert reader.store.explain("ES", source, CONFIG, features.spread).key == explained.key
    reader.start()
    ask(reader, source, PLAIN)
    before = len(proxy.requests)
    ask(reader, source, PLAIN)
    assert sum(_bytes(one.header("range")) for one in proxy.requests[before:]) <= 2 * 65_536 < size


def test_categories_of_foreign_objects_count_whole(reader: House, raw: Bucket, tmp_path: Path) -> None:
    """Row groups hold a part of them: such a source is read whole, and has the keys of its frame."""
    venues = pd.Categorical(np.repeat(["A", "B", "C"], ROWS))
    frame = PLAIN.iloc[: 3 * ROWS].assign(venue=venues)
    days = [
        pa.Table.from_pandas(day(frame, n).assign(venue=pd.Categorical([venue] * ROWS)))
        for n, venue in enumerate("ABC")
    ]
    with pq.ParquetWriter(tmp_path / "cats.parquet", days[0].schema) as writer:  # as a feed's writer does, day by day
        for one in days:
            writer.write_table(one)
    raw.put("ticks/cats.parquet", (tmp_path / "cats.parquet").read_bytes())
    explained = reader.store.explain("ES", frame, CONFIG, features.spread)
    assert reader.store.explain("ES", source_at(raw, "cats.parquet"), CONFIG, features.spread).key == explained.key
    reader.start()
    ask(reader, source_at(raw, "cats.parquet"), frame)


@pytest.mark.parametrize("how", ["changed", "gone", "one before it"])
def test_an_object_of_a_prefix_that_changed_is_no_mixture(reader: House, raw: Bucket, tmp_path: Path, how: str) -> None:
    """What was asked for is refused, and the present data have an answer of their own."""
    for number in range(4):
        put(raw, tmp_path, day(PLAIN, number), f"es/day-{number}.parquet")
    source = source_at(raw, "es")
    ticket = reader.store.submit("ES", source, CONFIG, features.spread)
    present = PLAIN.iloc[: 4 * ROWS]
    if how == "changed":
        present = present.assign(bid=present["bid"].mask(present.index >= present.index[3 * ROWS], present["bid"] + 1))
        put(raw, tmp_path, day(present, 3), "es/day-3.parquet")
    elif how == "gone":
        raw.delete("ticks/es/day-3.parquet")
        present = PLAIN.iloc[: 3 * ROWS]
    else:
        present = pd.concat([PLAIN.iloc[-ROWS:].shift(freq="-30D"), present])
        put(raw, tmp_path, present.iloc[:ROWS], "es/a-day.parquet")
    reader.start()
    with pytest.raises(SourceChanged):
        ticket.result(timeout=60)
    ask(reader, source_at(raw, "es"), present)
